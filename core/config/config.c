/* SPDX-License-Identifier: MIT */
/*
 * The life of a configuration: the steps of a load in their order, references, and what readers ask
 * of it. Readers on any thread; nothing in it changes once it is loaded.
 */
#include "config/config.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "config/config_load.h"
#include "net/tls.h"

enum { MIN_MASKED = 6, MAX_TOLD = 1600 };

static void tell(struct load *l, const struct path *at, bool warning, const char *fmt, va_list ap) {
    char text[MAX_TOLD];
    /* The search for the line is not cheap; past the limit nobody would see it. */
    int line = l->diags->n < MAX_DIAGS ? config_line(l->snapshot, at->text) : 0;
    vsnprintf(text, sizeof(text), fmt, ap);
    const char *sep = at->n ? ": " : "";
    if (warning) {
        diags_warn(l->diags, l->file, line, "%s%s%s", at->text, sep, text);
    } else {
        diags_error(l->diags, l->file, line, "%s%s%s", at->text, sep, text);
    }
}

void load_error(struct load *l, const struct path *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(l, at, false, fmt, ap);
    va_end(ap);
}

void load_warn(struct load *l, const struct path *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(l, at, true, fmt, ap);
    va_end(ap);
}

struct config *config_load_all(struct snapshot *snapshot, const struct config_lua *lua,
                               struct diags *diags) {
    struct load l = {snapshot, lua, diags, snapshot_config_path(snapshot)};
    struct config *c = NULL;
    struct value root;
    struct path at;
    if (config_run_file(&l, &root)) {
        return NULL;
    }
    path_init(&at);
    config_check(&l, &config_schema, &root, &at);
    config_rules(&l, &root);
    c = config_build(&l, &root);
    if (!c) {
        diags_error(diags, l.file, 0, "memory is short");
    }
    value_release(&root);
    return c;
}

struct config *config_load(struct snapshot *snapshot, const struct config_lua *lua,
                           struct diags *diags) {
    size_t errors = diags->errors;
    struct config *c = config_load_all(snapshot, lua, diags);
    if (diags->errors != errors) {
        config_unref(c);
        return NULL;
    }
    return c;
}

