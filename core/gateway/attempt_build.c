/* SPDX-License-Identifier: MIT */
#include "gateway/attempt_build.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/attempt_clock.h"
#include "gateway/attempt_frames.h"
#include "gateway/exchange.h"
#include "gateway/translation.h"
#include "upstream/keys.h"
#include "upstream/outbound.h"

#define HELD_HEADROOM KIB(256) /* what one more read may bring after a pause was asked for */

static usec shorter(usec a, usec b) {
    if (!a || !b) {
        return a ? a : b;
    }
    return a < b ? a : b;
}

static void set_limits(struct attempt *a, const struct send_options *o) {
    const struct config_provider *p = a->provider;
    a->limit.connect = shorter(o->connect, p->connect_timeout);
    a->limit.first_byte = shorter(o->first_byte, p->first_byte_timeout);
    a->limit.first_token = shorter(o->first_token, p->first_packet_timeout);
    a->limit.idle = shorter(o->idle, p->idle_timeout);
    a->limit.total = shorter(o->total, p->request_timeout);
    a->limit.max_time = o->max_seconds;
    a->max_bytes = o->max_bytes;
}

/* Finds provider and model of the target; the names are kept in the attempt. */
static int resolve(struct attempt *a, const struct send_options *o, struct err *err) {
    struct exchange *x = a->x;
    struct target_name target = target_split(o->target);
    a->provider = config_provider(x->config, target.provider);
    if (!a->provider) {
        return err_set(err, "target \"%.*s\": there is no provider \"%.*s\"", (int)o->target.n,
                       o->target.p, (int)target.provider.n, target.provider.p);
    }
    if (target.key.p) {
        return err_set(err, "target \"%.*s\" is a key; name it as api_key beside the target",
                       (int)o->target.n, o->target.p);
    }
    a->dialect = generation_dialect(x->held, str_of(a->provider->dialect));
    a->dialect = a->dialect ? a->dialect : dialect_builtin();
    a->foreign = !config_speaks(a->provider, dialect_name(x->dialect));
    struct str model = o->model.n ? o->model : target.model.p ? target.model : str_of(x->model);
    struct buf name;
    buf_init(&name, MAX_TARGET_NAME);
    int bad = buf_adds(&name, a->provider->name);
    if (model.n) {
        a->served_model = str_dup(model);
        bad |= buf_addc(&name, '/') | buf_add_str(&name, model) | (a->served_model ? 0 : -1);
    }
    a->unnamed = !bad && model.n && model.p == x->model &&
                 !model_names_has(x->worker->gateway->state.names, str_of(a->provider->name),
                                  buf_str(&name));
    a->name = bad ? NULL : buf_take(&name);
    buf_release(&name);
    return a->name ? 0
                   : err_set(err, "target \"%.*s\": the name is too long", (int)o->target.n,
                             o->target.p);
}

/* Which key of the provider's pool is sent, if one is. */
static int choose_key(struct attempt *a, const struct send_options *o, struct err *err) {
    const struct config_provider *p = a->provider;
    const struct config_api_key *named = config_api_key(p, o->api_key);
    if (o->api_key.n && o->key.n) {
        return err_set(err, "send: key and api_key: expected one of the two");
    }
    if (o->api_key.n && !named) {
        return err_set(err, "send: api_key: provider \"%s\" has no key \"%.*s\"", p->name,
                       (int)(o->api_key.n < 100 ? o->api_key.n : 100), o->api_key.p);
    }
    const struct config_api_key *first = keys_first(p, a->worker->gateway->state.targets);
    if (first && !o->key.n) { /* there is a pool, and its keys are sent */
        a->api_key = named ? named : first;
        a->key_named = named != NULL;
    }
    return 0;
}

/* What replaces the provider's api_key; empty when nothing does. */
static struct str secret_of(const struct attempt *a) {
    return str_of(a->api_key ? a->api_key->secret : a->key);
}

/* What only providers of the client's own dialect understand stays behind. */
static int foreign_headers(struct attempt *a) {
    const struct headers *client = &a->x->request->headers;
    struct headers kept;
    int bad = 0;
    headers_init(&kept, MAX_HEADERS, MAX_HEADER_BYTES);
    for (size_t i = 0; i < client->n && !bad; i++) {
        struct header h = headers_at(client, i);
        if (!dialect_drops_header(a->x->dialect, h.name)) {
            bad = headers_add(&kept, h.name, h.value);
        }
    }
    bad = bad ? bad : outbound_headers(a->provider, &kept, secret_of(a), &a->out);
    bad = bad ? bad : headers_set(&a->out, STR("content-type"), STR("application/json"));
    headers_release(&kept);
    return bad;
}

static int build_headers(struct attempt *a, const struct send_options *o) {
    int bad = a->foreign
                  ? foreign_headers(a)
                  : outbound_headers(a->provider, &a->x->request->headers, secret_of(a), &a->out);
    size_t before = 0;
    for (size_t i = 0; i < a->x->n_attempts; i++) {
        before += a->x->attempts[i]->verdict.outcome != OUTCOME_SUSPENDED;
    }
    if (before && !bad) {
        char number[16];
        snprintf(number, sizeof(number), "%zu", before);
        bad = headers_set(&a->out, STR("x-moongate-attempt"), str_of(number));
    }
    for (size_t i = 0; i < o->n_headers && !bad; i++) {
        bad = headers_set(&a->out, o->headers[i].name, o->headers[i].value);
    }
    return bad;
}

