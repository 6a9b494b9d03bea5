/* SPDX-License-Identifier: MIT */
/*
 * The starting gateway's side of a hand-over.
 */
#include "gateway/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "gateway/handover_wire.h"

struct packet {
    char text[HANDOVER_PACKET];
    int fds[HANDOVER_FDS];
    size_t n;
};

void takeover_end(struct takeover *t) {
    if (t->fd >= 0) {
        close(t->fd);
    }
    t->fd = -1;
}

static int failed(const struct takeover *t, const char *what, struct err *err) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return err_set(err,
                       "the running gateway (process %ld) does not answer: it was asked to %s and "
                       "given %d s; end it, and start without --take-over",
                       t->pid, what, HANDOVER_ANSWER);
    }
    return err_set(err, "the running gateway (process %ld) was asked to %s: %s", t->pid, what,
                   strerror(errno));
}

/* Where the other has hung up, the next hear() tells: its last words wait there. */
static int say(struct takeover *t, const char *text, const char *what, struct err *err) {
    ssize_t n = send(t->fd, text, strlen(text), MSG_NOSIGNAL);
    return n < 0 && errno != EPIPE && errno != ECONNRESET ? failed(t, what, err) : 0;
}

static void take_fds(struct msghdr *m, struct packet *p) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            p->n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(p->fds, CMSG_DATA(c), p->n * sizeof(int));
        }
    }
}

static void close_fds(const struct packet *p, size_t from) {
    for (size_t i = from; i < p->n; i++) {
        close(p->fds[i]);
    }
}

/* One packet of the other's. Descriptors in it are the caller's on 0. */
static int hear(struct takeover *t, struct packet *p, const char *what, struct err *err) {
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * HANDOVER_FDS)];
    } control;
    struct iovec text = {p->text, sizeof(p->text) - 1};
    struct msghdr m = {.msg_iov = &text,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    p->n = 0;
    ssize_t n = recvmsg(t->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == ECONNRESET) { /* told once, before what the other said last */
        n = recvmsg(t->fd, &m, MSG_CMSG_CLOEXEC);
    }
    if (n < 0) {
        return failed(t, what, err);
    }
    p->text[n] = '\0';
    take_fds(&m, p);
    const char *wrong = NULL;
    if (n == 0) {
        wrong =
            "it ended the hand-over: it stops, or another took over from it just now; try again";
        t->ended = true;
    } else if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        wrong = "not all of its sockets came: are there file descriptors left (ulimit -n)?";
    } else if (strncmp(p->text, HANDOVER_NO, strlen(HANDOVER_NO)) == 0) {
        wrong = p->text + strlen(HANDOVER_NO);
    }
    if (wrong) {
        close_fds(p, 0);
        return err_set(err, "the running gateway (process %ld) was asked to %s: %s", t->pid, what,
                       wrong);
    }
    return 0;
}

static int hear_word(struct takeover *t, const char *word, const char *what, struct err *err) {
    struct packet p;
    if (hear(t, &p, what, err) != 0) {
        return -1;
    }
    close_fds(&p, 0);
    return strcmp(p.text, word) == 0
               ? 0
               : err_set(err, "the running gateway (process %ld) said \"%.40s\", not \"%s\"",
                         t->pid, p.text, word);
}

/* 1, or 0 when nobody listens there, or -1 with err. */
static int reach(struct takeover *t, const char *dir, struct err *err) {
    struct timeval patience = {HANDOVER_ANSWER, 0};
    struct sockaddr_un address;
    t->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int folder = access(dir, F_OK) == 0 ? handover_address(dir, HANDOVER_NAME, &address, err) : -2;
    if (folder == -2 && t->fd >= 0) {
        return 0;
    }
    if (t->fd < 0 || folder < 0) {
        return -1;
    }
    setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(t->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    int r = connect(t->fd, (struct sockaddr *)&address, sizeof(address));
    int why = errno;
    close(folder);
    if (r == 0) {
        return handover_peer(t->fd, &t->pid)
                   ? 1
                   : err_set(err, "%s/%s: process %ld listens there, which is another user's", dir,
                             HANDOVER_NAME, t->pid);
    }
    return why == ENOENT || why == ECONNREFUSED
               ? 0
               : err_set(err, "%s/%s: %s", dir, HANDOVER_NAME, strerror(why));
}

/* "sockets PID ak..": a letter for the role, one for who keeps it. */
static int give(struct takeover *t, struct packet *p, struct listeners *into, struct err *err) {
    size_t head = strlen(HANDOVER_SOCKETS);
    const char *marks = p->text + head;
    if (strncmp(p->text, HANDOVER_SOCKETS, head) != 0 || strlen(marks) != 2 * p->n || p->n == 0) {
        close_fds(p, 0);
        return err_set(err, "the running gateway (process %ld) sent %zu sockets as \"%.40s\"",
                       t->pid, p->n, p->text);
    }
    for (size_t i = 0; i < p->n; i++) {
        struct given_socket s = {.fd = p->fds[i],
                                 .role = marks[2 * i] == 'a' ? SOCKET_ADMIN : SOCKET_TRAFFIC,
                                 .kept = marks[2 * i + 1] == 'k',
                                 .number = t->sockets++};
        if (listeners_give(into, &s, err) != 0) { /* which knows how many there may be */
            close_fds(p, i + 1);
            return -1;
        }
    }
    return 0;
}

static int receive(struct takeover *t, struct listeners *into, struct err *err) {
    static const char WHAT[] = "pass its listening sockets";
    struct packet p;
    if (say(t, HANDOVER_HELLO, WHAT, err) != 0) {
        return -1;
    }
    for (;;) {
        if (hear(t, &p, WHAT, err) != 0) {
            return -1;
        }
        if (strcmp(p.text, HANDOVER_END) == 0) {
            close_fds(&p, 0);
            return 0;
        }
        if (give(t, &p, into, err) != 0) {
            return -1;
        }
    }
}

int takeover_begin(struct takeover *t, const char *state_dir, struct listeners *into,
                   struct err *err) {
    *t = (struct takeover){.fd = -1};
    int found = reach(t, state_dir, err);
    if (found > 0 && receive(t, into, err) != 0) {
        found = -1;
    }
    if (found <= 0) {
        takeover_end(t);
    }
    return found;
}

int takeover_claim(struct takeover *t, struct err *err) {
    static const char WHAT[] = "save its state";
    if (t->fd < 0) {
        return 0;
    }
    return say(t, HANDOVER_TAKE, WHAT, err) != 0 ? -1 : hear_word(t, HANDOVER_YOURS, WHAT, err);
}

int takeover_done(struct takeover *t, const struct listeners *used, struct err *err) {
    static const char WHAT[] = "leave its sockets to this one";
    char text[HANDOVER_PACKET];
    snprintf(text, sizeof(text), HANDOVER_DONE "%s", used->taken);
    (void)say(t, text, WHAT, err); /* why it failed is heard: the other said no, or is at its end */
    errno = 0;
    int result = hear_word(t, HANDOVER_BYE, WHAT, err);
    bool silent = errno == EAGAIN || errno == ECONNRESET || t->ended;
    result = result != 0 && silent ? 1 : result;
    takeover_end(t);
    return result;
}
