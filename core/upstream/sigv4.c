/* SPDX-License-Identifier: MIT */
/*
 * See sigv4.h. In AWS's words: a canonical request is hashed into a string to sign, which is signed
 * with a key derived from the secret, the day, the region and the service.
 */
#include "upstream/sigv4.h"

#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/limits.h"
#include "upstream/origin.h"
#include "upstream/outgoing.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

enum { HEX_SIZE = 2 * HASH_SIZE + 1, STAMP_SIZE = sizeof("20261121T124822Z"), DAY_BYTES = 8 };

/* One signature being made. */
struct signing {
    const struct sigv4_key *key;
    char stamp[STAMP_SIZE];
    struct header field[MAX_SIGNED]; /* sorted; slices of the list, and the host */
    size_t n_fields;
    struct buf canonical; /* the request */
    struct buf names;     /* of the signed fields, as Authorization lists them */
    struct buf scope;     /* day/region/service/aws4_request */
};

/* ---- Fields ---- */

static int compare_case(struct str a, struct str b) {
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        int x = a.p[i] >= 'A' && a.p[i] <= 'Z' ? a.p[i] | 0x20 : a.p[i];
        int y = b.p[i] >= 'A' && b.p[i] <= 'Z' ? b.p[i] | 0x20 : b.p[i];
        if (x != y) {
            return x - y;
        }
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Keeps them sorted; fields of one name stay in their order. */
static int add_field(struct signing *s, struct header h) {
    size_t at = s->n_fields;
    if (at == MAX_SIGNED) {
        return -1;
    }
    for (; at > 0 && compare_case(s->field[at - 1].name, h.name) > 0; at--) {
        s->field[at] = s->field[at - 1];
    }
    s->field[at] = h;
    s->n_fields++;
    return 0;
}

static bool is_signed(struct header h) {
    bool aws = h.name.n > 6 && str_case_eq(str_make(h.name.p, 6), STR("x-amz-"));
    return outgoing_field_ok(h) && (aws || str_case_is(h.name, "content-type"));
}

static int choose_fields(struct signing *s, const struct headers *headers, struct str host) {
    int bad = add_field(s, (struct header){STR("host"), host});
    for (size_t i = 0; i < headers->n; i++) {
        struct header h = headers_at(headers, i);
        bad |= is_signed(h) ? add_field(s, h) : 0;
    }
    return bad;
}

static int add_lower(struct buf *out, struct str name) {
    int bad = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bad |= buf_addc(out, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
    return bad;
}

/* Without space at both ends, runs of spaces as one. */
static int add_value(struct buf *out, struct str value) {
    int bad = 0;
    value = str_trim(value);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] != ' ' || value.p[i - 1] != ' ') {
            bad |= buf_addc(out, value.p[i]);
        }
    }
    return bad;
}

/* "name:value\n" of each, values of one name joined by commas. */
static int add_fields(struct signing *s) {
    int bad = 0;
    for (size_t i = 0; i < s->n_fields; i++) {
        struct header h = s->field[i];
        if (i > 0 && str_case_eq(s->field[i - 1].name, h.name)) {
            s->canonical.len -= 1; /* its line goes on */
            bad |= buf_addc(&s->canonical, ',');
        } else {
            bad |= add_lower(&s->canonical, h.name) | buf_addc(&s->canonical, ':');
            bad |= i > 0 ? buf_addc(&s->names, ';') : 0;
            bad |= add_lower(&s->names, h.name);
        }
        bad |= add_value(&s->canonical, h.value) | buf_addc(&s->canonical, '\n');
    }
    return bad;
}

/* ---- Path and query ---- */

/* As it is sent, encoded once more. */
static int add_path(struct buf *out, struct str path) {
    static const char digits[] = "0123456789ABCDEF";
    int bad = path.n == 0 ? buf_addc(out, '/') : 0;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                     (c != '\0' && strchr("-._~/", c));
        char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
        bad |= plain ? buf_addc(out, (char)c) : buf_add(out, escape, 3);
    }
    return bad;
}

