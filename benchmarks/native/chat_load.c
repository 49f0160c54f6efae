/*
 * Load for IRC servers: every delivery is counted, and compared byte by byte.
 *
 *     chat_load HOST PORT PIDS LOAD MEMBERS SENDERS WINDOW WARM SECONDS PATIENCE
 *
 * LOAD is one of
 *
 *     channel  MEMBERS in one channel, of whom SENDERS speak: each has at most WINDOW messages on the way,
 *              and says the next when there have been as many deliveries as there are other members
 *     pairs    SENDERS write to one other each (MEMBERS is twice as many), at most WINDOW on the way
 *     cycles   WINDOW at a time connect, register, say QUIT, and wait until the server has closed
 *     idle     MEMBERS register, from several addresses, say so, and stay until standard input ends
 *
 * A message says who sent it and the how manieth it is: whoever gets it must have had the one before,
 * and not this one yet. What a server says besides (replies, who joined) is read and passed over,
 * but for PING, which is answered, and ERROR, which ends the run.
 */
#include "common.h"
#include <signal.h>
#include <stddef.h>
#include <sys/select.h>

#define CHUNK (1 << 16)
#define LINE 1024
#define TEXT 64 /* bytes that a message says */
#define PER_ADDRESS 4000

struct client {
    int handle, number, registered, joined, left;
    size_t have;
    char kept[LINE];   /* the beginning of a line */
    uint32_t *heard;   /* of each sender, how many */
};

struct sender {
    uint64_t said;      /* messages */
    uint64_t delivered; /* to anybody */
};

static int poller, members, senders, window, counting;
static struct client *clients;
static struct sender *said;
static uint64_t deliveries, cycles;
static enum { CHANNEL, PAIRS, CYCLES, IDLE } load;
static const char *host;
static int port;
static int *alarms; /* senders that may speak again, after this turn's reading */
static int alarmed;

static void say(struct client *one, const char *text, size_t size) {
    while (size) {
        ssize_t took = send(one->handle, text, size, MSG_NOSIGNAL);
        if (took < 0 && errno == EAGAIN) { /* closed loops are small: a server that stops reading hangs */
            fd_set one_only;
            struct timeval limit = {.tv_sec = patience};
            if (one->handle >= FD_SETSIZE)
                fail("the server does not read");
            FD_ZERO(&one_only);
            FD_SET(one->handle, &one_only);
            if (select(one->handle + 1, NULL, &one_only, NULL, &limit) < 1)
                fail("hung: the server does not read");
            continue;
        }
        if (took < 0)
            fail("the server cut client %d: %s", one->number, strerror(errno));
        text += took, size -= took;
    }
}

/* What the sender says as its nth message: TEXT bytes. */
static void compose(char *into, int sender, uint64_t number) {
    char head[40];
    int size = snprintf(head, sizeof head, "%d %llu ", sender, (unsigned long long)number);
    memcpy(into, head, size);
    for (int i = size; i < TEXT; i++)
        into[i] = 'a' + (number + i + sender) % 26;
}

/* As many messages as the window has room for, in one piece. */
static void speak(int sender) {
    struct sender *one = &said[sender];
    static char batch[1 << 16];
    size_t size = 0;
    uint64_t others = load == CHANNEL ? members - 1 : 1;
    uint64_t through = one->delivered / others; /* on average: members may be a message apart */
    while (one->said < through + window && size < sizeof batch - 2 * LINE) {
        if (load == CHANNEL)
            size += sprintf(batch + size, "PRIVMSG #bench :");
        else
            size += sprintf(batch + size, "PRIVMSG b%d :", senders + sender);
        compose(batch + size, sender, one->said++);
        size += TEXT;
        batch[size++] = '\r', batch[size++] = '\n';
    }
    if (size)
        say(&clients[sender], batch, size);
}

