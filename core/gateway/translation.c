/* SPDX-License-Identifier: MIT */
#include "gateway/translation.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/exchange.h"

#define SEAL "\"moongate" /* as a sealed signature stands in a body, its quote included */
#define SEAL_TAG 4        /* bytes behind it that name its maker */

struct translation {
    struct translate *translate; /* NULL until the request is translated */
    bool strict, answered;
    bool counted;         /* the stream's result */
    struct buf path;      /* of the provider's that it goes to, with its query */
    struct buf request;   /* what is sent, before the policy's edits */
    struct buf edit_text; /* what the edits borrow */
    struct jedit *edits;  /* owned, as many as MAX_SET_FIELDS at most */
    size_t n_edits;
    struct buf out; /* events to the client, of this turn */
};

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Does the body hold a text that begins like a seal? One that only looks so costs a translation
 * into its own dialect, nothing else. */
static bool has_seal(struct str body) {
    const char *at = body.p, *end = body.p + body.n;
    size_t n = sizeof(SEAL) - 1;
    while (at && (at = memmem(at, (size_t)(end - at), SEAL, n))) {
        size_t i = 0;
        at += n;
        while (i < SEAL_TAG && at + i < end && is_letter(at[i])) {
            i++;
        }
        if (i == SEAL_TAG) {
            return true;
        }
    }
    return false;
}

/* Seals are made where dialects meet: with one dialect nobody looks for them. */
static bool dialects_meet(const struct config *c) {
    for (size_t i = 1; i < c->n_providers; i++) {
        if (strcmp(c->providers[i].dialect, c->providers[0].dialect) != 0) {
            return true;
        }
    }
    return false;
}

static bool is_sealed(struct exchange *x) {
    if (x->seal == SEAL_UNKNOWN) { /* what is no conversation has none, whatever its texts are */
        bool has = x->json && x->asked.generate && dialects_meet(x->config) &&
                   has_seal(buf_str(&x->request->body));
        x->seal = has ? SEAL_THERE : SEAL_NONE;
    }
    return x->seal == SEAL_THERE;
}

/* The policy's edits are only borrowed for the send. */
static int keep_edits(struct translation *t, const struct send_options *o) {
    int bad = 0;
    for (size_t i = 0; i < o->n_edits; i++) {
        bad |= buf_add_str(&t->edit_text, o->edits[i].name);
        bad |= buf_add_str(&t->edit_text, o->edits[i].raw);
    }
    t->edits = calloc(o->n_edits + 1, sizeof(*t->edits));
    if (bad || !t->edits) {
        return -1;
    }
    const char *at = t->edit_text.data;
    for (size_t i = 0; i < o->n_edits; i++) {
        t->edits[i].name = str_make(at, o->edits[i].name.n);
        at += o->edits[i].name.n;
        t->edits[i].raw = str_make(at, o->edits[i].raw.n);
        at += o->edits[i].raw.n;
    }
    t->n_edits = o->n_edits;
    return 0;
}

/* Its place at the provider, or why there is none. */
static int find_path(struct attempt *a, struct buf *path) {
    struct exchange *x = a->x;
    bool both = x->asked.generate && x->json &&
                dialect_generate_path(a->dialect, str_of(a->served_model), x->stream, path) == 0;
    if (!both) {
        a->verdict.outcome = OUTCOME_UNSUPPORTED;
        snprintf(a->verdict.message, sizeof(a->verdict.message),
                 "%s cannot be asked this: a request of %s at this path is not translated to %s",
                 a->name, dialect_name(x->dialect), dialect_name(a->dialect));
        return -1;
    }
    struct str rest = buf_str(path);
    str_split(&rest, '?', &a->path);
    return 0;
}

static void init(struct attempt *a, struct translation *t) {
    buf_init(&t->path, KIB(4));
    buf_init(&t->request, a->x->request->body.len * 2 + MIB(1));
    buf_share(&t->request, &a->worker->gateway->memory, POOL_WORK);
    buf_init(&t->edit_text, MAX_SPLICE_BYTES);
    buf_init(&t->out, MAX_TRANSLATED_EVENT);
    buf_share(&t->out, &a->worker->gateway->memory, POOL_OUTPUT);
}

int translation_plan(struct attempt *a, const struct send_options *o, struct err *err) {
    if (!a->foreign && !is_sealed(a->x)) {
        return 0;
    }
    struct translation *t = calloc(1, sizeof(*t));
    if (!t) {
        return err_set(err, "out of memory for a translation");
    }
    a->translation = t;
    count_add(a->worker->n_translations, 1);
    init(a, t);
    t->strict = o->strict;
    if (a->foreign && find_path(a, &t->path) != 0) {
        translation_free(a); /* the attempt is reported as soon as it is made */
        return 0;
    }
    return keep_edits(t, o) ? err_set(err, "out of memory for a translation") : 0;
}

/* Bytes that pass untouched are of the client's dialect, whatever else the provider speaks. */
static const char *provider_name(const struct attempt *a) {
    return dialect_name(a->foreign ? a->dialect : a->x->dialect);
}

static void count(const struct attempt *a, const char *what, enum translate_result result) {
    static const char *const RESULTS[] = {[TRANSLATE_OK] = "ok",
                                          [TRANSLATE_REFUSED] = "refused",
                                          [TRANSLATE_LIMIT] = "limit",
                                          [TRANSLATE_FAILED] = "failed"};
    bool request = strcmp(what, "request") == 0;
    const char *client = dialect_name(a->x->dialect), *provider = provider_name(a);
    struct buf *labels = metrics_labels(a->worker->metrics);
    metrics_label(labels, "from", str_of(request ? client : provider));
    metrics_label(labels, "to", str_of(request ? provider : client));
    metrics_label(labels, "what", str_of(what));
    metrics_label(labels, "result", str_of(RESULTS[result]));
    metrics_add(a->worker->metrics, METRIC_TRANSLATIONS, labels->data, 1);
}