/* The client's body, with the model and the policy's fields spliced in where they differ. */
static int splice(struct attempt *a, const struct send_options *o, struct str model) {
    struct exchange *x = a->x;
    struct str original = buf_str(&x->request->body);
    struct jedit edits[MAX_SET_FIELDS + 1];
    size_t n = 0;
    if (!x->json || (!model.n && !o->n_edits)) {
        return jsplice(original, NULL, 0, &a->body);
    }
    if (!o->n_edits && x->model_at.type) {
        return jsplice_value(original, &x->model_at, model, &a->body); /* no second scan */
    }
    if (model.n) {
        edits[n++] = (struct jedit){STR("model"), model};
    }
    for (size_t i = 0; i < o->n_edits; i++) {
        edits[n++] = o->edits[i];
    }
    return jsplice(original, edits, n, &a->body);
}

static int build_body(struct attempt *a, const struct send_options *o) {
    const char *asked = a->x->model;
    bool other = a->served_model && !(asked && strcmp(a->served_model, asked) == 0);
    struct buf model;
    buf_init(&model, MAX_TARGET_NAME * 6);
    other = other && !dialect_model_in_path(a->x->dialect);
    int bad = other ? json_write_string(&model, str_of(a->served_model)) : 0;
    if (!bad && a->x->request->body.len && !a->translation && !a->foreign) {
        bad = splice(a, o, buf_str(&model));
    }
    buf_release(&model);
    return bad;
}

/* Where it goes. One that cannot be translated goes nowhere. */
static int build_url(struct attempt *a) {
    const struct http_request *r = a->x->request;
    if (a->foreign) {
        return a->translation
                   ? outbound_own_url(a->provider, translation_path(a), secret_of(a), &a->url)
                   : 0;
    }
    struct outbound to = {r->path, r->query, secret_of(a), str_of(a->served_model),
                          a->x->asked.model};
    return outbound_url(a->provider, &to, &a->url);
}

struct attempt *attempt_build(struct exchange *x, const struct send_options *o, struct err *err) {
    if (x->n_attempts >= MAX_ATTEMPTS) {
        err_set(err, "a request may make %d attempts, no more", MAX_ATTEMPTS);
        return NULL;
    }
    struct attempt *a = calloc(1, sizeof(*a));
    if (!a) {
        err_set(err, "out of memory for an attempt");
        return NULL;
    }
    a->x = x;
    a->worker = x->worker;
    count_add(x->worker->n_attempts, 1);
    a->sent_at = clock_now();
    a->fresh = o->fresh;
    a->usage = (struct usage){false, -1, -1, -1, -1};
    buf_init(&a->url, KIB(16));
    buf_init(&a->held, MAX_PLAIN_BODY + HELD_HEADROOM);
    buf_share(&a->held, &x->worker->gateway->memory, POOL_WORK);
    headers_init(&a->out, MAX_HEADERS * 2, MAX_HEADER_BYTES * 2);
    headers_init(&a->headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    jpieces_init(&a->body);
    sse_init(&a->sse);
    if (resolve(a, o, err) != 0 || choose_key(a, o, err) != 0) {
        attempt_release(a);
        return NULL;
    }
    if (translation_plan(a, o, err) != 0) {
        attempt_release(a);
        return NULL;
    }
    if (a->foreign) { /* nothing of it leaves before it is whole */
        a->held.max = MAX_TRANSLATED_ANSWER + HELD_HEADROOM;
    }
    set_limits(a, o);
    a->key = o->key.n ? str_dup(o->key) : NULL;
    a->facts = target_get(x->worker->gateway->state.targets, str_of(a->name), attempt_group(a));
    if (a->facts && a->unnamed) {
        target_set_unnamed(a->facts);
    }
    if (!a->facts || (o->key.n && !a->key) || attempt_clock_init(a) != 0 ||
        build_headers(a, o) != 0 || build_body(a, o) != 0 || build_url(a) != 0) {
        err_set(err, "target \"%s\": out of memory, or what is to be sent is too large", a->name);
        attempt_release(a);
        return NULL;
    }
    return a;
}

void attempt_release(struct attempt *a) {
    attempt_clock_release(a);
    target_put(a->facts);
    free(a->name);
    free(a->served_model);
    free(a->key);
    free(a->dropped);
    translation_free(a);
    buf_release(&a->url);
    buf_release(&a->held);
    headers_release(&a->out);
    headers_release(&a->headers);
    jpieces_release(&a->body);
    sse_release(&a->sse);
    attempt_frames_release(a);
    count_add(a->worker->n_attempts, -1);
    free(a);
}

void attempt_error(const struct attempt *a, struct dialect_error *out) {
    const struct verdict *v = &a->verdict;
    *out = (struct dialect_error){.status = v->status,
                                  .outcome = v->means,
                                  .type = "upstream_error",
                                  .code = v->code[0] ? v->code : NULL,
                                  .message = v->message[0] ? v->message
                                                           : "The provider failed without a word."};
}

struct str attempt_group(const struct attempt *a) {
    return str_of(a->provider->quota_group);
}

void attempt_forget_leftover(struct attempt *a) {
    struct attempt **at = &a->worker->leftovers;
    while (*at && *at != a) {
        at = &(*at)->next_leftover;
    }
    if (*at) {
        *at = a->next_leftover;
    }
}
