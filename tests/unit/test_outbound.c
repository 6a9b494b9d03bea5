/* SPDX-License-Identifier: MIT */
/*
 * What goes to a provider, and what comes back to a client: URLs, credentials, and the fields that
 * must not cross.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "upstream/outbound.h"

#define S(literal) ((char *)(literal)) /* the fields are owned strings elsewhere */

static const struct config_provider bearer = {
    .name = S("p"), .base_url = S("https://h/v1"), .auth = AUTH_BEARER, .api_key = S("sk-ours")};
static const struct config_provider query = {.name = S("p"),
                                             .base_url = S("https://h/v1"),
                                             .auth = AUTH_QUERY,
                                             .auth_name = S("token"),
                                             .api_key = S("a b&c=%")};
static const struct config_provider named = {.name = S("p"),
                                             .base_url = S("https://h/v1"),
                                             .auth = AUTH_HEADER,
                                             .auth_name = S("X-Secret"),
                                             .api_key = S("sk-ours")};
static const struct config_provider passthrough = {.name = S("p"),
                                                   .base_url = S("https://h/v1"),
                                                   .auth = AUTH_PASSTHROUGH,
                                                   .api_key = S("sk-ours")};
static const struct config_provider none = {
    .name = S("p"), .base_url = S("https://h/v1"), .auth = AUTH_NONE, .api_key = S("sk-ours")};
static const struct config_provider azure = {
    .name = S("p"),
    .base_url = S("https://h/openai/deployments/d?api-version=2024-06-01"),
    .auth = AUTH_NONE};

/* Goal: base, path and query are joined; no client key is left in the query, however it is written.
 */
static void test_url(void **state) {
    (void)state;
    static const struct {
        const struct config_provider *p;
        const char *path, *query, *want;
    } cases[] = {
        {&bearer, "/v1/chat/completions", "", "https://h/v1/chat/completions"},
        {&bearer, "/v1/chat/completions", "beta=true&x",
         "https://h/v1/chat/completions?beta=true&x"},
        {&bearer, "/v1", "", "https://h/v1"},
        {&bearer, "/v1x/y", "", "https://h/v1/v1x/y"},
        {&bearer, "/other", "a=1", "https://h/v1/other?a=1"},
        {&bearer, "/v1/x", "key=stolen", "https://h/v1/x"},
        {&bearer, "/v1/x", "a=1&key=stolen&b=2", "https://h/v1/x?a=1&b=2"},
        {&bearer, "/v1/x", "k%65y=stolen&%6B%65%79=stolen&key", "https://h/v1/x"},
        {&bearer, "/v1/x", "monkey=1&keys=2&key%=3&ke=4",
         "https://h/v1/x?monkey=1&keys=2&key%=3&ke=4"},
        {&query, "/v1/x", "a=1&token=mine&key=mine", "https://h/v1/x?a=1&token=a%20b%26c%3D%25"},
        {&query, "/v1/x", "", "https://h/v1/x?token=a%20b%26c%3D%25"},
        {&passthrough, "/v1/x", "key=mine", "https://h/v1/x?key=mine"},
        {&azure, "/v1/chat/completions", "",
         "https://h/openai/deployments/d/chat/completions?api-version=2024-06-01"},
        {&azure, "/v1/x", "a=1", "https://h/openai/deployments/d/x?api-version=2024-06-01&a=1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf url;
        buf_init(&url, 1000);
        struct outbound o = {.path = str_of(cases[i].path), .query = str_of(cases[i].query)};
        assert_int_equal(outbound_url(cases[i].p, &o, &url), 0);
        assert_string_equal(url.data, cases[i].want);
        buf_release(&url);
    }
}

/* Goal: requests of our own keep their path whole; a full buffer is an error. */
static void test_own_url(void **state) {
    struct buf url;
    (void)state;
    buf_init(&url, 1000);
    assert_int_equal(outbound_own_url(&bearer, STR("/models"), STR(""), &url), 0);
    assert_string_equal(url.data, "https://h/v1/models");
    assert_int_equal(outbound_own_url(&bearer, STR("/v1/models?key=1"), STR(""), &url), 0);
    assert_string_equal(url.data, "https://h/v1/v1/models?key=1");
    assert_int_equal(outbound_own_url(&query, STR("/models"), STR(""), &url), 0);
    assert_string_equal(url.data, "https://h/v1/models?token=a%20b%26c%3D%25");
    buf_release(&url);
    buf_init(&url, 10);
    assert_int_equal(outbound_url(&bearer, &(struct outbound){.path = STR("/v1/models")}, &url),
                     -1);
    buf_release(&url);
}

/* Goal: the key that a policy chose for one attempt takes the place of the provider's in the query.
 */
static void test_chosen_key(void **state) {
    struct buf url;
    (void)state;
    buf_init(&url, 1000);
    struct outbound o = {.path = STR("/v1/x"), .key = STR("other&")};
    assert_int_equal(outbound_url(&query, &o, &url), 0);
    assert_string_equal(url.data, "https://h/v1/x?token=other%26");
    buf_release(&url);
}

static void fill(struct headers *h, const char *const *fields) {
    headers_init(h, MAX_HEADERS, MAX_HEADER_BYTES);
    for (; *fields; fields += 2) {
        assert_int_equal(headers_add(h, str_of(fields[0]), str_of(fields[1])), 0);
    }
}

/* "Name=value;" for all, in order. */
static const char *flat(const struct headers *h) {
    static char text[4000];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < h->n; i++) {
        struct header f = headers_at(h, i);
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=%.*s;", (int)f.name.n, f.name.p,
                              (int)f.value.n, f.value.p);
    }
    return text;
}

