/* SPDX-License-Identifier: MIT */
/*
 * The running gateway's side of a hand-over.
 */
#include "gateway/handover.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/handover_wire.h"
#include "net/listener.h"

static const struct log *log_of(const struct handover *h) {
    return &h->env.control->gateway->log;
}

/* ---- talking ---- */

static int say(const struct handover *h, const char *text) {
    ssize_t n = send(h->peer_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -1 : 0;
}

static int send_sockets(const struct handover *h, const char *text, const int *fds, size_t n) {
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * HANDOVER_FDS)];
    } control;
    memset(&control, 0, sizeof(control));
    struct iovec iov = {(void *)(size_t)text, strlen(text)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
    return sendmsg(h->peer_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

static int send_all_sockets(const struct handover *h) {
    const struct listeners *l = h->env.listeners;
    for (size_t from = 0; from < l->n_open; from += HANDOVER_FDS) {
        char text[sizeof(HANDOVER_SOCKETS) + 2 * (size_t)HANDOVER_FDS];
        int fds[HANDOVER_FDS];
        size_t n = l->n_open - from < HANDOVER_FDS ? l->n_open - from : HANDOVER_FDS;
        char *end = text + snprintf(text, sizeof(text), HANDOVER_SOCKETS);
        for (size_t i = 0; i < n; i++) {
            const struct open_listener *o = &l->open[from + i];
            fds[i] = listener_fd(o->listener);
            *end++ = o->admin ? 'a' : 'l';
            *end++ = listener_kept(o->listener) ? 'k' : 'o';
        }
        *end = '\0';
        if (send_sockets(h, text, fds, n) != 0) {
            return -1;
        }
    }
    return say(h, HANDOVER_END);
}

/* ---- steps ---- */

static void hang_up(struct handover *h) {
    if (h->peer_fd >= 0) {
        event_del(&h->readable);
        close(h->peer_fd);
        h->peer_fd = -1;
    }
}

/* The conversation ended before the other served: what was given is taken back. */
static void resume(struct handover *h, const char *why) {
    enum handover_step step = h->step;
    hang_up(h);
    h->step = HANDOVER_IDLE;
    if (step == HANDOVER_IDLE) {
        return;
    }
    log_warn(log_of(h), "process %ld did not take over (%s): serving goes on here", h->peer, why);
    if (step == HANDOVER_YIELDED) {
        control_reclaim(h->env.control);
    }
    if (!atomic_load(&h->env.control->gateway->draining)) {
        loader_open(h->env.loader);
    }
}

static void refuse(struct handover *h, const char *why) {
    char text[128];
    snprintf(text, sizeof(text), HANDOVER_NO "%s", why);
    (void)say(h, text); /* it sees the end in any case */
    resume(h, why);
}

static bool too_late(struct handover *h) {
    pthread_mutex_lock(&h->lock);
    bool late = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return late;
}

static void on_hello(struct handover *h) {
    h->step = HANDOVER_ASKED;
    log_info(log_of(h), "process %ld asks to take over", h->peer);
    loader_close(h->env.loader);
    pthread_mutex_lock(&h->lock); /* a stop, which closes them, waits so long */
    bool failed = h->stopping || send_all_sockets(h) != 0;
    pthread_mutex_unlock(&h->lock);
    if (failed) {
        refuse(h, "its sockets could not be sent");
    }
}

static void on_take(struct handover *h) {
    h->step = HANDOVER_YIELDED;
    control_yield(h->env.control);
    if (say(h, HANDOVER_YOURS) != 0) {
        resume(h, "it is gone");
    }
}

static void leave(struct handover *h, const char *taken) {
    const struct listeners *l = h->env.listeners;
    for (size_t i = 0; i < l->n_open; i++) {
        if (taken[i] == '1') {
            listener_keep(l->open[i].listener);
        }
    }
}

static void on_done(struct handover *h, const char *taken) {
    if (strlen(taken) != h->env.listeners->n_open) {
        refuse(h, "it speaks of other sockets");
        return;
    }
    pthread_mutex_lock(&h->lock);
    bool late = h->stopping;
    if (!late) {
        leave(h, taken);
        h->replaced = true;
    }
    pthread_mutex_unlock(&h->lock);
    if (late) {
        refuse(h, "it is being stopped");
        return;
    }
    h->step = HANDOVER_REPLACED;
    (void)say(h, HANDOVER_BYE);
    hang_up(h);
    event_del(&h->acceptable);
    log_info(log_of(h), "process %ld has taken over", h->peer);
    h->env.replaced(h->env.ctx);
}

static void on_packet(struct handover *h, const char *text) {
    size_t done = strlen(HANDOVER_DONE);
    if (too_late(h)) {
        refuse(h, "it is being stopped");
    } else if (h->step == HANDOVER_IDLE && strcmp(text, HANDOVER_HELLO) == 0) {
        on_hello(h);
    } else if (h->step == HANDOVER_ASKED && strcmp(text, HANDOVER_TAKE) == 0) {
        on_take(h);
    } else if (h->step == HANDOVER_YIELDED && strncmp(text, HANDOVER_DONE, done) == 0) {
        on_done(h, text + done);
    } else {
        refuse(h, "it does not speak this version's hand-over");
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct handover *h = arg;
    char text[HANDOVER_PACKET];
    if (what & EV_TIMEOUT) {
        refuse(h, "it took too long");
        return;
    }
    ssize_t n = recv((int)fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        resume(h, "it is gone");
        return;
    }
    text[n] = '\0';
    on_packet(h, text);
}

/* ---- listening ---- */

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
    struct handover *h = arg;
    struct timeval patience = {HANDOVER_PATIENCE, 0};
    long pid = 0;
    (void)what;
    int peer = accept4((int)fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0) {
        return;
    }
    if (h->peer_fd >= 0 || !handover_peer(peer, &pid)) {
        static const char NO[] = HANDOVER_NO "it is in a hand-over already, or another user's";
        (void)!send(peer, NO, sizeof(NO) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(peer);
        return;
    }
    h->peer_fd = peer;
    h->peer = pid;
    event_assign(&h->readable, h->env.control->base, peer, EV_READ | EV_PERSIST, on_readable, h);
    if (event_add(&h->readable, &patience) != 0) {
        resume(h, "memory is short");
    }
}

/* Under another name first: at each moment there is a whole socket of that name, or none. */
static int bind_in(const char *dir, int fd, struct err *err) {
    static const char FRESH[] = HANDOVER_NAME ".new";
    struct sockaddr_un address;
    int folder = handover_address(dir, FRESH, &address, err);
    if (folder < 0) {
        return -1;
    }
    (void)unlinkat(folder, FRESH, 0); /* of a process that was killed here */
    int bad = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4) != 0 ||
              renameat(folder, FRESH, folder, HANDOVER_NAME) != 0;
    if (bad) {
        err_set(err, "%s/%s: cannot listen there: %s", dir, HANDOVER_NAME, strerror(errno));
    }
    close(folder);
    return bad ? -1 : 0;
}

static void on_watch(struct mail *mail) {
    struct handover *h = (struct handover *)((char *)mail - offsetof(struct handover, watch_mail));
    if (event_add(&h->acceptable, NULL) != 0) {
        log_error(log_of(h), "out of memory: nobody can take over");
    }
}

void handover_init(struct handover *h) {
    *h = (struct handover){.listen_fd = -1, .peer_fd = -1, .watch_mail.deliver = on_watch};
    pthread_mutex_init(&h->lock, NULL);
}

int handover_open(struct handover *h, const char *state_dir, const struct handover_env *env,
                  struct err *err) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(err, "no Unix socket: %s", strerror(errno));
    }
    if (bind_in(state_dir, fd, err) != 0) {
        close(fd);
        return -1;
    }
    h->env = *env;
    event_assign(&h->acceptable, env->control->base, fd, EV_READ | EV_PERSIST, on_acceptable, h);
    h->listen_fd = fd;
    mailbox_post(&env->control->mailbox, &h->watch_mail);
    return 0;
}

bool handover_forbid(struct handover *h) {
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    bool replaced = h->replaced;
    pthread_mutex_unlock(&h->lock);
    return replaced;
}

void handover_release(struct handover *h) {
    hang_up(h);
    if (h->listen_fd >= 0) {
        event_del(&h->acceptable);
        close(h->listen_fd);
        h->listen_fd = -1;
    }
    pthread_mutex_destroy(&h->lock);
}
