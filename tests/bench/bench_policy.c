/* SPDX-License-Identifier: MIT */
/*
 * What the stock policy costs per request when its first target answers: the same attempt made by C
 * alone and by the policy, over a transport that answers at once; the difference is the decision.
 * Prints microseconds of CPU per request as "policy_us VALUE".
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "bind/bind.h"
#include "gateway/exchange_internal.h"
#include "gateway/reload.h"

#define ROUNDS 7
#define REQUESTS 20000

/* A transport that remembers one transfer; the bench plays its answer. */
struct stub {
    struct transport base;
    struct transfer_events events;
    void *ctx;
};

static struct transfer *stub_start(struct transport *t, const struct transfer_request *r,
                                   const struct transfer_events *events, void *ctx) {
    struct stub *stub = (struct stub *)t;
    (void)r;
    stub->events = *events;
    stub->ctx = ctx;
    return (struct transfer *)stub;
}

static void stub_none(struct transfer *t) {
    (void)t;
}

static enum transfer_sent stub_sent(const struct transfer *t) {
    (void)t;
    return SENT_ALL;
}

static void stub_free(struct transport *t) {
    (void)t;
}

static void stub_stats(const struct transport *t, struct transport_stats *out) {
    (void)t;
    *out = (struct transport_stats){0, 0, 0};
}

static const struct transport_ops STUB = {stub_start, stub_none,  stub_none, stub_none,
                                          stub_sent,  stub_stats, stub_free};

static void play(struct stub *stub, const struct headers *head, struct str body) {
    struct transfer_result ok = {.outcome = OUTCOME_OK, .sent = SENT_ALL};
    stub->events.connected(stub->ctx, true);
    stub->events.head(stub->ctx, 200, head);
    stub->events.data(stub->ctx, body.p, body.n);
    stub->events.done(stub->ctx, &ok);
}

static struct http_request *request(void) {
    static const char body[] =
        "{\"model\":\"gpt\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    struct http_request *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->raw = strdup("POST /v1/chat/completions");
    r->method = str_make(r->raw, 4);
    r->target = r->path = str_of(r->raw + 5);
    headers_init(&r->headers, MAX_HEADERS, MAX_HEADER_BYTES);
    buf_init(&r->body, MIB(1));
    if (headers_add(&r->headers, STR("content-type"), STR("application/json")) |
        buf_adds(&r->body, body)) {
        abort();
    }
    r->started = r->received = clock_now();
    return r;
}

static struct exchange *exchange(struct worker *w) {
    struct exchange *x = exchange_new(
        w, (struct conn *)w, request()); /* never written to: the bench stops before an answer */
    struct generation *g = worker_generation(w);
    if (!x) {
        abort();
    }
    x->route = &generation_config(g)->routes[0];
    x->lane = generation_lane(g, 0);
    x->json = true;
    x->model = strdup("gpt");
    return x;
}

static void by_policy(struct worker *w, struct stub *stub, const struct headers *head,
                      struct str body) {
    struct exchange *x = exchange(w);
    struct err err;
    x->run = run_new(x->lane, &bind_bindings.handle, x);
    if (run_step(x->run, &err) != RUN_WAITING) {
        fprintf(stderr, "the policy did not wait: %s\n", err.text);
        exit(1);
    }
    play(stub, head, body);
    if (run_step(x->run, &err) != RUN_DONE) {
        fprintf(stderr, "the policy did not end: %s\n", err.text);
        exit(1);
    }
    x->conn = NULL;
    exchange_finish(x, END_COMPLETE);
}

static void by_c(struct worker *w, struct stub *stub, const struct headers *head, struct str body) {
    struct exchange *x = exchange(w);
    struct send_options o = {
        .target = STR("p/gpt-4o"), .total = 60 * USEC_PER_SEC, .idle = 30 * USEC_PER_SEC};
    struct err err;
    if (!exchange_send(x, &o, &err)) {
        exit(1);
    }
    play(stub, head, body);
    x->conn = NULL;
    exchange_finish(x, END_COMPLETE);
}

static double
measure(void (*one)(struct worker *, struct stub *, const struct headers *, struct str),
        struct worker *w, struct stub *stub, const struct headers *head, struct str body) {
    usec from = clock_thread_cpu();
    for (int i = 0; i < REQUESTS; i++) {
        one(w, stub, head, body);
    }
    return (double)(clock_thread_cpu() - from) / REQUESTS;
}

static int compare(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

int main(int argc, char **argv) {
    static struct gateway g;
    static struct worker w;
    static struct loader loader;
    const char *const library[] = {argc > 2 ? argv[2] : ".", NULL};
    struct bind_host host = {.gateway = &g};
    struct diags diags;
    struct err err;
    struct stub stub = {.base = {&STUB}};
    struct headers head;
    struct str body = STR(
        "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{"
        "\"role\":\"assistant\",\"content\":\"hi\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}");
    double with[ROUNDS], without[ROUNDS];
    g.bindings = &bind_bindings;
    g.env = (struct policy_env){.modules = bind_modules, .host = &host, .log = &g.log};
    diags_init(&diags);
    if (argc < 2 || state_init(&g.state) ||
        loader_init(&loader, &g, argv[1], library)) {
        fprintf(stderr, "usage: bench_policy GATEWAY.LUA [LIBRARY]\n");
        return 2;
    }
    struct generation *first = loader_stage(&loader, 1, &diags);
    if (!first || worker_init(&w, &g, 0, NULL, NULL, &err) != 0) {
        fprintf(stderr, "bench_policy: %s\n", diags.n ? diags.list[0].message : err.text);
        return 1;
    }
    loader_publish_first(&loader, first);
    w.transport->ops->free(w.transport);
    w.transport = &stub.base;
    headers_init(&head, 8, KIB(1));
    if (headers_add(&head, STR("content-type"), STR("application/json"))) {
        return 1;
    }
    for (int i = 0; i < ROUNDS; i++) {
        without[i] = measure(by_c, &w, &stub, &head, body);
        with[i] = measure(by_policy, &w, &stub, &head, body);
        with[i] -= without[i];
    }
    qsort(with, ROUNDS, sizeof(*with), compare);
    qsort(without, ROUNDS, sizeof(*without), compare);
    printf("policy_us %.2f\npolicy_us_min %.2f\npolicy_us_max %.2f\nattempt_us %.2f\n",
           with[ROUNDS / 2], with[0], with[ROUNDS - 1], without[ROUNDS / 2]);
    return 0;
}
