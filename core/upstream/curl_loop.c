/* SPDX-License-Identifier: MIT */
/* libcurl on the event loop: the sockets that it wants watched, and the one timer it asks for. */
#include <event2/event.h>
#include <stdlib.h>

#include "upstream/curl_internal.h"

/* One per socket that libcurl watches; made and freed in on_socket. */
struct watch {
    struct curl_transport *transport;
    struct event *event;
};

static void on_socket_event(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    struct curl_transport *t = w->transport; /* w may be freed meanwhile */
    int running;
    int mask =
        ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);
    t->inside++;
    t->lib.multi_socket_action(t->multi, fd, mask, &running);
    t->inside--;
    curl_settle(t);
}

void curl_on_timeout(evutil_socket_t fd, short what, void *arg) {
    struct curl_transport *t = arg;
    int running;
    (void)fd, (void)what;
    t->inside++;
    t->lib.multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    t->inside--;
    curl_settle(t);
}

void curl_on_kick(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    curl_settle(arg);
}

/* "Returning -1 fails every transfer", and leaves the events of the others behind, which nobody
 * takes away then: never. A transfer whose socket cannot be watched runs into its caller's clock.
 */
int curl_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned) {
    struct curl_transport *t = arg;
    struct watch *w = assigned;
    (void)easy; /* may be none of ours */
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            event_free(w->event);
            free(w);
            t->lib.multi_assign(t->multi, fd, NULL);
        }
        return 0;
    }
    short events = (short)(EV_PERSIST | ((what & CURL_POLL_IN) ? EV_READ : 0) |
                           ((what & CURL_POLL_OUT) ? EV_WRITE : 0));
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w) {
            return 0;
        }
        w->transport = t;
        w->event = event_new(t->events, fd, events, on_socket_event, w);
        if (!w->event) {
            free(w);
            return 0;
        }
        t->lib.multi_assign(t->multi, fd, w);
    } else {
        event_del(w->event);
        event_assign(w->event, t->events, fd, events, on_socket_event, w);
    }
    (void)event_add(w->event, NULL);
    return 0;
}

int curl_on_timer(CURLM *multi, long ms, void *arg) {
    struct curl_transport *t = arg;
    (void)multi;
    if (ms < 0) {
        event_del(t->timer);
        return 0;
    }
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    (void)event_add(t->timer, &tv); /* without it the tick looks, within a second */
    return 0;
}
