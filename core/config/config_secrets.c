/* SPDX-License-Identifier: MIT */
/*
 * What must never be shown: gathered from a tree once, and masked in whatever is about to be shown.
 */
#include <stdlib.h>

#include "base/limits.h"
#include "config/config_load.h"

enum { MIN_MASKED = 6 }; /* shorter ones stand in many words */

/* ---- Gathering ---- */

/* The NULL-terminated list of what must never be shown. */
struct secrets {
    char **list;
    size_t n, cap;
};

static int add_text(struct secrets *s, struct str text) {
    if (text.n == 0) {
        return 0;
    }
    if (s->n + 1 >= s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        char **list = realloc(s->list, cap * sizeof(*list));
        if (!list) {
            return -1;
        }
        s->list = list;
        s->cap = cap;
    }
    s->list[s->n] = str_dup(text);
    if (!s->list[s->n]) {
        return -1;
    }
    s->list[++s->n] = NULL;
    return 0;
}

/* Also as JSON may write it: with its slashes escaped. */
static int add_secret(struct secrets *s, struct str text) {
    struct buf escaped;
    int rc = add_text(s, text);
    if (rc || !text.n || !memchr(text.p, '/', text.n)) {
        return rc;
    }
    buf_init(&escaped, text.n * 2);
    for (size_t i = 0; i < text.n && !rc; i++) {
        rc = buf_adds(&escaped, text.p[i] == '/' ? "\\" : "");
        rc = rc ? rc : buf_addc(&escaped, text.p[i]);
    }
    rc = rc ? rc : add_text(s, buf_str(&escaped));
    buf_release(&escaped);
    return rc;
}

/* A header such as "authorization = Bearer abc" carries a secret in its last word. */
static int add_header_secrets(struct secrets *s, const struct value *headers) {
    static const char *const words[] = {"auth",   "key",      "token", "secret",
                                        "cookie", "password", NULL};
    for (size_t i = 0; headers->type == VALUE_TABLE && i < headers->as.t.n_fields; i++) {
        const struct value_field *h = &headers->as.t.fields[i];
        struct str text = value_str(&h->value);
        for (size_t w = 0; words[w]; w++) {
            if (!str_case_has(str_of(h->name), words[w])) {
                continue;
            }
            const char *space = text.n ? memrchr(text.p, ' ', text.n) : NULL;
            struct str last =
                space ? str_make(space + 1, text.n - (size_t)(space + 1 - text.p)) : text;
            if (add_secret(s, last)) {
                return -1;
            }
            break;
        }
    }
    return 0;
}

/* "%2F" is a byte of a password as libcurl sends it. */
static int add_decoded(struct secrets *s, struct str text) {
    struct buf plain;
    int rc = 0;
    buf_init(&plain, text.n);
    for (size_t i = 0; i < text.n && !rc; i++) {
        int escaped = percent_byte(text, i);
        rc = buf_addc(&plain, escaped < 0 ? text.p[i] : (char)escaped);
        i += escaped < 0 ? 0 : 2;
    }
    rc = rc || str_eq(text, buf_str(&plain)) ? rc : add_secret(s, buf_str(&plain));
    buf_release(&plain);
    return rc;
}

/* The password in "http://user:password@host:port". */
static int add_proxy_secret(struct secrets *s, const char *proxy) {
    struct str text = str_of(proxy);
    const char *at = text.n ? memrchr(text.p, '@', text.n) : NULL;
    const char *colon = at ? memchr(text.p + 7, ':', (size_t)(at - text.p - 7)) : NULL;
    if (!colon) {
        return 0;
    }
    struct str password = str_make(colon + 1, (size_t)(at - colon - 1));
    return add_secret(s, password) || add_decoded(s, password) ? -1 : 0;
}

static int add_aws_secrets(struct secrets *s, const struct config_aws *aws) {
    return add_secret(s, str_of(aws->access_key)) || add_secret(s, str_of(aws->secret_key)) ||
                   add_secret(s, str_of(aws->session_token))
               ? -1
               : 0;
}

static int add_provider_secrets(struct secrets *s, const struct config_provider *p) {
    for (size_t i = 0; i < p->n_api_keys; i++) {
        if (add_secret(s, str_of(p->api_keys[i].secret))) {
            return -1;
        }
    }
    return add_secret(s, str_of(p->api_key)) || add_header_secrets(s, &p->headers) ||
                   add_proxy_secret(s, p->proxy) || add_aws_secrets(s, &p->aws)
               ? -1
               : 0;
}

static int gather_secrets(struct secrets *s, const struct config *c, const struct value *keys) {
    for (size_t i = 0; i < c->n_providers; i++) {
        if (add_provider_secrets(s, &c->providers[i])) {
            return -1;
        }
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        if (add_secret(s, value_str(value_field(&keys->as.t.items[i], "secret")))) {
            return -1;
        }
    }
    return add_secret(s, str_of(c->admin_token)) || add_secret(s, str_of(c->admin_read_token)) ? -1
                                                                                               : 0;
}

int config_secrets(struct config *c, const struct value *root) {
    struct secrets s = {0};
    int rc = gather_secrets(&s, c, value_field(root, "keys"));
    c->secrets = s.list ? s.list : calloc(1, sizeof(*c->secrets));
    return c->secrets ? rc : -1;
}

/* ---- Masking ---- */

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