static void heard(struct client *one, const char *line, size_t size) {
    /* :b<sender>!user@host PRIVMSG <where> :<text> */
    char where[24], expected[TEXT];
    char *end;
    int sender = strtol(line + 2, &end, 10);
    size_t length = load == CHANNEL ? (size_t)sprintf(where, " #bench :")
                                    : (size_t)sprintf(where, " b%d :", one->number);
    if (line[1] != 'b' || *end != '!' || sender < 0 || sender >= senders)
        fail("client %d got a message from a stranger: %.*s", one->number, (int)size, line);
    if (load == PAIRS && sender + senders != one->number)
        fail("client %d got what sender %d wrote to another", one->number, sender);
    if (sender == one->number)
        fail("sender %d got its own message", sender);
    const char *text = line + size - TEXT;
    uint32_t number = one->heard[sender];
    compose(expected, sender, number);
    if (size < TEXT + length + 8 || memcmp(text, expected, TEXT)) {
        int from = -1;
        unsigned long long got = 0;
        if (size > TEXT && sscanf(text, "%d %llu ", &from, &got) == 2 && from == sender && got != number)
            fail("client %d, from sender %d: message %llu %s (%llu expected)", one->number, sender, got,
                 got < number ? "came twice" : "came, and one before it was lost", (unsigned long long)number);
        fail("client %d got an altered message: %.*s", one->number, (int)size, line);
    }
    if (memcmp(text - length, where, length) || memcmp(text - length - 8, " PRIVMSG", 8))
        fail("client %d got an altered message: %.*s", one->number, (int)size, line);
    if (number >= said[sender].said)
        fail("client %d got a message that nobody sent", one->number);
    one->heard[sender]++;
    deliveries++;
    uint64_t others = load == CHANNEL ? members - 1 : 1;
    if (++said[sender].delivered % others == 0 && counting)
        alarms[alarmed++] = sender;
}

static void obey(struct client *one, const char *line, size_t size) {
    char *command = size && line[0] == ':' ? memchr(line, ' ', size) : NULL;
    const char *word = command ? command + 1 : line;
    size_t left = size - (word - line);
    if (left >= 8 && !memcmp(word, "PRIVMSG ", 8)) {
        if (command && one->joined)
            heard(one, line, size);
    } else if (left > 5 && !memcmp(word, "PING ", 5)) {
        char answer[LINE + 8];
        int length = snprintf(answer, sizeof answer, "PONG %.*s\r\n", (int)(left - 5), word + 5);
        say(one, answer, length);
    } else if (left >= 4 && (!memcmp(word, "376 ", 4) || !memcmp(word, "422 ", 4))) {
        one->registered = 1;
        if (load == CYCLES)
            say(one, "QUIT\r\n", 6), one->left = 1;
    } else if (left >= 4 && !memcmp(word, "366 ", 4)) {
        one->joined = 1;
    } else if (left >= 5 && !memcmp(word, "ERROR", 5)) {
        if (!one->left)
            fail("client %d: %.*s", one->number, (int)size, line);
    } else if (left >= 4 && (word[0] == '4' || word[0] == '5') && word[3] == ' ') {
        fail("client %d is refused: %.*s", one->number, (int)size, line);
    }
}

static void begin(struct client *one, int number) {
    static int serial;
    char hello[128];
    one->number = number, one->have = 0;
    one->registered = one->joined = one->left = 0;
    one->handle = connect_to(host, port, load == IDLE ? number / PER_ADDRESS : -1);
    int size = load == CYCLES ? snprintf(hello, sizeof hello, "NICK c%d\r\nUSER bench 0 * :bench\r\n", serial++ % 1000000)
                              : snprintf(hello, sizeof hello, "NICK b%d\r\nUSER bench 0 * :bench\r\n", number);
    say(one, hello, size);
    unblock(one->handle);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, one->handle, &event))
        fail("epoll_ctl: %s", strerror(errno));
}

static void take(struct client *one) {
    static char buffer[LINE + CHUNK];
    memcpy(buffer, one->kept, one->have);
    ssize_t got = recv(one->handle, buffer + one->have, CHUNK, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (load == CYCLES && one->left) {
            cycles++;
            close(one->handle);
            one->handle = -1;
            if (counting)
                begin(one, one->number);
            return;
        }
        fail("the server closed the connection of client %d%s", one->number,
             one->registered ? "" : " before it was registered");
    }
    char *line = buffer, *end, *stop = buffer + one->have + got;
    while ((end = memchr(line, '\n', stop - line))) {
        obey(one, line, end > line && end[-1] == '\r' ? end - 1 - line : end - line);
        line = end + 1;
    }
    one->have = stop - line;
    if (one->have > LINE)
        fail("client %d got a line without an end", one->number);
    memcpy(one->kept, line, one->have);
}

/* One turn; how many were ready. */
static int turn(int wait) {
    struct epoll_event ready[512];
    int found = epoll_wait(poller, ready, 512, wait);
    for (int i = 0; i < found; i++)
        take(ready[i].data.ptr);
    for (int i = 0; i < alarmed; i++)
        speak(alarms[i]);
    alarmed = 0;
    return found > 0 ? found : 0;
}

/* Turn until all have a mark; in portions, as servers' backlogs are short. */
static void until(int from, int to, size_t mark, const char *what) {
    double last = wall();
    for (int i = from; i < to;) {
        if (*(int *)((char *)&clients[i] + mark)) {
            i++;
            continue;
        }
        if (turn(100))
            last = wall();
        if (wall() - last > patience)
            fail("hung: client %d is not %s", i, what);
    }
}

