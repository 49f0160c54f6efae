/*
 * Load for echo servers: every byte that comes back is compared with the one that was sent.
 *
 *     echo_load HOST PORT PIDS CONNECTIONS SIZE WINDOW WARM SECONDS PATIENCE [tls]
 *
 * Each connection has at most WINDOW messages of SIZE bytes on the way. With WINDOW 1 it sends one
 * when the last is back; else it sends WINDOW at once when all are back: a burst. A message ends with
 * a line feed and has none before it. The stream repeats after a megabyte at the earliest, and each connection
 * begins elsewhere in it, so that a byte that is lost, doubled, altered or another connection's is seen.
 */
#include "common.h"
#include <signal.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define CHUNK (1 << 18)

struct client {
    int handle, writing;
    uint64_t queued, sent, back; /* bytes since the beginning */
    uint64_t first;              /* the number of its first message */
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static size_t size, window;
static int poller, secure;
static uint64_t done;

/* A message's bytes: its number, in characters of 6 bits, over and over. */
static void compose(char *into, uint64_t number) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i + 1 < size; i++) {
        if (i < 8)
            into[i] = digits[number >> (6 * i) & 63];
        else {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            into[i] = digits[x >> 58];
        }
    }
    into[size - 1] = '\n';
}

/* The stream from an offset of a client's: composed once for all, and cut out of that. */
static char *stream;
static uint64_t period; /* messages */

static const char *bytes_at(struct client *one, uint64_t offset, size_t *room) {
    uint64_t at = (offset + one->first * size) % (period * size);
    if (*room > period * size - at)
        *room = period * size - at;
    return stream + at;
}

static ssize_t put(struct client *one, const char *from, size_t count) {
#ifdef WITH_TLS
    if (secure) {
        int took = SSL_write(one->tls, from, count);
        if (took > 0)
            return took;
        int reason = SSL_get_error(one->tls, took);
        errno = reason == SSL_ERROR_WANT_WRITE || reason == SSL_ERROR_WANT_READ ? EAGAIN : EPIPE;
        return -1;
    }
#endif
    return send(one->handle, from, count, MSG_NOSIGNAL);
}

static ssize_t get(struct client *one, char *into, size_t count) {
#ifdef WITH_TLS
    if (secure) {
        int got = SSL_read(one->tls, into, count);
        if (got > 0)
            return got;
        int reason = SSL_get_error(one->tls, got);
        if (reason == SSL_ERROR_ZERO_RETURN)
            return 0;
        errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
        return -1;
    }
#endif
    return recv(one->handle, into, count, 0);
}

static void push(struct client *one) {
    while (one->sent < one->queued) {
        size_t room = one->queued - one->sent;
        const char *from = bytes_at(one, one->sent, &room);
        ssize_t took = put(one, from, room);
        if (took < 0) {
            if (errno != EAGAIN)
                fail("the server cut a connection: %s", strerror(errno));
            break;
        }
        one->sent += took;
    }
    int writing = one->sent < one->queued;
    if (writing != one->writing) {
        struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = one};
        epoll_ctl(poller, EPOLL_CTL_MOD, one->handle, &event);
        one->writing = writing;
    }
}

static void take(struct client *one, int sending) {
    static char buffer[CHUNK];
    for (;;) {
        ssize_t got = get(one, buffer, CHUNK);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            fail("the server closed a connection after %llu bytes", (unsigned long long)one->back);
        if (one->back + got > one->sent)
            fail("%llu bytes came back of %llu sent", (unsigned long long)(one->back + got),
                 (unsigned long long)one->sent);
        for (size_t at = 0; at < (size_t)got;) {
            size_t room = got - at;
            const char *expected = bytes_at(one, one->back, &room);
            if (memcmp(buffer + at, expected, room)) {
                size_t i = 0;
                while (buffer[at + i] == expected[i])
                    i++;
                fail("byte %llu of a connection came back altered, or one was lost before it",
                     (unsigned long long)(one->back + i));
            }
            done += (one->back + room) / size - one->back / size;
            one->back += room;
            at += room;
        }
        if (sending && one->back == one->queued) {
            one->queued += size * window;
            push(one);
        }
        if (!secure && got < CHUNK)
            return;
    }
}

int main(int count, char **words) {
    if (count < 10)
        fail("usage: echo_load HOST PORT PIDS CONNECTIONS SIZE WINDOW WARM SECONDS PATIENCE [tls]");
    int connections = atoi(words[4]);
    size = atoi(words[5]), window = atoi(words[6]);
    double warm = atof(words[7]), lasting = atof(words[8]);
    patience = atoi(words[9]);
    secure = count > 10;
    if (size < 2 || window < 1 || connections < 1 || patience < 1)
        fail("a size of 2 or more, and at least one connection, message and second");
    signal(SIGPIPE, SIG_IGN);
    watch(words[3]);
    /* A megabyte or sixteen messages, whichever is more; each connection begins at another. */
    period = (1 << 20) / size > 16 ? (1 << 20) / size : 16;
    stream = claim(period, size);
    for (uint64_t i = 0; i < period; i++)
        compose(stream + i * size, i);
#ifdef WITH_TLS
    SSL_CTX *context = secure ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (context)
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
#else
    if (secure)
        fail("built without OpenSSL");
#endif
    poller = epoll_create1(0);
    struct client *clients = claim(connections, sizeof *clients);
    for (int i = 0; i < connections; i++) {
        struct client *one = &clients[i];
        one->handle = connect_to(words[1], atoi(words[2]), -1);
        one->first = i * 2654435761ull % period;
#ifdef WITH_TLS
        if (secure) {
            one->tls = SSL_new(context);
            SSL_set_fd(one->tls, one->handle);
            if (SSL_connect(one->tls) != 1)
                fail("TLS: no handshake");
        }
#endif
        unblock(one->handle);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        epoll_ctl(poller, EPOLL_CTL_ADD, one->handle, &event);
        one->queued = size * window;
        push(one);
    }
    double begin = wall(), cpu = 0, end = 0, used = 0, moved = begin;
    uint64_t before = 0, measured = 0;
    int measuring = 0, sending = 1;
    for (;;) {
        struct epoll_event ready[512];
        int found = epoll_wait(poller, ready, 512, 100);
        for (int i = 0; i < found; i++) {
            struct client *one = ready[i].data.ptr;
            if (ready[i].events & EPOLLOUT)
                push(one);
            if (ready[i].events & ~EPOLLOUT)
                take(one, sending);
        }
        double now = wall();
        if (found > 0)
            moved = now;
        if (now - moved > patience)
            fail("hung: nothing for %d seconds, after %llu messages", patience,
                 (unsigned long long)done);
        if (!measuring && now - begin >= warm) {
            measuring = 1, before = done, begin = now, cpu = server_cpu();
        } else if (measuring && sending && now - begin >= lasting) {
            used = server_cpu() - cpu, end = now - begin, measured = done - before;
            sending = 0;
        }
        if (!sending) { /* until all is back, and then a moment more: nothing may follow */
            int waiting = 0;
            for (int i = 0; i < connections; i++)
                waiting += clients[i].back < clients[i].queued;
            if (!waiting && !found)
                break;
        }
    }
    if (!measured)
        fail("no message came back in %g seconds", lasting);
    printf("messages=%llu seconds=%.6f cpu=%.9f\n", (unsigned long long)measured, end, used);
    return 0;
}
