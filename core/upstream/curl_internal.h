/* SPDX-License-Identifier: MIT */
/*
 * What the files of the transport over libcurl share: curl_transport.c (life), curl_request.c,
 * curl_loop.c (sockets and timers), curl_outcome.c. Nobody else includes this.
 */
#ifndef UPSTREAM_CURL_INTERNAL_H
#define UPSTREAM_CURL_INTERNAL_H

#include <event2/util.h>
#include <sys/queue.h>

#include "upstream/answer.h"
#include "upstream/curl_library.h"
#include "upstream/outgoing.h"
#include "upstream/transport.h"

struct curl_transfer {
    struct transfer base; /* first */
    struct curl_transport *owner;
    CURL *easy;
    TAILQ_ENTRY(curl_transfer) link;     /* in owner->active or owner->spare */
    TAILQ_ENTRY(curl_transfer) deferred; /* in owner->deferred while `want` is not 0 */
    unsigned want;
    struct transfer_events events;
    void *ctx;
    struct outgoing out;
    struct tls_client *tls;  /* referenced while its texts are libcurl's; NULL: none */
    struct curl_slist *list; /* an array, linked; its lines are in `out` */
    struct answer answer;
    bool ready;   /* the connection stood once */
    bool opened;  /* this transfer opened a socket: the connection is not a reused one */
    bool resent;  /* libcurl was about to send again */
    bool paused;  /* the user does not want data now */
    bool held;    /* libcurl holds data back that the write callback refused */
    bool clean;   /* came to a good end: the handle may be used again */
    bool added;   /* in the multi handle */
    bool dropped; /* cancelled or done: no callback any more */
    char error[CURL_ERROR_SIZE];
};

TAILQ_HEAD(transfer_list, curl_transfer);

struct curl_transport {
    struct transport base;
    struct curl_library lib;
    struct event_base *events;
    CURLM *multi;
    struct event *timer; /* what libcurl asked for last */
    struct event *tick;  /* a look each second: 7.88.1 may forget to ask for a timer */
    struct event *kick;  /* settles what was put off outside of libcurl */
    struct transfer_list active, spare, deferred;
    atomic_size_t n_active;
    size_t n_spare;
    size_t idle_max;
    atomic_size_t sockets;
    atomic_ulong opened;
    bool counted; /* among the users of libcurl, which it sets itself up for and counts itself */
    unsigned inside;
};

/* curl_transport.c: does what was put off, and collects what is done. After each call into libcurl.
 */
void curl_settle(struct curl_transport *t);

/* curl_request.c. -1: memory; curl_request_drop is due in either case. */
int curl_request_set(struct curl_transfer *x, const struct transfer_request *r)
    __attribute__((warn_unused_result));
void curl_request_drop(struct curl_transfer *x); /* what libcurl borrowed of the request */

/* curl_loop.c. What libcurl calls, and then what the transport's own events do. */
int curl_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned);
int curl_on_timer(CURLM *multi, long ms, void *arg);
void curl_on_timeout(evutil_socket_t fd, short what, void *arg);
void curl_on_kick(evutil_socket_t fd, short what, void *arg);

/* curl_outcome.c. How a transfer ended that libcurl ended with `code`; how much of it went out. */
enum outcome curl_outcome(const struct curl_transfer *x, CURLcode code);
enum transfer_sent curl_sent(const struct transfer *base);

#endif