static void count_stream(struct attempt *a, enum translate_result result) {
    if (!a->translation->counted) {
        a->translation->counted = true;
        count(a, "stream", result);
    }
}

void translation_free(struct attempt *a) {
    struct translation *t = a->translation;
    if (!t) {
        return;
    }
    a->translation = NULL;
    count_add(a->worker->n_translations, -1);
    translate_free(t->translate);
    a->path = str_make(NULL, 0);
    buf_release(&t->path);
    buf_release(&t->request);
    buf_release(&t->edit_text);
    buf_release(&t->out);
    free(t->edits);
    free(t);
}

void translation_settle(struct attempt *a) {
    enum outcome o = a->verdict.outcome;
    if (!a->translation) {
        return;
    }
    jpieces_release(&a->body);
    buf_release(&a->translation->request);
    if (o != OUTCOME_OK && o != OUTCOME_CONTENT_FILTERED) {
        translation_free(a);
    }
}

struct str translation_path(const struct attempt *a) {
    return buf_str(&a->translation->path);
}

static struct translate *begin(const struct attempt *a) {
    const struct exchange *x = a->x;
    struct translate_order order = {
        .client = str_of(dialect_name(x->dialect)),
        .provider = str_of(provider_name(a)),
        .model = str_of(a->served_model ? a->served_model : ""),
        .id = str_of(x->id),
        .now = clock_wall() / USEC_PER_SEC,
        .stream = x->stream,
        .list = x->asked.stream && !x->stream,
        .strict = a->translation->strict,
    };
    return translate_new(x->lane, &order);
}

int translation_request(struct attempt *a, struct err *err) {
    struct translation *t = a->translation;
    struct exchange *x = a->x;
    t->translate = begin(a);
    if (!t->translate) {
        return err_set(err, "the gateway has no memory to translate the request");
    }
    struct err why;
    enum translate_result result =
        translate_request(t->translate, buf_str(&x->request->body), &t->request, &why);
    if (translate_dropped(t->translate)[0]) {
        a->dropped = str_dup(str_of(translate_dropped(t->translate)));
    }
    count(a, "request", result);
    if (result == TRANSLATE_REFUSED) {
        return err_set(err, "%s cannot be asked this: %s", a->name, why.text);
    }
    if (result != TRANSLATE_OK) {
        return err_set(err, "the request could not be translated for %s", a->name);
    }
    if (jsplice(buf_str(&t->request), t->edits, t->n_edits, &a->body) != 0) {
        return err_set(err, "the gateway has no memory to translate the request");
    }
    if (!a->foreign) { /* its answer is the client's as it comes */
        translate_free(t->translate);
        t->translate = NULL;
    }
    return 0;
}

static enum gate_result fail(struct attempt *a, const char *message) {
    a->verdict.outcome = OUTCOME_INVALID_RESPONSE;
    a->verdict.status = a->status;
    str_copy(a->verdict.message, sizeof(a->verdict.message), str_of(message));
    return GATE_FAILED;
}

static bool translate_held(struct attempt *a) {
    struct translation *t = a->translation;
    struct buf out;
    struct err err;
    buf_init(&out, a->held.max);
    buf_share(&out, &a->worker->gateway->memory, POOL_WORK);
    enum translate_result result = translate_answer(t->translate, buf_str(&a->held), &out, &err);
    count(a, "answer", result);
    if (result != TRANSLATE_OK) {
        buf_release(&out);
        return false;
    }
    buf_release(&a->held);
    a->held = out;
    t->answered = true;
    translate_free(t->translate); /* there is nothing left to translate */
    t->translate = NULL;
    return true;
}

enum gate_result translation_judge(struct attempt *a, enum gate_result result) {
    bool success = a->status >= 200 && a->status < 300;
    bool good = result == GATE_GOOD;
    bool filtered = result == GATE_FAILED && a->verdict.outcome == OUTCOME_CONTENT_FILTERED;
    if (!a->foreign || !success || !(good || filtered)) {
        return result;
    }
    if (a->event_stream || a->x->stream) {
        bool same = a->event_stream == a->x->stream;
        return same || !good ? result
                             : fail(a, a->event_stream ? "a stream, where none was asked for"
                                                       : "no stream, where one was asked for");
    }
    if (translate_held(a) || !good) {
        return result;
    }
    return fail(a, "the answer could not be translated");
}

bool translation_done(const struct attempt *a) {
    return a->translation && a->translation->answered;
}

enum translate_result translation_event(struct attempt *a, const struct sse_event *event) {
    struct translation *t = a->translation;
    struct err err;
    if (!event->has_data || str_is(event->data, "[DONE]")) {
        return TRANSLATE_OK;
    }
    enum translate_result result =
        translate_event(t->translate, event->type, event->data, &t->out, &err);
    if (result != TRANSLATE_OK) {
        count_stream(a, result);
    }
    return result;
}

enum translate_result translation_finish(struct attempt *a) {
    struct err err;
    enum translate_result result =
        translate_finish(a->translation->translate, &a->translation->out, &err);
    count_stream(a, result);
    return result;
}

void translation_send(struct attempt *a) {
    struct buf *out = &a->translation->out;
    conn_body(a->x->conn, out->data, out->len);
    buf_reuse(out, KIB(16));
}
