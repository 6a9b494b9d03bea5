/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the small texts that clients and providers send: hints how long to wait, dates,
 * queries that become part of a URL, URLs, fields. The first byte of the input chooses which.
 * Reads: upstream/retry_after.c upstream/outbound.c base/clock.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "upstream/dialect.h"
#include "upstream/link.h"
#include "upstream/outbound.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEN_YEARS (10 * 366 * 86400.0)
#define NOW (1700000000 * USEC_PER_SEC)

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* Lines "name: value", as many as a head may have. */
static void read_fields(struct headers *h, struct str text) {
    struct str line, name;
    headers_init(h, MAX_HEADERS, MAX_HEADER_BYTES);
    while (str_split(&text, '\n', &line)) {
        if (str_split(&line, ':', &name) && header_name_ok(name) &&
            header_value_ok(str_trim(line)) && headers_add(h, name, str_trim(line)) != 0) {
            break;
        }
    }
}

static void wait_hint(struct str text) {
    struct headers h;
    read_fields(&h, text);
    double seconds = retry_after_seconds(&h, NOW);
    must(seconds == -1 || (seconds >= 0 && seconds <= TEN_YEARS), "a wait out of all bounds");
    headers_release(&h);
}

/* A date that is one reads the same in the form that Date has. */
static void date(struct str text) {
    char again[64];
    usec at = clock_parse_http_date(text.p, text.n);
    must(at >= -1, "a date before 1970");
    if (at < 0 || at > 253402300799 * USEC_PER_SEC) {
        return;
    }
    clock_format(at, again, sizeof(again));
    must(strlen(again) == 24 && again[10] == 'T', "a date that cannot be written");
}

static bool is_key(struct str parameter) {
    struct str name;
    return str_split(&parameter, '=', &name) && str_is(name, "key");
}

/* Path and query of a client, behind a provider's base URL. */
static void url(struct str text) {
    static const struct config_provider p = {.base_url = "http://127.0.0.1:1/v1?api-version=1",
                                             .auth = AUTH_QUERY,
                                             .auth_name = "key",
                                             .api_key = "a secret&more"};
    struct outbound o = {0};
    struct buf out;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f || text.p[i] == '#') {
            return; /* never in a target */
        }
    }
    o.query = text;
    str_split(&o.query, '?', &o.path);
    if (!str_starts(o.path, "/")) {
        return;
    }
    buf_init(&out, KIB(16));
    must(outbound_url(&p, &o, &out) == 0, "room");
    struct str rest = buf_str(&out), part;
    must(str_starts(rest, "http://127.0.0.1:1/v1"), "the base is not the beginning");
    must(str_ends(rest, "&key=a%20secret%26more"), "the provider's key is not the end");
    size_t keys = 0;
    str_split(&rest, '?', &part);
    while (str_split(&rest, '&', &part)) {
        keys += is_key(part);
    }
    must(keys == 1, "the client's key crosses");
    buf_release(&out);
}

static void origin(struct str text) {
    struct origin o;
    char *copy = malloc(text.n + 1); /* of its own, so that one byte beyond is noticed */
    must(copy && !memchr(text.p, 0, text.n), "a text");
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (origin_parse(copy, &o)) {
        must(o.authority.n > 0 && o.authority.p >= copy &&
                 o.authority.p + o.authority.n <= copy + text.n,
             "an authority from elsewhere");
        must(header_value_ok(o.authority), "an authority that breaks a line");
        for (size_t i = 0; i < o.path.n; i++) {
            must(o.path.p[i] > ' ' && o.path.p[i] < 0x7f, "a path that breaks a line");
        }
    }
    free(copy);
}

/* None of these crosses in either direction. */
static void check_hops(const struct headers *out, const struct headers *in) {
    static const char *const never[] = {"Connection",     "Keep-Alive",          "TE",
                                        "Trailer",        "Transfer-Encoding",   "Upgrade",
                                        "HTTP2-Settings", "Proxy-Authorization", "Content-Length"};
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
        must(headers_count(out, never[i]) == 0, "a field of one hop crosses");
    }
    for (size_t i = 0; i < out->n; i++) {
        struct header h = headers_at(out, i);
        must(header_name_ok(h.name) && header_value_ok(h.value), "a field that breaks a line");
        must(!str_case_has(h.name, "x-moongate-") ||
                 !str_case_eq(str_make(h.name.p, 11), STR("x-moongate-")),
             "a field of ours crosses");
    }
    must(out->n <= in->n + 1, "fields from nowhere");
}

/* The fields of a client, of an answer: what crosses, and what must not. */
static void fields(struct str text) {
    static const char *const secrets[] = {"x-api-key", "x-goog-api-key", "api-key", "Cookie",
                                          "Forwarded", "Host",           "Expect"};
    static const struct config_provider p = {
        .base_url = "http://a", .auth = AUTH_BEARER, .api_key = "ours"};
    struct headers h, out;
    struct str value;
    read_fields(&h, text);
    headers_init(&out, MAX_HEADERS * 2, MAX_HEADER_BYTES * 2);
    must(outbound_headers(&p, &h, str_make(NULL, 0), &out) == 0, "room for a request's fields");
    check_hops(&out, &h);
    for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
        must(headers_count(&out, secrets[i]) == 0, "a client's secret crosses");
    }
    must(headers_count(&out, "Authorization") == 1 && headers_get(&out, "Authorization", &value) &&
             str_is(value, "Bearer ours"),
         "another credential than the provider's");
    must(inbound_headers(&h, &out) == 0, "room for an answer's fields");
    check_hops(&out, &h);
    must(headers_count(&out, "Set-Cookie") == 0, "a provider's cookie crosses");
    value = client_key(&h);
    must(value.n == 0 || header_value_ok(value), "a key that breaks a line");
    headers_release(&h);
    headers_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const uses[])(struct str text) = {wait_hint, date, url, origin, fields};
    if (size < 1 || (data[0] % 5 == 3 && memchr(data + 1, 0, size - 1))) {
        return 0;
    }
    uses[data[0] % 5](str_make((const char *)data + 1, size - 1));
    return 0;
}
