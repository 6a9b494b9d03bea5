/* SPDX-License-Identifier: MIT */
#include "gateway/accesslog.h"

#include <stdio.h>

#include "gateway/exchange_internal.h"

#define MAX_LINE KIB(16)

static const char *const END_NAMES[] = {[END_COMPLETE] = "complete",
                                        [END_UPSTREAM_CUT] = "upstream_cut",
                                        [END_CLIENT_GONE] = "client_gone",
                                        [END_LIMIT] = "limit",
                                        [END_REFUSED] = "refused"};

static const char *end_name(enum exchange_end end) {
    return END_NAMES[end];
}

/* A field of a JSON line. Text that does not fit the line is dropped whole, the line stays JSON. */
static int field(struct buf *line, const char *name, struct str value) {
    int bad =
        buf_adds(line, line->len > 1 ? ",\"" : "\"") | buf_adds(line, name) | buf_adds(line, "\":");
    return bad | (value.p ? json_write_string(line, value) : buf_adds(line, "null"));
}

static int number(struct buf *line, const char *name, double value) {
    int bad = buf_adds(line, ",\"") | buf_adds(line, name) | buf_adds(line, "\":");
    if (value < 0) {
        return bad | buf_adds(line, "null");
    }
    if (value < 1e9 && value == (int)value) { /* most are whole: several times as fast */
        return bad | buf_addn(line, (unsigned)value);
    }
    return bad | buf_addf(line, "%.10g", value);
}

static double ms(usec from, usec to) {
    return from && to >= from ? (double)(to - from) / 1000.0 : -1;
}

/* Why there was no answer at all ("certificate verify failed …"), in the transport's words: nothing
 * of a prompt or an answer is in it. One of no bytes where there is no more to tell. */
static struct str no_answer_reason(const struct attempt *a) {
    switch (a->gate_outcome) {
    case OUTCOME_CONNECT_ERROR:
    case OUTCOME_TLS_ERROR:
    case OUTCOME_DNS_ERROR:
    case OUTCOME_STALE_CONNECTION:
    case OUTCOME_INVALID_RESPONSE:
    case OUTCOME_EMPTY_RESPONSE:
    case OUTCOME_UNSUPPORTED:
        return str_of(a->status == 0 && a->verdict.outcome == a->gate_outcome ? a->verdict.message
                                                                              : "");
    default:
        return str_of("");
    }
}

/* What a translation left out. Names only: nothing of a prompt. */
static int dropped(struct buf *line, const struct attempt *a) {
    struct str rest = str_of(attempt_dropped(a)), name;
    int bad = buf_adds(line, ",\"dropped\":[");
    for (size_t i = 0; str_split(&rest, ',', &name); i++) {
        bad |= (i ? buf_addc(line, ',') : 0) | json_write_string(line, name);
    }
    return bad | buf_addc(line, ']');
}

static int attempts(struct buf *line, const struct exchange *x) {
    int bad = buf_adds(line, ",\"attempts\":[");
    bool first = true;
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct attempt *a = x->attempts[i];
        if (!a->begun) {
            continue;
        }
        struct buf one;
        buf_init(&one, KIB(4));
        enum outcome o = attempt_outcome(a);
        bad |= buf_addc(&one, '{');
        bad |= field(&one, "target", str_of(a->name));
        bad |= a->api_key ? field(&one, "api_key", str_of(a->api_key->name)) : 0;
        bad |= field(&one, "outcome", str_of(outcome_name(o)));
        bad |= field(&one, "class", str_of(outcome_class(o) ? class_name(outcome_class(o)) : NULL));
        bad |= number(&one, "status", a->status);
        bad |= number(&one, "ms", ms(a->sent_at, a->ended_at));
        struct str reason = no_answer_reason(a);
        bad |= reason.n ? field(&one, "detail", reason) : 0;
        bad |= attempt_dropped(a)[0] ? dropped(&one, a) : 0;
        bad |= buf_addc(&one, '}');
        bad |= first ? 0 : buf_addc(line, ',');
        bad |= buf_add_str(line, buf_str(&one));
        buf_release(&one);
        first = false;
    }
    return bad | buf_addc(line, ']');
}