struct config *config_ref(struct config *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void free_texts(char **list) {
    for (size_t i = 0; list && list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

static void free_secret(char *secret) {
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    free(secret);
}

static void provider_release(struct config_provider *p) {
    free(p->name);
    free(p->dialect);
    free(p->base_url);
    free(p->auth_name);
    free_secret(p->api_key);
    free(p->quota_group);
    free_secret(p->proxy);
    tls_client_unref(p->tls);
    value_release(&p->headers);
    free(p->health.method);
    free(p->health.path);
    free(p->health.body);
    free(p->health.status);
}

static void key_release(struct config_key *k) {
    free(k->name);
    free(k->environment);
    free_texts(k->models);
}

static void route_release(struct config_route *r) {
    free(r->name);
    free(r->path);
    free_texts(r->models);
    free_texts(r->methods);
    free(r->policy);
    free(r->dialect);
    value_release(&r->settings);
    value_release(&r->file_settings);
    value_release(&r->overlay);
}

void config_free(struct config *c) {
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->n_providers; i++) {
        provider_release(&c->providers[i]);
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        key_release(&c->keys[i]);
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        route_release(&c->routes[i]);
    }
    for (size_t i = 0; c->secrets && c->secrets[i]; i++) {
        free_secret(c->secrets[i]);
    }
    free(c->secrets);
    free(c->providers);
    free(c->keys);
    free(c->routes);
    free(c->file);
    free(c->dir);
    free(c->state_dir);
    for (size_t i = 0; c->listen_tls && i < MAX_LISTENERS; i++) {
        tls_server_unref(c->listen_tls[i]);
    }
    free(c->listen_tls);
    tls_server_unref(c->admin_tls);
    free_texts(c->listen);
    free(c->admin_listen);
    free_secret(c->admin_token);
    free_secret(c->admin_read_token);
    free_texts(c->input_files);
    free(c->overlay_file);
    free(c->log.access);
    free(c->log.error);
    free(c);
}

void config_unref(struct config *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        config_free(c);
    }
}

const struct config_provider *config_provider(const struct config *c, struct str name) {
    for (size_t i = 0; i < c->n_providers; i++) {
        if (str_is(name, c->providers[i].name)) {
            return &c->providers[i];
        }
    }
    return NULL;
}

/* Which pairs of bytes some secret begins with: there may be thousands of secrets, and hardly any
 * place where one could begin. */
struct beginnings {
    uint64_t bits[65536 / 64];
};

static unsigned pair_at(const char *p) {
    return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static void find_beginnings(const struct config *c, struct beginnings *b) {
    memset(b, 0, sizeof(*b));
    for (size_t i = 0; c->secrets[i]; i++) {
        if (strlen(c->secrets[i]) >= MIN_MASKED) {
            unsigned pair = pair_at(c->secrets[i]);
            b->bits[pair / 64] |= UINT64_C(1) << (pair % 64);
        }
    }
}

/* The length of the longest secret that stands here, 0 when none does. */
static size_t secret_at(const struct config *c, struct str text) {
    size_t longest = 0;
    for (size_t i = 0; c->secrets[i]; i++) {
        size_t n = strlen(c->secrets[i]);
        if (n >= MIN_MASKED && n > longest && str_starts(text, c->secrets[i])) {
            longest = n;
        }
    }
    return longest;
}

void config_mask(const struct config *c, struct buf *text) {
    struct beginnings begin;
    size_t from = 0;
    size_t to = 0;
    if (text->len < MIN_MASKED || !c->secrets || !c->secrets[0]) {
        return;
    }
    find_beginnings(c, &begin);
    while (from < text->len) {
        unsigned pair = from + 1 < text->len ? pair_at(text->data + from) : 0;
        size_t n = 0;
        if (from + 1 < text->len && begin.bits[pair / 64] >> (pair % 64) & 1) {
            n = secret_at(c, str_make(text->data + from, text->len - from));
        }
        if (n) { /* the mask is shorter than any of them: it fits where it stood */
            memcpy(text->data + to, CONFIG_MASK, strlen(CONFIG_MASK));
            to += strlen(CONFIG_MASK);
            from += n;
        } else {
            text->data[to++] = text->data[from++];
        }
    }
    buf_truncate(text, to);
}

void config_mask_diags(const struct config *c, struct diags *diags) {
    for (size_t i = 0; i < diags->n; i++) {
        char *message = diags->list[i].message;
        struct buf text;
        buf_init(&text, strlen(message) + 1);
        if (buf_adds(&text, message) != BUF_OK) {
            *message = '\0'; /* rather than a secret */
        } else {
            config_mask(c, &text);
            str_copy(message, strlen(message) + 1, buf_str(&text));
        }
        buf_release(&text);
    }
}

static void mask_text(void *ctx, struct buf *text) {
    config_mask(ctx, text);
}

struct json_texts config_masks(const struct config *c) {
    return (struct json_texts){mask_text, (void *)(uintptr_t)c};
}

/* How much of the secret's beginning stands at the end of the text. */
static size_t beginning_at_end(const char *secret, struct str text) {
    size_t n = strlen(secret);
    for (n = n < text.n ? n : text.n; n >= MIN_MASKED; n--) {
        if (memcmp(text.p + text.n - n, secret, n) == 0) {
            return n;
        }
    }
    return 0;
}

void config_mask_cut(const struct config *c, struct buf *text) {
    size_t longest = 0;
    for (size_t i = 0; c->secrets && c->secrets[i]; i++) {
        size_t n = beginning_at_end(c->secrets[i], buf_str(text));
        longest = n > longest ? n : longest;
    }
    buf_truncate(text, text->len - longest);
}
