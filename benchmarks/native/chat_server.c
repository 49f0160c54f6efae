/*
 * The floor: what a relay has to do for the loads of chat_load, over epoll, and nothing that makes a server of it.
 *
 *     chat_server PORT
 *
 * One channel, nicks of a letter and a number; no checks, no modes, no limits. What a turn's lines say in
 * the channel is put together once; at the turn's end each member gets it with one send, without what it said
 * itself. It ends when it is told to.
 */
#include "common.h"

#define CHUNK (1 << 16)
#define LINE 1024
#define NICKS (1 << 20)

struct client {
    int handle, joined, dirty, writing, leaving, speaks; /* speaks: in this turn */
    size_t have, size, room;                             /* of a line's beginning; of what waits; of its memory */
    char nick[16];
    char *rest, *waits;
};

struct piece { /* of what the turn has said in the channel */
    struct client *by;
    size_t size;
};

static int poller, members, touched, pieces;
static size_t said, said_room, pieces_room, members_room, touched_room;
static struct client **channel, **dirty, **nicks;
static struct piece *spoken;
static char *turn;

/* Room for one more of a list. */
static void *grow(void *list, size_t *room, size_t need, size_t each) {
    if (need <= *room)
        return list;
    *room = need * 2 + 64;
    if (!(list = realloc(list, *room * each)))
        fail("out of memory");
    return list;
}

static void mark(struct client *one) {
    if (one->dirty)
        return;
    one->dirty = 1;
    dirty = grow(dirty, &touched_room, touched + 1, sizeof *dirty);
    dirty[touched++] = one;
}

static void tell(struct client *one, const char *text, size_t size) {
    one->waits = grow(one->waits, &one->room, one->size + size, 1);
    memcpy(one->waits + one->size, text, size);
    one->size += size;
    mark(one);
}

static void mind(struct client *one, int writing) {
    if (one->writing == writing)
        return;
    one->writing = writing;
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->handle, &event);
}

/* Send, and keep what the kernel does not take; what fails is seen when it is read. */
static void give(struct client *one, const char *text, size_t size) {
    if (!one->size) {
        ssize_t took = send(one->handle, text, size, MSG_NOSIGNAL);
        if (took == (ssize_t)size)
            return;
        if (took > 0)
            text += took, size -= took;
    }
    one->waits = grow(one->waits, &one->room, one->size + size, 1);
    memcpy(one->waits + one->size, text, size);
    one->size += size;
    mind(one, 1);
}

static void flush(struct client *one) {
    ssize_t took = one->size ? send(one->handle, one->waits, one->size, MSG_NOSIGNAL) : 0;
    if (took > 0) {
        memmove(one->waits, one->waits + took, one->size - took);
        one->size -= took;
    }
    if (!one->size) { /* who says nothing costs nothing */
        free(one->waits);
        one->waits = NULL, one->room = 0;
    }
    mind(one, one->size > 0);
}

static void forget(struct client *one) {
    unsigned number = (unsigned)atoi(one->nick + 1) % NICKS;
    if (nicks[number] == one)
        nicks[number] = NULL;
    for (int i = 0; one->joined && i < members; i++)
        if (channel[i] == one) {
            channel[i] = channel[--members];
            break;
        }
    for (int i = 0; one->dirty && i < touched; i++)
        if (dirty[i] == one)
            dirty[i] = NULL;
    for (int i = 0; one->speaks && i < pieces; i++)
        if (spoken[i].by == one)
            spoken[i].by = NULL;
    close(one->handle);
    free(one->rest);
    free(one->waits);
    free(one);
}

