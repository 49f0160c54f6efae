/*
 * The floor: an echo server over epoll, with one recv and one send for each piece.
 *
 *     echo_server PORT [lines]
 *
 * With "lines", each line is sent by a call of its own, as a server that writes line by line does.
 * It ends when it is told to, or when its standard input does.
 */
#include "common.h"

#define ROOM (1 << 18)

struct client {
    int handle;
    size_t from, to; /* what the kernel has not taken yet */
    char buffer[ROOM];
};

static int poller;

static void mind(struct client *one, int writing) {
    struct epoll_event event = {.events = writing ? EPOLLOUT : EPOLLIN, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->handle, &event);
}

static void forget(struct client *one) {
    close(one->handle);
    free(one);
}

/* Send what is there; 0 if the client is gone. */
static int flush(struct client *one, int lines) {
    while (one->from < one->to) {
        size_t size = one->to - one->from;
        if (lines) {
            char *end = memchr(one->buffer + one->from, '\n', size);
            if (end)
                size = end + 1 - (one->buffer + one->from);
        }
        ssize_t took = send(one->handle, one->buffer + one->from, size, MSG_NOSIGNAL);
        if (took < 0)
            return errno == EAGAIN ? 1 : 0;
        one->from += took;
    }
    return 1;
}

int main(int count, char **words) {
    if (count < 2)
        fail("usage: echo_server PORT [lines]");
    int lines = count > 2, on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096))
        fail("listen: %s", strerror(errno));
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int found = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            struct client *one = ready[i].data.ptr;
            if (!one) {
                int handle;
                while ((handle = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    one = claim(1, sizeof *one);
                    one->handle = handle;
                    struct epoll_event add = {.events = EPOLLIN, .data.ptr = one};
                    epoll_ctl(poller, EPOLL_CTL_ADD, handle, &add);
                }
                continue;
            }
            int waited = one->from < one->to;
            if (!waited) {
                ssize_t got = recv(one->handle, one->buffer, ROOM, 0);
                if (got <= 0) {
                    if (got == 0 || errno != EAGAIN)
                        forget(one);
                    continue;
                }
                one->from = 0;
                one->to = got;
            }
            if (!flush(one, lines)) {
                forget(one);
                continue;
            }
            if (waited != (one->from < one->to))
                mind(one, one->from < one->to);
        }
    }
}
