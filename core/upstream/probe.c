/* SPDX-License-Identifier: MIT */
/*
 * See probe.h. One struct per provider probed: its timer for the next question, its timer for the
 * answer's deadline, and the question under way. A provider's settings are its identity: with any
 * of them changed it is a new one, and starts anew.
 */
#include "upstream/probe.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/limits.h"
#include "net/tls.h"
#include "upstream/keys.h"
#include "upstream/outbound.h"

#define PARKED (365 * 86400) /* seconds */

struct probe {
    struct probes *all;
    struct probe *next;
    struct config *config;                  /* a reference, for `provider` */
    const struct config_provider *provider; /* in config */
    char *body; /* a copy: a question under way outlives its configuration */
    struct event *timer, *deadline;
    struct transfer *transfer; /* NULL between two questions */
    usec asked_at;
    int status; /* of the answer under way, 0 = none yet */
    size_t bytes;
    bool again; /* asked a second time, over a fresh connection */
    int ok_in_row, failed_in_row;
    bool down;
};

struct probes {
    struct event_base *base;
    struct transport *transport;
    struct targets *targets;
    const struct log *log;
    struct rng rng;
    struct probe *list;
    struct probe_stats stats;
};

/* ---- Verdicts ---- */

static bool status_listed(const char *list, int status) {
    struct str rest = str_of(list), part;
    while (str_split(&rest, ',', &part)) {
        unsigned long long n;
        part = str_trim(part);
        if (str_to_u64(part, &n) && n == (unsigned long long)status) {
            return true;
        }
        if (part.n == 3 && str_case_is(str_make(part.p + 1, 2), "xx") &&
            part.p[0] - '0' == status / 100) {
            return true;
        }
    }
    return false;
}

/* A probe's timers are always set, some of them to no time that comes: to move one that is set
 * takes no memory. */
static int park(struct event *timer) {
    static const struct timeval never = {PARKED, 0};
    return event_add(timer, &never);
}

static void schedule(struct probe *p, usec after) {
    struct timeval tv = usec_to_timeval(after);
    if (event_add(p->timer, &tv) != 0) {
        event_active(p->timer, EV_TIMEOUT, 0); /* early, rather than never again */
    }
}

static void schedule_next(struct probe *p) {
    double jitter = 0.9 + 0.2 * rng_unit(&p->all->rng);
    usec interval = (usec)((double)p->provider->health.interval * jitter);
    usec elapsed = clock_now() - p->asked_at;
    schedule(p, elapsed < interval ? interval - elapsed : 0);
}

static void verdict(struct probe *p, bool ok, const char *why) {
    const struct config_health *h = &p->provider->health;
    struct probes *all = p->all;
    p->ok_in_row = ok ? p->ok_in_row + 1 : 0;
    p->failed_in_row = ok ? 0 : p->failed_in_row + 1;
    if (ok) {
        all->stats.ok++;
    } else {
        all->stats.failed++;
        log_debug(all->log, "probe of provider %s failed: %s", p->provider->name, why);
    }
    if (!p->down && p->failed_in_row >= h->down) {
        p->down = true;
        log_warn(all->log, "provider %s is down: %d probes in a row failed, the last with: %s",
                 p->provider->name, p->failed_in_row, why);
    } else if (p->down && p->ok_in_row >= h->up) {
        p->down = false;
        log_info(all->log, "provider %s is up: %d probes in a row succeeded", p->provider->name,
                 p->ok_in_row);
        targets_set_up(all->targets, str_of(p->provider->name), true);
    }
    if (p->down) { /* again each time: memory may have been short for it */
        targets_set_up(all->targets, str_of(p->provider->name), false);
    }
    (void)park(p->deadline);
    schedule_next(p);
}

/* ---- One question ---- */

static int ask(struct probe *p, bool fresh);

static void on_head(void *ctx, int status, const struct headers *headers) {
    struct probe *p = ctx;
    (void)headers;
    p->status = status;
}

/* Nobody wants the body, but reading it keeps the connection. */
static void on_data(void *ctx, const char *data, size_t n) {
    struct probe *p = ctx;
    (void)data;
    p->bytes += n;
    if (p->bytes > MAX_PLAIN_BODY) {
        transfer_cancel(p->transfer);
        p->transfer = NULL;
        verdict(p, status_listed(p->provider->health.status, p->status), "status");
    }
}

static void on_done(void *ctx, const struct transfer_result *result) {
    struct probe *p = ctx;
    char why[64];
    p->transfer = NULL;
    if (result->outcome == OUTCOME_STALE_CONNECTION && !p->again) {
        p->again = true; /* an idle connection closed is no fault */
        if (ask(p, true) == 0) {
            return;
        }
    }
    if (result->outcome != OUTCOME_OK) {
        verdict(p, false, outcome_name(result->outcome));
        return;
    }
    snprintf(why, sizeof why, "status %d", p->status);
    verdict(p, status_listed(p->provider->health.status, p->status), why);
}