static int compare(struct str a, struct str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int compare_parameters(const void *a, const void *b) {
    const struct header *x = a, *y = b;
    int order = compare(x->name, y->name);
    return order ? order : compare(x->value, y->value);
}

/* Sorted by name, then value, each with its '='. */
static int add_query(struct buf *out, struct str query) {
    struct header parameter[MAX_SIGNED];
    struct str one;
    size_t n = 0;
    int bad = 0;
    while (query.n > 0 && str_split(&query, '&', &one)) {
        if (n == MAX_SIGNED) {
            return -1;
        }
        struct header *p = &parameter[n++];
        *p = (struct header){one, {NULL, 0}};
        str_split(&one, '=', &p->name);
        p->value = one;
    }
    qsort(parameter, n, sizeof(*parameter), compare_parameters);
    for (size_t i = 0; i < n; i++) {
        bad |= i > 0 ? buf_addc(out, '&') : 0;
        bad |= buf_add_str(out, parameter[i].name) | buf_addc(out, '=');
        bad |= buf_add_str(out, parameter[i].value);
    }
    return bad;
}

/* ---- The signature ---- */

static int write_canonical(struct signing *s, const struct sigv4_request *r, struct str target) {
    struct buf *out = &s->canonical;
    unsigned char hash[HASH_SIZE];
    char hex[HEX_SIZE];
    struct str path = target;
    str_split(&target, '?', &path);
    int bad = buf_add_str(out, r->method) | buf_addc(out, '\n') | add_path(out, path);
    bad |= buf_addc(out, '\n') | add_query(out, target) | buf_addc(out, '\n') | add_fields(s);
    bad |= buf_addc(out, '\n') | buf_add_str(out, buf_str(&s->names)) | buf_addc(out, '\n');
    hash_sha256_pieces(r->body, r->n_body, hash);
    hash_hex(hash, HASH_SIZE, hex);
    return bad | buf_adds(out, hex);
}

static int write_scope(struct signing *s) {
    struct buf *out = &s->scope;
    int bad = buf_add(out, s->stamp, DAY_BYTES) | buf_addc(out, '/');
    bad |= buf_add_str(out, s->key->region) | buf_addc(out, '/');
    return bad | buf_add_str(out, s->key->service) | buf_adds(out, "/aws4_request");
}

/* The key of the day, from "AWS4" and the secret through the parts of the scope. */
static int derive(const struct signing *s, unsigned char key[HASH_SIZE]) {
    struct str scope = buf_str(&s->scope), part;
    struct buf secret;
    buf_init(&secret, KIB(4));
    int bad = buf_adds(&secret, "AWS4") | buf_add_str(&secret, s->key->secret_key);
    struct str with = buf_str(&secret);
    while (!bad && str_split(&scope, '/', &part)) {
        hash_hmac(with, part, key);
        with = str_make((const char *)key, HASH_SIZE);
    }
    explicit_bzero(secret.data, secret.len);
    buf_release(&secret);
    return bad;
}

static int sign_text(struct signing *s, char signature[HEX_SIZE]) {
    unsigned char hash[HASH_SIZE], key[HASH_SIZE];
    struct buf text;
    hash_sha256(buf_str(&s->canonical), hash);
    hash_hex(hash, HASH_SIZE, signature);
    buf_init(&text, KIB(4));
    int bad = buf_addf(&text, ALGORITHM "\n%s\n%s\n%s", s->stamp, s->scope.data, signature);
    bad = bad ? bad : derive(s, key);
    if (!bad) {
        hash_hmac(str_make((const char *)key, HASH_SIZE), buf_str(&text), hash);
        hash_hex(hash, HASH_SIZE, signature);
    }
    explicit_bzero(key, sizeof(key));
    buf_release(&text);
    return bad;
}

static int authorize(struct signing *s, struct headers *headers) {
    char signature[HEX_SIZE];
    struct buf value;
    buf_init(&value, KIB(4));
    int bad = write_scope(s) | sign_text(s, signature);
    bad |= buf_adds(&value, ALGORITHM " Credential=") | buf_add_str(&value, s->key->access_key);
    bad |= bad ? bad
               : buf_addf(&value, "/%s, SignedHeaders=%s, Signature=%s", s->scope.data,
                          s->names.data, signature);
    bad = bad ? bad : headers_set(headers, STR("Authorization"), buf_str(&value));
    buf_release(&value);
    return bad;
}

static int set_stamp(struct signing *s, usec wall, struct headers *headers) {
    time_t seconds = (time_t)(wall / USEC_PER_SEC);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) ||
        strftime(s->stamp, sizeof(s->stamp), "%Y%m%dT%H%M%SZ", &tm) != STAMP_SIZE - 1) {
        return -1;
    }
    headers_remove(headers, "X-Amz-Security-Token");
    struct str token = s->key->session_token;
    int bad = token.n ? headers_set(headers, STR("X-Amz-Security-Token"), token) : 0;
    return bad | headers_set(headers, STR("X-Amz-Date"), str_of(s->stamp));
}

int sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request, usec wall,
               struct headers *headers) {
    struct signing s = {.key = key};
    struct origin to;
    buf_init(&s.canonical, KIB(256));
    buf_init(&s.names, MAX_HEADER_BYTES);
    buf_init(&s.scope, KIB(1));
    int bad = !origin_parse(request->url, &to) || set_stamp(&s, wall, headers) ||
              choose_fields(&s, headers, to.authority) || write_canonical(&s, request, to.path) ||
              authorize(&s, headers);
    buf_release(&s.canonical);
    buf_release(&s.names);
    buf_release(&s.scope);
    return bad ? -1 : 0;
}
