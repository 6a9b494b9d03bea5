/* SPDX-License-Identifier: MIT */
/*
 * Requests signed for AWS. The signatures are what others computed: the first is of AWS's published
 * test suite (get-vanilla), the others are botocore's (auth.SigV4Auth of 1.43, told to sign the
 * same fields).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "upstream/sigv4.h"

#define HOST(region) "https://bedrock-runtime." region ".amazonaws.com"
#define MODEL "/model/anthropic.claude-3-5-sonnet-20241022-v2"
#define PROFILE                                                                                    \
    "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2F"              \
    "eu.anthropic.claude-sonnet-4-20250514-v1%3A0/converse"
#define NOVEMBER (INT64_C(1795301100) * USEC_PER_SEC) /* 2026-11-21 22:45:00 */
#define AUGUST (INT64_C(1440938160) * USEC_PER_SEC)   /* 2015-08-30 12:36:00 */

static const struct sigv4_key ours = {
    .access_key = {"AKIDEXAMPLE", 11},
    .secret_key = {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40},
    .region = {"us-east-1", 9},
    .service = {"bedrock", 7},
};

static const struct row {
    const char *method, *url, *region, *service, *token;
    const char *fields[2][2];
    const char *body, *names, *signature;
    usec wall;
} rows[] = {
    {.method = "GET",
     .url = "https://example.amazonaws.com/",
     .service = "service",
     .wall = AUGUST,
     .names = "host;x-amz-date",
     .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {.url = HOST("us-east-1") "/model/amazon.nova-lite-v1/converse",
     .fields = {{"Content-Type", "application/json"}},
     .body = "{}",
     .names = "content-type;host;x-amz-date",
     .signature = "0c2c94681dd30225a50fed42aa80c31837659b8fa4bd7b898891aef5d419089d"},
    /* A field that is not signed, and a path that is encoded once more. */
    {.url = HOST("us-east-1") MODEL "%3A0/converse",
     .fields = {{"Content-Type", "application/json"}, {"User-Agent", "x/1"}},
     .body = "{\"messages\":[]}",
     .names = "content-type;host;x-amz-date",
     .signature = "5e4253e1797c971288554a1b903ca603b015a795c07a4d4522d90bec57609b8e"},
    {.url = HOST("us-east-1") MODEL ":0/converse-stream",
     .fields = {{"Content-Type", "application/json"}},
     .body = "{\"messages\":[]}",
     .names = "content-type;host;x-amz-date",
     .signature = "ccbacba568811b02198a962b0020578c1694eb0484651946344fa59eff3c6924"},
    {.url = HOST("eu-central-1") PROFILE,
     .region = "eu-central-1",
     .token = "IQoJb3JpZ2luX2VjEXAMPLE//token==",
     .fields = {{"Content-Type", "application/json"}},
     .body = "{\"messages\":[]}",
     .names = "content-type;host;x-amz-date;x-amz-security-token",
     .signature = "21f8959195051be11b3ed9b6f9a5828c16718ac5bb47d79cd066bbefa465528c"},
    /* A query that has to be sorted, a port. */
    {.url = "http://127.0.0.1:8123/model/m/converse?b=2&a=1&c&a=0",
     .fields = {{"Content-Type", "application/json"}},
     .names = "content-type;host;x-amz-date",
     .signature = "9db29116b5cea1d662222c48daf1e9c0453a894a83b4edecc11e300ea175efc7"},
    {.method = "GET",
     .url = HOST("us-east-1") "/foundation-models",
     .fields = {{"X-Amz-Zeta", "  two   spaces "}, {"x-amz-alpha", "1"}},
     .names = "host;x-amz-alpha;x-amz-date;x-amz-zeta",
     .signature = "38588aee64b35c8a89cc92509eb7db041b79ffddb0e5079af716d28cac1cfb5f"},
    /* No path, a default port that Host does not say. */
    {.method = "GET",
     .url = HOST("us-east-1") ":443",
     .names = "host;x-amz-date",
     .signature = "7428a8af16b3598e8eda1345552aec5dc2757d1fea9d8895d629eae13932dcf5"},
};

static struct str text(const char *given, struct str otherwise) {
    return given ? str_of(given) : otherwise;
}

/* The body is given in pieces of `step` bytes. */
static void assert_signed(const struct row *r, size_t step) {
    struct str pieces[32], body = text(r->body, STR("")), unused;
    struct sigv4_key key = ours;
    struct headers fields;
    char expected[400];
    size_t n = 0;
    key.region = text(r->region, ours.region);
    key.service = text(r->service, ours.service);
    key.session_token = str_of(r->token);
    for (size_t at = 0; at < body.n; at += step) {
        pieces[n++] = str_make(body.p + at, body.n - at < step ? body.n - at : step);
    }
    headers_init(&fields, MAX_HEADERS, MAX_HEADER_BYTES);
    for (size_t i = 0; i < 2 && r->fields[i][0]; i++) {
        assert_int_equal(headers_add(&fields, str_of(r->fields[i][0]), str_of(r->fields[i][1])), 0);
    }
    /* What an earlier signature left, or a client made up. */
    assert_int_equal(headers_add(&fields, STR("x-amz-date"), STR("19700101T000000Z")), 0);
    assert_int_equal(headers_add(&fields, STR("x-amz-security-token"), STR("old")), 0);
    assert_int_equal(headers_add(&fields, STR("authorization"), STR("old")), 0);
    struct sigv4_request request = {text(r->method, STR("POST")), r->url, pieces, n};
    usec wall = r->wall ? r->wall : NOVEMBER;
    assert_int_equal(sigv4_sign(&key, &request, wall + 123456, &fields), 0);
    snprintf(expected, sizeof(expected),
             "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/%s/%.*s/%.*s/aws4_request, "
             "SignedHeaders=%s, Signature=%s",
             r->wall ? "20150830" : "20261121", (int)key.region.n, key.region.p, (int)key.service.n,
             key.service.p, r->names, r->signature);
    struct str value = {NULL, 0};
    assert_true(headers_get(&fields, "authorization", &value));
    assert_int_equal(headers_count(&fields, "authorization"), 1);
    assert_memory_equal(value.p, expected, strlen(expected));
    assert_int_equal(value.n, strlen(expected));
    assert_int_equal(headers_count(&fields, "x-amz-date"), 1);
    assert_int_equal(headers_get(&fields, "x-amz-security-token", &unused), r->token != NULL);
    headers_release(&fields);
}

/* Goal: what we sign is what AWS computes. */
static void test_signatures(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_signed(&rows[i], 1);
        assert_signed(&rows[i], 100);
    }
}