static int policy_fields(struct buf *line, const struct exchange *x) {
    struct policy_usage used = exchange_usage(x);
    int bad = buf_adds(line, ",\"policy_used\":{\"cpu_us\":");
    bad |= buf_addn(line, used.cpu > 0 ? (unsigned long long)used.cpu : 0);
    bad |= buf_adds(line, ",\"steps\":") | buf_addn(line, used.steps);
    bad |= buf_adds(line, ",\"bytes\":") | buf_addn(line, used.bytes);
    return bad | buf_addc(line, '}');
}

static int usage_fields(struct buf *line, const struct usage *u) {
    struct {
        const char *name;
        long long value;
    } fields[] = {{"input", u->input},
                  {"output", u->output},
                  {"cached", u->cached},
                  {"reasoning", u->reasoning}};
    int bad = buf_adds(line, ",\"usage\":{");
    bool first = true;
    for (size_t i = 0; i < 4; i++) {
        if (fields[i].value >= 0) {
            bad |= buf_adds(line, first ? "\"" : ",\"") | buf_adds(line, fields[i].name);
            bad |= buf_adds(line, "\":") | buf_addn(line, (unsigned long long)fields[i].value);
            first = false;
        }
    }
    return bad | buf_addc(line, '}');
}

static void who(struct buf *line, const struct exchange *x, int *bad) {
    const struct http_request *r = x->request;
    char now[32];
    clock_format(clock_wall(), now, sizeof(now));
    *bad |= field(line, "time", str_of(now));
    *bad |= field(line, "id", str_of(x->id));
    *bad |= field(line, "route", str_of(x->route ? x->route->name : NULL));
    *bad |= field(line, "policy", str_of(x->route ? x->route->policy : NULL));
    *bad |= number(line, "generation", x->generation);
    *bad |= field(line, "key", str_of(x->key ? x->key->name : NULL));
    *bad |= field(line, "environment", str_of(x->key ? x->key->environment : "production"));
    *bad |= field(line, "method", r->method);
    *bad |= field(line, "path", r->path);
    *bad |= field(line, "model", str_of(x->model));
}

/* Where a client that left had been waiting. */
static const struct attempt *last_begun(const struct exchange *x) {
    const struct attempt *last = NULL;
    for (size_t i = 0; i < x->n_attempts; i++) {
        last = x->attempts[i]->begun ? x->attempts[i] : last;
    }
    return last;
}

/* -1: it is longer than a line may be, or memory is short. */
static int write_line(struct buf *line, const struct exchange *x, enum exchange_end end,
                      size_t sent, usec now) {
    const struct http_request *r = x->request;
    const struct attempt *a = x->relayed || end != END_CLIENT_GONE ? x->relayed : last_begun(x);
    int bad = buf_addc(line, '{');
    who(line, x, &bad);
    bad |= field(line, "target", str_of(a ? a->name : NULL));
    bad |= field(line, "served_model", str_of(a ? a->served_model : NULL));
    bad |= buf_adds(line, x->stream ? ",\"stream\":true" : ",\"stream\":false");
    bad |= number(line, "status", x->status);
    bad |= field(line, "end", str_of(end_name(end)));
    bad |= attempts(line, x);
    bad |= x->route ? policy_fields(line, x) : 0;
    bad |= number(line, "queue_ms",
                  a ? ms(a->sent_at, a->admitted_at ? a->admitted_at : a->ended_at) : -1);
    bad |= number(line, "first_token_ms", ms(r->started, x->first_content));
    bad |= number(line, "total_ms", ms(r->started, now));
    bad |= number(line, "request_bytes", (double)r->body.len);
    bad |= number(line, "response_bytes", (double)sent);
    bad |= a && a->usage.seen ? usage_fields(line, &a->usage) : 0;
    return bad | buf_addc(line, '}');
}

/* In place of a line that cannot be written: what identifies it, without asking for memory. */
static void write_short(struct gateway *g, const struct exchange *x, enum exchange_end end) {
    char line[192];
    int n = snprintf(line, sizeof(line),
                     "{\"id\":\"%s\",\"status\":%d,\"end\":\"%s\",\"truncated\":true}", x->id,
                     x->status, end_name(end));
    g->access(g->access_ctx, line, (size_t)n);
}