static const char *sent_to(const struct config_provider *p, const char *const *fields,
                           const char *key) {
    struct headers client, out;
    fill(&client, fields);
    headers_init(&out, MAX_HEADERS, MAX_HEADER_BYTES);
    assert_int_equal(outbound_headers(p, &client, str_of(key), &out), 0);
    const char *text = flat(&out);
    headers_release(&client);
    headers_release(&out);
    return text;
}

static const char *const client_fields[] = {"Host",
                                            "gateway",
                                            "Content-Type",
                                            "application/json",
                                            "Content-Length",
                                            "2",
                                            "Accept",
                                            "*/*",
                                            "Accept-Encoding",
                                            "br",
                                            "Expect",
                                            "100-continue",
                                            "AUTHORIZATION",
                                            "Bearer client",
                                            "X-Api-Key",
                                            "client",
                                            "x-goog-api-key",
                                            "client",
                                            "Api-Key",
                                            "client",
                                            "Cookie",
                                            "a=b",
                                            "Proxy-Authorization",
                                            "Basic x",
                                            "Proxy-Connection",
                                            "keep-alive",
                                            "Forwarded",
                                            "for=1",
                                            "X-Forwarded-For",
                                            "1.2.3.4",
                                            "x-forwarded-proto",
                                            "http",
                                            "X-Moongate-Target",
                                            "evil",
                                            "Connection",
                                            "keep-alive, X-Hop",
                                            "Connection",
                                            "x-other-hop",
                                            "X-Hop",
                                            "1",
                                            "X-Other-Hop",
                                            "2",
                                            "Keep-Alive",
                                            "5",
                                            "TE",
                                            "trailers",
                                            "Trailer",
                                            "x",
                                            "Transfer-Encoding",
                                            "chunked",
                                            "Upgrade",
                                            "h2c",
                                            "X-Stainless-Retry-Count",
                                            "0",
                                            "OpenAI-Beta",
                                            "a",
                                            "X-Secret",
                                            "client",
                                            NULL};

/* Goal: to a provider go the client's end-to-end fields and our credential, and nothing that
 * identifies or belongs to the client. */
static void test_outbound(void **state) {
    (void)state;
    static const char common[] =
        "Content-Type=application/json;Accept=*/*;X-Stainless-Retry-Count=0;OpenAI-Beta=a;";
    char want[500];
    snprintf(want, sizeof want, "%sX-Secret=client;Authorization=Bearer sk-ours;", common);
    assert_string_equal(sent_to(&bearer, client_fields, ""), want);
    snprintf(want, sizeof want, "%sX-Secret=client;Authorization=Bearer other;", common);
    assert_string_equal(sent_to(&bearer, client_fields, "other"), want);
    snprintf(want, sizeof want, "%sX-Secret=sk-ours;", common);
    assert_string_equal(sent_to(&named, client_fields, ""), want);
    snprintf(want, sizeof want, "%sX-Secret=client;", common);
    assert_string_equal(sent_to(&query, client_fields, ""), want);
    assert_string_equal(sent_to(&none, client_fields, ""), want);
    struct config_provider keyless = named;
    keyless.api_key = NULL;
    assert_string_equal(sent_to(&keyless, client_fields, ""), common);
}

/* Goal: with passthrough the client's own credential goes on, and ours does not. */
static void test_passthrough(void **state) {
    (void)state;
    assert_string_equal(sent_to(&passthrough, client_fields, ""),
                        "Content-Type=application/json;Accept=*/*;AUTHORIZATION=Bearer "
                        "client;X-Api-Key=client;x-goog-api-key=client;Api-Key=client;"
                        "X-Stainless-Retry-Count=0;OpenAI-Beta=a;X-Secret=client;");
}