static void obey(struct client *one, const char *line, size_t size) {
    char text[2 * LINE];
    if (size > 17 && !memcmp(line, "PRIVMSG #bench :", 16)) {
        turn = grow(turn, &said_room, said + size + 64, 1);
        int head = sprintf(turn + said, ":%s!bench@127.0.0.1 ", one->nick);
        memcpy(turn + said + head, line, size);
        memcpy(turn + said + head + size, "\r\n", 2);
        spoken = grow(spoken, &pieces_room, pieces + 1, sizeof *spoken);
        spoken[pieces++] = (struct piece){one, head + size + 2};
        said += head + size + 2;
        one->speaks = 1;
    } else if (size > 10 && !memcmp(line, "PRIVMSG ", 8)) {
        struct client *to = nicks[(unsigned)atoi(line + 9) % NICKS];
        if (to) {
            int head = sprintf(text, ":%s!bench@127.0.0.1 ", one->nick);
            memcpy(text + head, line, size);
            memcpy(text + head + size, "\r\n", 2);
            tell(to, text, head + size + 2);
        }
    } else if (size > 6 && !memcmp(line, "NICK ", 5)) {
        snprintf(one->nick, sizeof one->nick, "%.*s", (int)(size - 5), line + 5);
        nicks[(unsigned)atoi(one->nick + 1) % NICKS] = one;
    } else if (size > 5 && !memcmp(line, "USER ", 5)) {
        tell(one, text, sprintf(text, ":bench.example 001 %s :bench\r\n:bench.example 376 %s :bench\r\n", one->nick, one->nick));
    } else if (size > 5 && !memcmp(line, "JOIN ", 5)) {
        channel = grow(channel, &members_room, members + 1, sizeof *channel);
        channel[members++] = one, one->joined = 1;
        tell(one, text, sprintf(text, ":bench.example 366 %s #bench :bench\r\n", one->nick));
    } else if (size >= 4 && !memcmp(line, "QUIT", 4)) {
        tell(one, "ERROR :bench\r\n", 14);
        one->leaving = 1;
    }
}

static void take(struct client *one) {
    static char buffer[LINE + CHUNK];
    if (one->have)
        memcpy(buffer, one->rest, one->have);
    ssize_t got = recv(one->handle, buffer + one->have, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            forget(one);
        return;
    }
    char *line = buffer, *end, *stop = buffer + one->have + got;
    while ((end = memchr(line, '\n', stop - line))) {
        size_t size = end > line && end[-1] == '\r' ? end - 1 - line : end - line;
        if (size < LINE)
            obey(one, line, size);
        line = end + 1;
    }
    one->have = stop - line;
    if (one->have >= LINE) {
        forget(one);
        return;
    }
    if (one->have) {
        if (!one->rest)
            one->rest = claim(1, LINE);
        memcpy(one->rest, line, one->have);
    }
}

/* What the turn has said, to all that are in the channel: one send each. */
static void hand_out(void) {
    static char *others;
    static size_t room;
    for (int i = 0; i < members; i++) {
        struct client *one = channel[i];
        if (!one->speaks) {
            give(one, turn, said);
            continue;
        }
        size_t size = 0, at = 0;
        others = grow(others, &room, said, 1);
        for (int j = 0; j < pieces; at += spoken[j++].size)
            if (spoken[j].by != one) {
                memcpy(others + size, turn + at, spoken[j].size);
                size += spoken[j].size;
            }
        one->speaks = 0;
        if (size)
            give(one, others, size);
    }
    said = pieces = 0;
}

int main(int count, char **words) {
    if (count < 2)
        fail("usage: chat_server PORT");
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096))
        fail("listen: %s", strerror(errno));
    nicks = claim(NICKS, sizeof *nicks);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int found = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            struct client *one = ready[i].data.ptr;
            int handle;
            if (!one) {
                while ((handle = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    one = claim(1, sizeof *one);
                    one->handle = handle;
                    struct epoll_event add = {.events = EPOLLIN, .data.ptr = one};
                    epoll_ctl(poller, EPOLL_CTL_ADD, handle, &add);
                }
                continue;
            }
            if (ready[i].events & EPOLLOUT)
                flush(one);
            if (ready[i].events & ~EPOLLOUT)
                take(one);
        }
        if (said)
            hand_out();
        for (int i = 0; i < touched; i++) {
            struct client *one = dirty[i];
            if (!one)
                continue;
            one->dirty = 0;
            flush(one);
            if (one->leaving)
                forget(one);
        }
        touched = 0;
    }
}
