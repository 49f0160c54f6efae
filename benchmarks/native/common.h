/*
 * What the load generators share: failing in one line, the deadline, the servers' CPU time, sockets.
 *
 * A load prints one line, "key=value key=value", and exits with 0; or says on standard error what was
 * wrong, and exits with 1. It never waits longer than PATIENCE seconds for anything.
 */
#ifndef COMMON_H
#define COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PIDS 64

static int patience = 10; /* seconds without progress after which a peer counts as hung */
static clockid_t clocks[MAX_PIDS];
static int number_of_clocks;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    vfprintf(stderr, format, words);
    va_end(words);
    fputc('\n', stderr);
    exit(1);
}

__attribute__((unused)) static void *claim(size_t count, size_t size) {
    void *found = calloc(count, size);
    if (!found)
        fail("out of memory");
    return found;
}

static double seconds_of(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now))
        fail("the server has ended");
    return now.tv_sec + now.tv_nsec / 1e9;
}

__attribute__((unused)) static double wall(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Whose CPU time is measured: process ids, separated by commas. */
__attribute__((unused)) static void watch(char *pids) {
    for (char *word = strtok(pids, ","); word; word = strtok(NULL, ",")) {
        if (number_of_clocks == MAX_PIDS)
            fail("more than %d processes", MAX_PIDS);
        if (clock_getcpuclockid(atoi(word), &clocks[number_of_clocks++]))
            fail("no process %s", word);
    }
}

/* Seconds that the kernel has counted for all threads of those processes, in nanoseconds' resolution. */
__attribute__((unused)) static double server_cpu(void) {
    double sum = 0;
    for (int i = 0; i < number_of_clocks; i++)
        sum += seconds_of(clocks[i]);
    return sum;
}

/* Connect from 127.0.(1 + source).1, so that ports do not run out; -1 for 127.0.0.1. Blocking. */
__attribute__((unused)) static int connect_to(const char *host, int port, int source) {
    int on = 1, handle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (handle < 0)
        fail("socket: %s", strerror(errno));
    if (inet_pton(AF_INET, host, &there.sin_addr) != 1)
        fail("%s is no IPv4 address", host);
    if (source >= 0) {
        struct sockaddr_in here = {.sin_family = AF_INET};
        here.sin_addr.s_addr = htonl(0x7f000101u + ((uint32_t)source << 8));
        setsockopt(handle, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(handle, (struct sockaddr *)&here, sizeof here))
            fail("bind: %s", strerror(errno));
    }
    struct timeval limit = {.tv_sec = patience};
    setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(handle, (struct sockaddr *)&there, sizeof there))
        fail("connect: %s", strerror(errno));
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return handle;
}

__attribute__((unused)) static void unblock(int handle) {
    if (fcntl(handle, F_SETFL, fcntl(handle, F_GETFL) | O_NONBLOCK))
        fail("fcntl: %s", strerror(errno));
}

#endif
