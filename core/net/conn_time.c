/* SPDX-License-Identifier: MIT */
/*
 * The deadlines of a connection. There is one timer, set no later than the next deadline and looked
 * at again when it fires: most deadlines are overtaken by events, and moving a timer on each of
 * them would cost more than an early wake-up now and then.
 */
#include "net/conn_internal.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define WATCH_PERIOD 200000 /* looks for errors on a socket that the loop does not watch */
#define RESET_PERIOD 20000  /* looks whether the peer has everything before a RST */

static usec after(usec since, usec limit) {
    return limit > 0 ? since + limit : USEC_NEVER;
}

static usec sooner(usec a, usec b) {
    return a < b ? a : b;
}

static usec stall_deadline(const struct conn *c) {
    if (!c->blocked) {
        return USEC_NEVER;
    }
    if (c->limits->write_time <= 0 && c->state >= CONN_CLOSING) {
        return c->stall_since + CONN_CLOSE_TIME;
    }
    return after(c->stall_since, c->limits->write_time);
}

static usec head_deadline(const struct conn *c) {
    if (c->head_started || c->shaking) {
        return after(c->phase_since, c->limits->header_time);
    }
    usec idle = after(c->phase_since, c->limits->idle_time);
    return c->draining ? sooner(idle, c->drain_until) : idle;
}

/* When the body must be whole, or when what has come would be too little. */
static usec body_deadline(const struct conn *c) {
    usec earned = (usec)(c->req->wire_bytes / CONN_BODY_RATE) * USEC_PER_SEC;
    return sooner(after(c->phase_since, c->limits->body_time),
                  c->phase_since + CONN_BODY_GRACE + earned);
}

static usec state_deadline(const struct conn *c) {
    switch (c->state) {
    case CONN_READ_HEAD:
        return head_deadline(c);
    case CONN_READ_BODY:
        return body_deadline(c);
    case CONN_ANSWERING:
    case CONN_ANSWERED:
        return c->reading || c->eof ? USEC_NEVER : clock_now() + WATCH_PERIOD;
    case CONN_LINGERING:
        return c->reset ? clock_now() + RESET_PERIOD : c->phase_since + CONN_LINGER_TIME;
    default:
        return USEC_NEVER;
    }
}

void conn_set_timer(struct conn *c) {
    usec deadline = c->fed ? USEC_NEVER : sooner(state_deadline(c), stall_deadline(c));
    if (deadline >= c->timer_at) {
        return;
    }
    struct timeval tv = usec_to_timeval(deadline - clock_now());
    if (event_add(&c->timer, &tv) == 0) {
        c->timer_at = deadline;
    }
}

static void look_for_errors(struct conn *c) {
    struct pollfd p = {.fd = c->fd};
    if (!c->reading && poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP))) {
        conn_lost(c);
    }
}

/* The bytes must be with the peer's kernel before the RST, which throws away what is still on the
 * way. */
static void reset_when_sent(struct conn *c, usec now) {
    int unsent = 0;
    if (ioctl(c->fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 &&
        now < c->phase_since + CONN_LINGER_TIME) {
        return;
    }
    conn_shut(c);
}

/* What has come meanwhile is served: this thread may be behind, not the client. */
static void end_idle(struct conn *c) {
    conn_on_readable(c->fd, EV_READ, c);
    if (!c->dead && c->state == CONN_READ_HEAD && !c->head_started) {
        conn_shut(c);
    }
}

static void check_state(struct conn *c, usec now) {
    switch (c->state) {
    case CONN_READ_HEAD:
        if (now >= head_deadline(c) && c->shaking) {
            conn_shake_late(c);
        } else if (now >= head_deadline(c) && c->head_started) {
            conn_refuse(c, 408, "the request head did not arrive in time");
        } else if (now >= head_deadline(c)) {
            end_idle(c);
        }
        break;
    case CONN_READ_BODY:
        if (now >= body_deadline(c)) {
            conn_refuse(c, 408, "the request body did not arrive in time");
        }
        break;
    case CONN_ANSWERING:
    case CONN_ANSWERED:
        look_for_errors(c);
        break;
    case CONN_LINGERING:
        if (c->reset) {
            reset_when_sent(c, now);
        } else if (now >= state_deadline(c)) {
            conn_shut(c);
        }
        break;
    default:
        break;
    }
}

void conn_on_timer(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    (void)fd;
    (void)what;
    usec now = clock_now();
    c->timer_at = USEC_NEVER;
    conn_enter(c);
    if (now >= stall_deadline(c)) {
        conn_lost(c);
    } else {
        check_state(c, now);
    }
    conn_leave(c);
}