int main(int count, char **words) {
    if (count < 11)
        fail("usage: chat_load HOST PORT PIDS LOAD MEMBERS SENDERS WINDOW WARM SECONDS PATIENCE");
    host = words[1], port = atoi(words[2]);
    const char *names[] = {"channel", "pairs", "cycles", "idle"};
    int chosen = -1;
    for (int i = 0; i < 4; i++)
        if (!strcmp(words[4], names[i]))
            chosen = i;
    if (chosen < 0)
        fail("%s is no load", words[4]);
    load = chosen;
    members = atoi(words[5]), senders = atoi(words[6]), window = atoi(words[7]);
    double warm = atof(words[8]), lasting = atof(words[9]);
    patience = atoi(words[10]);
    if (load == PAIRS)
        members = 2 * senders;
    if (load == CYCLES)
        members = window;
    if (members < 1 || senders < (load == CYCLES || load == IDLE ? 0 : 1) || senders > members || window < 1 ||
        (load == CHANNEL && members < 2) || patience < 1)
        fail("these numbers make no load");
    signal(SIGPIPE, SIG_IGN);
    watch(words[3]);
    poller = epoll_create1(0);
    clients = claim(members, sizeof *clients);
    said = claim(senders + 1, sizeof *said);
    alarms = claim((size_t)senders * window + 16, sizeof *alarms);
    for (int i = 0; i < members; i++) {
        if (load == CHANNEL || load == PAIRS)
            clients[i].heard = claim(senders, sizeof(uint32_t));
        begin(&clients[i], i);
        /* ngIRCd's backlog is 10: who comes beyond it tries again a second later, at the best. InspIRCd
           registers once a second, so there is more than that to a portion. */
        if (i % 8 == 7)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        if (load != CYCLES && i % 50 == 49)
            until(i - 49, i + 1, offsetof(struct client, registered), "registered");
    }
    if (load != CYCLES)
        until(0, members, offsetof(struct client, registered), "registered");
    if (load == IDLE) {
        printf("ready=%d\n", members);
        fflush(stdout);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready;
        int both = epoll_create1(0), ended = 0;
        epoll_ctl(both, EPOLL_CTL_ADD, 0, &event);
        event.data.ptr = clients;
        epoll_ctl(both, EPOLL_CTL_ADD, poller, &event);
        while (!ended)
            if (epoll_wait(both, &ready, 1, -1) == 1) {
                char byte;
                if (ready.data.ptr)
                    turn(0);
                else
                    ended = read(0, &byte, 1) <= 0;
            }
        return 0;
    }
    if (load == CHANNEL)
        for (int i = 0; i < members; i++) {
            say(&clients[i], "JOIN #bench\r\n", 13);
            if (i % 50 == 49 || i + 1 == members)
                until(i - i % 50, i + 1, offsetof(struct client, joined), "in the channel");
        }
    else
        for (int i = 0; i < members; i++)
            clients[i].joined = 1;
    counting = 1;
    if (load == CHANNEL || load == PAIRS)
        for (int i = 0; i < senders; i++)
            speak(i);
    double start = wall(), cpu = 0, end = 0, used = 0, moved = start;
    uint64_t before = 0, measured = 0;
    int measuring = 0;
    for (;;) {
        int found = turn(100);
        double now = wall();
        uint64_t done = load == CYCLES ? cycles : deliveries;
        if (found)
            moved = now;
        if (now - moved > patience) {
            uint64_t waiting = 0;
            for (int i = 0; i < senders; i++)
                waiting += said[i].said * (load == CHANNEL ? members - 1 : 1) - said[i].delivered;
            fail("hung: nothing for %d seconds, after %llu; lost or waiting: %llu", patience,
                 (unsigned long long)done, (unsigned long long)waiting);
        }
        if (!measuring && now - start >= warm) {
            measuring = 1, before = done, start = now, cpu = server_cpu();
        } else if (measuring && counting && now - start >= lasting) {
            used = server_cpu() - cpu, end = now - start, measured = done - before;
            counting = 0;
        }
        if (measuring && !counting && !found) { /* all is there, and for a moment nothing has followed */
            int waiting = 0;
            if (load == CYCLES)
                for (int i = 0; i < members; i++)
                    waiting += clients[i].handle >= 0;
            else
                for (int i = 0; i < senders; i++)
                    waiting += said[i].delivered < said[i].said * (load == CHANNEL ? members - 1 : 1);
            if (!waiting)
                break;
        }
    }
    if (!measured)
        fail("nothing in %g seconds", lasting);
    printf("messages=%llu seconds=%.6f cpu=%.9f\n", (unsigned long long)measured, end, used);
    return 0;
}