static int sign(const char *url, const struct header *field, size_t n) {
    struct sigv4_request request = {STR("GET"), url, NULL, 0};
    struct headers fields;
    headers_init(&fields, MAX_HEADERS, MAX_HEADER_BYTES);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(headers_add(&fields, field->name, field->value), 0);
    }
    int rc = sigv4_sign(&ours, &request, NOVEMBER, &fields);
    headers_release(&fields);
    return rc;
}

/* Goal: what cannot be signed rightly is not sent. */
static void test_refused(void **state) {
    (void)state;
    struct header aws = {STR("x-amz-meta"), STR("1")};
    struct header other = {STR("x-other"), STR("1")};
    char url[400] = "https://h/?";
    assert_int_equal(sign("https://user@h/", NULL, 0), -1);
    assert_int_equal(sign("ftp://h/", NULL, 0), -1);
    assert_int_equal(sign("https://h/", &aws, MAX_SIGNED - 2), 0);
    assert_int_equal(sign("https://h/", &aws, MAX_SIGNED - 1), -1);
    assert_int_equal(sign("https://h/", &other, 90), 0);
    for (int i = 0; i < MAX_SIGNED; i++) {
        strcat(url, "a=1&");
    }
    assert_int_equal(sign(url, NULL, 0), 0);
    assert_int_equal(sign(strcat(url, "b"), NULL, 0), -1);
}

/* Goal: fields of one name are signed as one. */
static void test_same_name(void **state) {
    (void)state;
    struct sigv4_request request = {STR("GET"), HOST("us-east-1") "/", NULL, 0};
    struct str authorization[2];
    struct headers fields[2];
    for (int i = 0; i < 2; i++) {
        headers_init(&fields[i], MAX_HEADERS, MAX_HEADER_BYTES);
    }
    assert_int_equal(headers_add(&fields[0], STR("X-Amz-A"), STR("1")), 0);
    assert_int_equal(headers_add(&fields[0], STR("x-amz-a"), STR("2")), 0);
    assert_int_equal(headers_add(&fields[1], STR("x-amz-a"), STR("1,2")), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sigv4_sign(&ours, &request, NOVEMBER, &fields[i]), 0);
        assert_true(headers_get(&fields[i], "authorization", &authorization[i]));
    }
    assert_true(str_eq(authorization[0], authorization[1]));
    for (int i = 0; i < 2; i++) {
        headers_release(&fields[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_same_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