/* What the request's policy cost, by policy. */
static void count_policy(const struct exchange *x, struct buf *labels) {
    struct policy_usage used = exchange_usage(x);
    struct metrics *m = x->worker->metrics;
    if (used.cpu || used.steps) {
        buf_clear(labels);
        metrics_label(labels, "policy", str_of(x->route->policy));
        metrics_add(m, METRIC_POLICY_CPU, labels->data, usec_to_seconds(used.cpu));
        metrics_add(m, METRIC_POLICY_STEPS, labels->data, (double)used.steps);
    }
}

static void count(const struct exchange *x, enum exchange_end end, usec now) {
    struct metrics *m = x->worker->metrics;
    struct buf *labels = metrics_labels(m);
    char status[] = {(char)('0' + x->status / 100 % 10), (char)('0' + x->status / 10 % 10),
                     (char)('0' + x->status % 10), '\0'};
    if (!x->route && end != END_REFUSED) {
        return; /* the list of models, a HEAD / */
    }
    if (!x->route) {
        metrics_label(labels, "status", str_of(status));
        metrics_add(m, METRIC_REFUSED, labels->data, 1);
        return;
    }
    metrics_label(labels, "route", str_of(x->route->name));
    metrics_label(labels, "status", x->status ? str_of(status) : STR("0"));
    metrics_label(labels, "end", str_of(end_name(end)));
    metrics_add(m, METRIC_REQUESTS, labels->data, 1);
    count_policy(x, labels);
    const struct attempt *a = x->relayed;
    if (a) {
        buf_clear(labels);
        attempt_labels(a, labels);
        metrics_add(m, METRIC_OPERATION, labels->data, usec_to_seconds(now - x->request->started));
        size_t common = labels->len;
        const struct usage *u = &a->usage;
        struct {
            const char *type;
            long long n;
        } tokens[] = {{"input", u->input}, {"output", u->output}};
        for (size_t i = 0; i < 2 && u->seen; i++) {
            buf_truncate(labels, common);
            metrics_label(labels, "gen_ai_token_type", str_of(tokens[i].type));
            metrics_add(m, METRIC_TOKENS, labels->data, tokens[i].n > 0 ? (double)tokens[i].n : 0);
        }
    }
}

void accesslog_write(struct exchange *x, enum exchange_end end) {
    struct gateway *g = x->worker->gateway;
    size_t sent = x->conn && x->answered ? conn_bytes_out(x->conn) : x->bytes_out;
    usec now = clock_now();
    count(x, end, now);
    if (g->ended) {
        g->ended(g->ended_ctx, x, end);
    }
    if (g->access) {
        struct buf line;
        buf_init(&line, MAX_LINE);
        if (write_line(&line, x, end, sent, now) == 0) {
            g->access(g->access_ctx, line.data, line.len);
        } else {
            write_short(g, x, end);
        }
        buf_release(&line);
    }
}

void accesslog_refused(struct worker *w, int status) {
    static const char rest[] =
        "\"route\":null,\"policy\":null,\"generation\":null,\"key\":null,\"environment\":null,"
        "\"method\":null,\"path\":null,\"model\":null,\"target\":null,\"served_model\":null,"
        "\"stream\":false";
    static const char tail[] =
        "\"attempts\":[],\"queue_ms\":null,\"first_token_ms\":null,\"total_ms\":null,"
        "\"request_bytes\":null,\"response_bytes\":null";
    struct gateway *g = w->gateway;
    char line[1024], now[32], labels[32];
    snprintf(labels, sizeof(labels), "status=\"%d\"", status);
    metrics_add(w->metrics, METRIC_REFUSED, labels, 1);
    if (g->access) {
        clock_format(clock_wall(), now, sizeof(now));
        int n = snprintf(
            line, sizeof(line),
            "{\"time\":\"%s\",\"id\":\"mg-%016llx\",%s,\"status\":%d,\"end\":\"refused\",%s}", now,
            (unsigned long long)rng_next(&w->rng), rest, status, tail);
        g->access(g->access_ctx, line, (size_t)n);
    }
}