/* Goal: what AWS takes a signature to vouch for is never a client's. */
static void test_signed(void **state) {
    (void)state;
    static const char *const fields[] = {
        "X-Amz-Content-Sha256", "forged", "x-amz-target", "other", "x-amzn-note", "kept", NULL};
    struct config_provider p = none;
    assert_string_equal(sent_to(&p, fields, ""),
                        "X-Amz-Content-Sha256=forged;x-amz-target=other;x-amzn-note=kept;");
    p.auth = AUTH_AWS;
    assert_string_equal(sent_to(&p, fields, ""), "x-amzn-note=kept;");
}

/* Goal: the provider's configured fields replace the client's of that name, and cannot replace the
 * credential. */
static void test_configured(void **state) {
    (void)state;
    struct value table = value_table(), s = {0};
    static const char *const fields[] = {"openai-beta", "client", "Accept", "*/*", NULL};
    assert_int_equal(value_set_str(&s, STR("ours")), 0);
    assert_int_equal(value_set_field(&table, STR("OpenAI-Beta"), s), 0);
    s = (struct value){0};
    assert_int_equal(value_set_str(&s, STR("Bearer wrong")), 0);
    assert_int_equal(value_set_field(&table, STR("authorization"), s), 0);
    struct config_provider p = bearer;
    p.headers = table;
    assert_string_equal(sent_to(&p, fields, ""),
                        "Accept=*/*;OpenAI-Beta=ours;Authorization=Bearer sk-ours;");
    value_release(&table);
}

/* Goal: to a client go a provider's end-to-end fields, but none that would set its framing,
 * cookies, or forge ours. */
static void test_inbound(void **state) {
    (void)state;
    static const char *const fields[] = {"Content-Type",
                                         "application/json",
                                         "Content-Length",
                                         "2",
                                         "content-encoding",
                                         "gzip",
                                         "Set-Cookie",
                                         "a=b",
                                         "set-cookie",
                                         "c=d",
                                         "Transfer-Encoding",
                                         "chunked",
                                         "Connection",
                                         "close, X-Hop",
                                         "X-Hop",
                                         "1",
                                         "Keep-Alive",
                                         "5",
                                         "x-moongate-request-id",
                                         "forged",
                                         "Retry-After",
                                         "3",
                                         "x-request-id",
                                         "r",
                                         "x-ratelimit-remaining-requests",
                                         "9",
                                         "Proxy-Authenticate",
                                         "x",
                                         NULL};
    struct headers answer, out;
    fill(&answer, fields);
    headers_init(&out, MAX_HEADERS, MAX_HEADER_BYTES);
    assert_int_equal(inbound_headers(&answer, &out), 0);
    assert_string_equal(flat(&out),
                        "Content-Type=application/"
                        "json;Retry-After=3;x-request-id=r;x-ratelimit-remaining-requests=9;");
    headers_release(&answer);
    headers_release(&out);
}

static struct str key_of(const char *const *fields, struct headers *h) {
    fill(h, fields);
    return client_key(h);
}

/* Goal: the client's key is found where each SDK puts it, in the order of the contract. */
static void test_client_key(void **state) {
    (void)state;
    static const struct {
        const char *fields[7];
        const char *want;
    } cases[] = {
        {{NULL}, ""},
        {{"Authorization", "Bearer k"}, "k"},
        {{"authorization", "bearer  k "}, "k"},
        {{"Authorization", "Basic k"}, ""},
        {{"Authorization", "Bearer"}, ""},
        {{"Authorization", "Bearer "}, ""},
        {{"X-API-Key", "k"}, "k"},
        {{"x-goog-api-key", "k"}, "k"},
        {{"x-goog-api-key", "g", "x-api-key", "x", "Authorization", "Bearer b"}, "b"},
        {{"x-goog-api-key", "g", "x-api-key", "x", "Authorization", "Basic b"}, "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct headers h;
        assert_true(str_is(key_of(cases[i].fields, &h), cases[i].want));
        headers_release(&h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),         cmocka_unit_test(test_own_url),
        cmocka_unit_test(test_chosen_key),  cmocka_unit_test(test_outbound),
        cmocka_unit_test(test_passthrough), cmocka_unit_test(test_signed),
        cmocka_unit_test(test_configured),  cmocka_unit_test(test_inbound),
        cmocka_unit_test(test_client_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