static const struct transfer_events probe_events = {
    .head = on_head, .data = on_data, .done = on_done};

/* That of the pool's first key that is not suspended; empty without a pool. */
static struct str pool_secret(const struct probe *p) {
    const struct config_api_key *key = keys_first(p->provider, p->all->targets);
    return str_of(key ? key->secret : NULL);
}

static int add_fields(const struct probe *p, struct str key, struct headers *out) {
    struct headers none;
    headers_init(&none, 1, 1);
    int rc = outbound_headers(p->provider, &none, key, out);
    headers_release(&none);
    struct str unused;
    if (rc == 0 && p->body && !headers_get(out, "Content-Type", &unused)) {
        rc = headers_add(out, STR("Content-Type"), STR("application/json"));
    }
    return rc;
}

static int ask(struct probe *p, bool fresh) {
    struct buf url;
    struct headers fields;
    struct str body = str_of(p->body), key = pool_secret(p);
    p->status = 0;
    p->bytes = 0;
    buf_init(&url, MAX_REQUEST_LINE);
    headers_init(&fields, MAX_HEADERS, MAX_HEADER_BYTES);
    if (add_fields(p, key, &fields) == 0 &&
        outbound_own_url(p->provider, str_of(p->provider->health.path), key, &url) == 0 &&
        outbound_sign(p->provider,
                      &(struct sigv4_request){str_of(p->provider->health.method), url.data, &body,
                                              p->body ? 1 : 0},
                      &fields) == 0) {
        struct transfer_request request = {.method = str_of(p->provider->health.method),
                                           .url = url.data,
                                           .headers = &fields,
                                           .body = &body,
                                           .n_body = p->body ? 1 : 0,
                                           .has_body = p->body != NULL,
                                           .fresh = fresh,
                                           .tls = p->provider->tls,
                                           .proxy = p->provider->proxy,
                                           .libcurl = p->provider->transport == TRANSPORT_LIBCURL};
        p->transfer = transfer_start(p->all->transport, &request, &probe_events, p);
    }
    headers_release(&fields);
    buf_release(&url);
    return p->transfer ? 0 : -1;
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct probe *p = arg;
    struct timeval tv = usec_to_timeval(p->provider->health.timeout);
    (void)fd, (void)what;
    (void)park(p->timer); /* keeps the place that it has just left */
    p->asked_at = clock_now();
    p->again = false;
    if (event_add(p->deadline, &tv) != 0 || ask(p, false) != 0) {
        log_error(p->all->log,
                  "probe of provider %s: cannot be sent (memory, or the address is no URL)",
                  p->provider->name);
        (void)park(p->deadline);
        schedule_next(p); /* our fault, not the provider's */
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg) {
    struct probe *p = arg;
    (void)fd, (void)what;
    (void)park(p->deadline);
    if (p->transfer) {
        transfer_cancel(p->transfer);
        p->transfer = NULL;
        verdict(p, false, "no answer in time");
    }
}

/* ---- The set ---- */

static void probe_free(struct probe *p) {
    if (p->transfer) {
        transfer_cancel(p->transfer);
    }
    if (p->timer) {
        event_free(p->timer);
    }
    if (p->deadline) {
        event_free(p->deadline);
    }
    free(p->body);
    config_unref(p->config);
    free(p);
}

static struct probe *probe_new(struct probes *all, struct config *config,
                               const struct config_provider *provider) {
    struct probe *p = calloc(1, sizeof *p);
    if (!p) {
        return NULL;
    }
    p->all = all;
    p->config = config_ref(config);
    p->provider = provider;
    p->timer = evtimer_new(all->base, on_timer, p);
    p->deadline = evtimer_new(all->base, on_deadline, p);
    p->body = provider->health.body ? str_dup(str_of(provider->health.body)) : NULL;
    if (!p->timer || !p->deadline || park(p->timer) != 0 || park(p->deadline) != 0 ||
        (provider->health.body && !p->body)) {
        probe_free(p);
        return NULL;
    }
    return p;
}

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_headers(const struct value *a, const struct value *b) {
    if (a->type != VALUE_TABLE || b->type != VALUE_TABLE) {
        return a->type == b->type;
    }
    if (a->as.t.n_fields != b->as.t.n_fields) {
        return false;
    }
    for (size_t i = 0; i < a->as.t.n_fields; i++) {
        const struct value_field *x = &a->as.t.fields[i], *y = &b->as.t.fields[i];
        if (strcmp(x->name, y->name) != 0 || !str_eq(value_str(&x->value), value_str(&y->value))) {
            return false;
        }
    }
    return true;
}

static bool same_aws(const struct config_aws *a, const struct config_aws *b) {
    return same_text(a->access_key, b->access_key) && same_text(a->secret_key, b->secret_key) &&
           same_text(a->session_token, b->session_token) && same_text(a->region, b->region) &&
           same_text(a->service, b->service);
}

static bool same_tls(const struct tls_client *a, const struct tls_client *b) {
    return a && b ? tls_client_id(a) == tls_client_id(b) : a == b;
}

static bool same_pool(const struct config_provider *a, const struct config_provider *b) {
    bool same = a->n_api_keys == b->n_api_keys;
    for (size_t i = 0; same && i < a->n_api_keys; i++) {
        same = same_text(a->api_keys[i].name, b->api_keys[i].name) &&
               same_text(a->api_keys[i].secret, b->api_keys[i].secret);
    }
    return same;
}

static bool same(const struct config_provider *a, const struct config_provider *b) {
    const struct config_health *h = &a->health, *i = &b->health;
    return same_text(a->name, b->name) && same_text(a->base_url, b->base_url) &&
           a->auth == b->auth && same_text(a->auth_name, b->auth_name) &&
           same_text(a->api_key, b->api_key) && same_pool(a, b) && same_aws(&a->aws, &b->aws) &&
           same_text(a->proxy, b->proxy) && a->transport == b->transport &&
           same_tls(a->tls, b->tls) && same_headers(&a->headers, &b->headers) &&
           same_headers(&a->fixed_headers, &b->fixed_headers) && same_text(h->method, i->method) &&
           same_text(h->path, i->path) && same_text(h->body, i->body) &&
           same_text(h->status, i->status) && h->interval == i->interval &&
           h->timeout == i->timeout && h->up == i->up && h->down == i->down;
}

static struct probe *take_same(struct probe **list, const struct config_provider *provider) {
    for (struct probe **at = list; *at; at = &(*at)->next) {
        if (same((*at)->provider, provider)) {
            struct probe *p = *at;
            *at = p->next;
            return p;
        }
    }
    return NULL;
}

static void stop_all(struct probe *list) {
    while (list) {
        struct probe *p = list;
        list = p->next;
        if (p->down) {
            targets_set_up(p->all->targets, str_of(p->provider->name), true);
        }
        probe_free(p);
    }
}

struct probes *probes_new(struct event_base *base, struct transport *transport,
                          struct targets *targets, const struct log *log) {
    struct probes *all = calloc(1, sizeof *all);
    if (!all || rng_init(&all->rng) != 0) {
        free(all);
        return NULL;
    }
    all->base = base;
    all->transport = transport;
    all->targets = targets;
    all->log = log;
    return all;
}

void probes_free(struct probes *all) {
    if (all) {
        stop_all(all->list);
        free(all);
    }
}

/* New probes are made before anything is changed, so that a failure leaves all as it was. */
static int make_new(struct probes *all, struct config *config, struct probe **made) {
    for (size_t i = 0; i < config->n_providers; i++) {
        const struct config_provider *provider = &config->providers[i];
        bool known = !provider->health.enabled;
        for (struct probe *p = all->list; p && !known; p = p->next) {
            known = same(p->provider, provider);
        }
        if (known) {
            continue;
        }
        struct probe *p = probe_new(all, config, provider);
        if (!p) {
            return -1;
        }
        p->next = *made;
        *made = p;
    }
    return 0;
}

int probes_configure(struct probes *all, struct config *config) {
    struct probe *made = NULL, *kept = NULL;
    if (make_new(all, config, &made) != 0) {
        stop_all(made);
        return -1;
    }
    for (size_t i = 0; i < config->n_providers; i++) {
        struct probe *p = config->providers[i].health.enabled
                              ? take_same(&all->list, &config->providers[i])
                              : NULL;
        if (p) {
            struct config *old = p->config;
            p->config = config_ref(config);
            p->provider = &config->providers[i];
            config_unref(old);
            p->next = kept;
            kept = p;
        }
    }
    stop_all(all->list); /* before the new ones of the same name begin: it counts them as up */
    all->list = kept;
    while (made) {
        struct probe *p = made;
        made = p->next;
        p->next = all->list;
        all->list = p;
        schedule(p, 0);
    }
    return 0;
}

void probes_pause(struct probes *all) {
    for (struct probe *p = all->list; p; p = p->next) {
        if (p->transfer) {
            transfer_cancel(p->transfer);
            p->transfer = NULL;
        }
        event_del(p->timer);
        event_del(p->deadline);
    }
}

void probes_resume(struct probes *all) {
    for (struct probe *p = all->list; p; p = p->next) {
        schedule(p, 0);
    }
}

void probes_stats(const struct probes *all, struct probe_stats *out) {
    *out = all->stats;
}
