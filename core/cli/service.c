/* SPDX-License-Identifier: MIT */
#include "cli/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD 3    /* SD_LISTEN_FDS_START */
#define NOTIFY_WAIT 1 /* seconds: a manager that reads nothing must not keep us from stopping */

/* A whole decimal number up to `max`, or -1. */
static long number_of(const char *text, long max) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && errno == 0 && n <= max ? n : -1;
}

static int wrong(const char *variable, const char *value, const char *expected) {
    fprintf(stderr, "moongate: %s is \"%.40s\": expected %s\n", variable, value, expected);
    return -1;
}

/* Cuts the names, which stand between colons; sockets beyond the last have none. */
static void name_sockets(struct service_sockets *out, const char *names) {
    snprintf(out->names, sizeof(out->names), "%s", names ? names : "");
    char *rest = out->names;
    for (size_t i = 0; i < out->n && rest; i++) {
        out->list[i].name = rest;
        rest = strchr(rest, ':');
        if (rest) {
            *rest++ = '\0';
        }
    }
}

static int read_sockets(struct service_sockets *out, const char *pid, const char *fds,
                        const char *names) {
    if (!pid || !fds) {
        return 0;
    }
    long whose = number_of(pid, 0x7fffffff);
    long n = number_of(fds, SERVICE_SOCKETS);
    if (whose < 0) {
        return wrong("LISTEN_PID", pid, "the number of a process");
    }
    if (whose != (long)getpid()) {
        return 0;
    }
    if (n < 0) {
        return wrong("LISTEN_FDS", fds, "a number of sockets, at most 64");
    }
    for (; out->n < (size_t)n; out->n++) {
        out->list[out->n].fd = FIRST_FD + (int)out->n;
        if (fcntl(out->list[out->n].fd, F_SETFD, FD_CLOEXEC) != 0) {
            return wrong("LISTEN_FDS", fds,
                         "that many descriptors from 3 on, and they are not open");
        }
    }
    name_sockets(out, names);
    return 0;
}

int service_take_sockets(struct service_sockets *out) {
    memset(out, 0, sizeof(*out));
    int result =
        read_sockets(out, getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"));
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return result;
}

void service_notify(const char *state) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof(to.sun_path) || (*path != '/' && *path != '@')) {
        return;
    }
    memcpy(to.sun_path, path, n);
    if (*path == '@') {
        to.sun_path[0] = '\0'; /* the abstract name space */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        struct timeval patience = {NOTIFY_WAIT, 0};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
        (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len);
        close(fd);
    }
}

void service_ready(void) {
    char text[64];
    snprintf(text, sizeof(text), "READY=1\nMAINPID=%ld", (long)getpid());
    service_notify(text);
}

void service_reloading(void) {
    char text[96];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    service_notify(text);
}
