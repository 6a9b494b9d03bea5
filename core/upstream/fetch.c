/* SPDX-License-Identifier: MIT */
/*
 * See fetch.h. `struct fetching` is one call's state: a transfer and the timer that ends its
 * patience. Whichever comes first fills in the outcome and ends the loop.
 */
#include "upstream/fetch.h"

#include <event2/event.h>

#include "base/limits.h"
#include "net/tls.h"
#include "upstream/transport.h"

struct fetching {
    const struct fetch_request *request;
    struct fetch_answer *answer;
    struct err *err;
    struct event_base *base;
    struct transport *transport;
    struct transfer *transfer; /* NULL when nothing is under way */
    struct event *deadline;
    struct tls_client *tls; /* NULL: the transport's */
    bool over;
};

void fetch_answer_init(struct fetch_answer *answer) {
    answer->outcome = OUTCOME_CANCELLED;
    answer->status = 0;
    headers_init(&answer->headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    buf_init(&answer->body, MAX_FETCH_BODY);
}

void fetch_answer_release(struct fetch_answer *answer) {
    headers_release(&answer->headers);
    buf_release(&answer->body);
}

bool fetch_unreachable(const struct fetch_answer *answer) {
    return answer->outcome == OUTCOME_DNS_ERROR || answer->outcome == OUTCOME_CONNECT_ERROR ||
           answer->outcome == OUTCOME_TLS_ERROR || answer->outcome == OUTCOME_TIMEOUT_CONNECT;
}

/* ---- How it ends ---- */

static void end(struct fetching *f, enum outcome outcome) {
    f->answer->outcome = outcome;
    f->over = true;
    event_base_loopbreak(f->base);
}

static void give_up(struct fetching *f, enum outcome outcome) {
    struct transfer *transfer = f->transfer;
    f->transfer = NULL;
    transfer_cancel(transfer);
    end(f, outcome);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg) {
    struct fetching *f = arg;
    (void)fd, (void)what;
    if (f->transfer) {
        err_set(f->err, "no whole answer within %.3g s", usec_to_seconds(f->request->timeout));
        give_up(f, OUTCOME_TIMEOUT_TOTAL);
    }
}

static void on_head(void *ctx, int status, const struct headers *headers) {
    struct fetching *f = ctx;
    f->answer->status = status;
    for (size_t i = 0; i < headers->n; i++) {
        struct header h = headers_at(headers, i);
        if (headers_add(&f->answer->headers, h.name, h.value) != 0) {
            err_set(f->err, "memory is short, or the answer's head is too large");
            give_up(f, OUTCOME_LIMIT_EXCEEDED);
            return;
        }
    }
}

static void on_data(void *ctx, const char *data, size_t n) {
    struct fetching *f = ctx;
    int rc = buf_add(&f->answer->body, data, n);
    if (rc != BUF_OK) {
        err_set(f->err,
                rc == BUF_FULL ? "the answer is longer than %zu bytes"
                               : "memory is short for an answer of up to %zu bytes",
                f->answer->body.max);
        give_up(f, OUTCOME_LIMIT_EXCEEDED);
    }
}

static void on_done(void *ctx, const struct transfer_result *result) {
    struct fetching *f = ctx;
    f->transfer = NULL;
    if (result->outcome != OUTCOME_OK) {
        bool told = result->detail && *result->detail;
        err_set(f->err, "%s", told ? result->detail : outcome_name(result->outcome));
    }
    end(f, result->outcome);
}

/* ---- One call ---- */

static int start(struct fetching *f, const struct headers *headers) {
    static const struct transfer_events events = {
        .head = on_head, .data = on_data, .done = on_done};
    const struct fetch_request *r = f->request;
    struct timeval patience = usec_to_timeval(r->timeout);
    struct transfer_request request = {.method = str_of(r->method),
                                       .url = r->url,
                                       .headers = headers,
                                       .body = &r->body,
                                       .n_body = r->body.n > 0 ? 1 : 0,
                                       .has_body = r->has_body,
                                       .fresh = true,
                                       .tls = f->tls};
    f->deadline = evtimer_new(f->base, on_deadline, f);
    if (!f->deadline || event_add(f->deadline, &patience) != 0) {
        return err_set(f->err, "memory is short");
    }
    f->transfer = transfer_start(f->transport, &request, &events, f);
    return f->transfer ? 0 : err_set(f->err, "memory is short, or the address is no URL");
}

static void turn_until_over(struct fetching *f) {
    while (!f->over) {
        if (event_base_loop(f->base, EVLOOP_ONCE) != 0 && f->transfer) {
            err_set(f->err, "the event loop failed");
            give_up(f, OUTCOME_CANCELLED);
        }
    }
}

static int set_trust(struct fetching *f) {
    struct tls_client_options options = {.ca = f->request->ca, .verify = true};
    if (options.ca.n == 0) {
        return 0;
    }
    f->tls = tls_client_new(&options, f->err);
    return f->tls ? 0 : -1;
}

static int run(struct fetching *f) {
    struct headers none;
    if (set_trust(f) != 0) {
        return -1;
    }
    headers_init(&none, 1, 1);
    f->base = event_base_new();
    f->transport = f->base ? transport_new(f->base, 1, f->err) : NULL;
    if (!f->base) {
        err_set(f->err, "no event loop can be had: memory, or too many open files");
    }
    if (f->transport && start(f, f->request->headers ? f->request->headers : &none) == 0) {
        turn_until_over(f);
    }
    if (f->deadline) {
        event_free(f->deadline);
    }
    if (f->transport) {
        f->transport->ops->free(f->transport);
    }
    if (f->base) {
        event_base_free(f->base);
    }
    headers_release(&none);
    tls_client_unref(f->tls);
    return f->answer->outcome == OUTCOME_OK ? 0 : -1;
}

int fetch(const struct fetch_request *request, struct fetch_answer *answer, struct err *err) {
    struct fetch_request mine = *request;
    struct fetching f = {.request = &mine, .answer = answer, .err = err};
    mine.timeout = mine.timeout > 0 ? mine.timeout : FETCH_TIME;
    fetch_answer_release(answer);
    fetch_answer_init(answer);
    if (mine.max_body > 0) {
        buf_init(&answer->body, mine.max_body);
    }
    return run(&f);
}
