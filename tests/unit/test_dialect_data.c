/* SPDX-License-Identifier: MIT */
/*
 * The language of dialect data: what a file may say, how mistakes in it are told, and what is made
 * of the parts that no shipped openai answer shows. Files are staged as a gateway stages them.
 */
#include "policy_fixture.h"

#include "upstream/outbound.h"

#define GATEWAY(provider)                                                                          \
    "return { listen = '127.0.0.1:0', providers = { p = {\n  " provider                            \
    "\n  base_url = 'http://127.0.0.1:9/v1', api_key = 'sk-secret' } },\n  routes = {} }\n"

static struct generation *stage_dialect(struct fixture *f, const char *gateway, const char *file) {
    fixture_init(f);
    fixture_write(f, "gateway.lua", gateway);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(f, "lua/dialects/own.lua", file);
    return fixture_stage(f, 1);
}

static const struct dialect *own(struct fixture *f, const char *file) {
    if (!stage_dialect(f, GATEWAY("dialect = 'own',"), file)) {
        fixture_print(f);
        fail();
    }
    return generation_dialect(f->gen, STR("own"));
}

/* Goal: each mistake is told with its file, its line where it stands in the file, what was
 * expected, and the nearest name. */
static void test_mistakes(void **state) {
    static const struct {
        const char *data;
        int line;
        const char *message;
    } cases[] = {
        {"return 5", -1, "the file returned a number (expected a table)"},
        {"return {\n eror = {},\n}", 2, "eror: there is no such field; did you mean \"errors\"?"},
        {"return {\n name = 'other',\n}", 2, "name: the file's name says \"own\""},
        {"return {\n model = 'url',\n}", 2, "model: expected \"body\" or \"path\""},
        {"return {\n auth = 'basic',\n}", 2, "auth: expected"},
        {"return {\n prefix = 5,\n}", 2, "prefix: expected texts, found a"},
        {"return { errors = { patterns = {\n { 'rate_limitd', code = 'x' },\n} } }", 2,
         "expected an outcome's name first, found \"rate_limitd\"; did you mean \"rate_limited\"?"},
        {"return { errors = { patterns = {\n { 'cancelled', code = 'x' },\n} } }", 2,
         "expected an outcome's name first"},
        {"return { errors = { patterns = {\n { 'overloaded', status = '5x', code = 'a' },\n} } }",
         2, "expected a status such as 429"},
        {"return { errors = { patterns = {\n { 'overloaded', status = 503 },\n} } }", 2,
         "a status alone goes into `statuses`"},
        {"return { errors = {\n code = { 'a..b' },\n} }", 2, "\"a..b\" is no path"},
        {"return { errors = { stands_for = {\n x = 200,\n} } }", 2, "a status from 400 to 599"},
        {"return { stream = { rules = {\n { 'contents', filled = 'a' },\n} } }", 2,
         "expected what it means first"},
        {"return { stream = { rules = {\n { 'content' },\n} } }", 2, "hold for every event"},
        {"return { stream = { rules = {\n { 'content', at = 'a' },\n} } }", 2,
         "expected at = PATH together with is"},
        {"return { answers = {\n { rules = { { 'good' } } },\n} }", 2, "expected what it is first"},
        {"return { answers = {\n { body = 'json' },\n} }", 2, "expected \"some\" or \"object\""},
        {"return { usage = {\n inputs = 'a',\n} }", 2, "did you mean \"input\"?"},
        {"return { usage = {\n input = 'a + + b',\n} }", 2, "with \"+\" between them"},
        {"return { say = {\n error = '{\"a\":$massage}',\n} }", 2, "\"$massage}\" is no place"},
        {"return { say = {\n error = '{\"a\":$message',\n} }", 2,
         "of the template with its places"},
        {"return { models = {\n path = '/v1/models',\n} }", 1, "expected path, list and item"},
        {"return { client = {\n paths = 'v1/x',\n} }", 2, "begins with \"/\""},
        {"return { headers = {\n ['a b'] = 'x',\n} }", 2, "headers[\"a b\"]: "},
        {"return {\n errors = { code = print },\n}", 0, "errors.code: a function is no data"},
        {"return {\n name = 'own',\n x = = 5 }", 3, "unexpected symbol"},
        {"error('broken')", 1, "broken"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        assert_null(stage_dialect(&f, GATEWAY("dialect = 'own',"), cases[i].data));
        if (!fixture_has(&f, "lua/dialects/own.lua", cases[i].line, cases[i].message)) {
            fail_msg("%s: expected line %d: %s", cases[i].data, cases[i].line, cases[i].message);
        }
        fixture_release(&f);
    }
}

/* Goal: a name that no file has is told where it stands, where it was looked for, and the nearest.
 */
static void test_unknown_name(void **state) {
    struct fixture f;
    (void)state;
    assert_null(stage_dialect(&f, GATEWAY("dialect = 'opnai',"), "return {}"));
    assert_true(fixture_has(&f, "gateway.lua", 2,
                            "providers.p.dialect: there is no dialect \"opnai\": no file "
                            "lua/dialects/opnai.lua, neither beside gateway.lua nor in the "
                            "library; did you mean \"openai\"?"));
    fixture_release(&f);
    assert_null(stage_dialect(&f, GATEWAY("speaks = { 'owm' },"), "return {}"));
    assert_true(fixture_has(&f, "gateway.lua", 2, "there is no dialect \"owm\""));
    fixture_release(&f);
}

/* Goal: a provider has what its dialect says where its configuration does not. */
static void test_provider_defaults(void **state) {
    static const char file[] =
        "return { auth = 'header:x-key', headers = { ['x-version'] = '7' }, prefix = '/v2',\n"
        "  speaks = { 'own', 'openai' } }";
    struct fixture f;
    struct headers client, out;
    struct str value;
    (void)state;
    (void)own(&f, file);
    const struct config_provider *p = &f.config->providers[0];
    headers_init(&client, 4, 200);
    headers_init(&out, 8, 500);
    assert_int_equal(outbound_headers(p, &client, str_make(NULL, 0), &out), 0);
    assert_true(headers_get(&out, "x-key", &value) && str_is(value, "sk-secret"));
    assert_true(headers_get(&out, "x-version", &value) && str_is(value, "7"));
    assert_int_equal(headers_add(&client, STR("x-version"), STR("8")), 0);
    assert_int_equal(outbound_headers(p, &client, str_make(NULL, 0), &out), 0);
    assert_true(headers_get(&out, "x-version", &value) && str_is(value, "8"));
    assert_int_equal(headers_count(&out, "x-version"), 1);
    assert_true(config_speaks(p, "openai") && config_speaks(p, "own"));
    assert_false(config_speaks(p, "anthropic"));
    headers_release(&client);
    headers_release(&out);
    fixture_release(&f);

    assert_non_null(
        stage_dialect(&f, GATEWAY("dialect = 'own', auth = 'bearer', speaks = { 'own' },"), file));
    assert_int_equal(f.config->providers[0].auth, AUTH_BEARER);
    assert_false(config_speaks(&f.config->providers[0], "openai"));
    fixture_release(&f);
}

static void check_url(const struct config_provider *p, const char *path, const char *at,
                      const char *model, const char *want) {
    struct buf url;
    struct outbound o = {.path = str_of(path), .model = str_of(model)};
    const char *place = at ? strstr(path, at) : NULL;
    o.model_at = str_make(place, place ? strlen(at) : 0);
    buf_init(&url, 1000);
    assert_int_equal(outbound_url(p, &o, &url), 0);
    assert_string_equal(url.data, want);
    buf_release(&url);
}

/* Goal: bytes that pass untouched go to the provider's path: prefix cut, deployment put before it,
 * the model in its place, percent-encoded. */
static void test_urls(void **state) {
    struct fixture f;
    (void)state;
    (void)own(&f, "return { pass = '/deployments/{model}' }");
    const struct config_provider *p = &f.config->providers[0];
    check_url(p, "/v1/chat/completions", NULL, "a/b",
              "http://127.0.0.1:9/v1/deployments/a%2Fb/chat/completions");
    check_url(p, "/v1/files", NULL, NULL, "http://127.0.0.1:9/v1/files");
    fixture_release(&f);
    (void)own(&f, "return { prefix = '/v1beta', model = 'path' }");
    p = &f.config->providers[0];
    check_url(p, "/v1beta/models/fast:generateContent", "fast", "gemini-2.5 pro",
              "http://127.0.0.1:9/v1/models/gemini-2.5%20pro:generateContent");
    check_url(p, "/v1/models/fast:x", NULL, NULL, "http://127.0.0.1:9/v1/v1/models/fast:x");
    fixture_release(&f);
    (void)own(&f, "return { prefix = { '/v1beta', '/v1' }, model = 'path' }");
    p = &f.config->providers[0];
    check_url(p, "/v1beta/models/fast:go", "fast", "m", "http://127.0.0.1:9/v1/models/m:go");
    check_url(p, "/v1/models/fast:go", "fast", "m", "http://127.0.0.1:9/v1/models/m:go");
    check_url(p, "/v1betas/models", NULL, NULL, "http://127.0.0.1:9/v1/v1betas/models");
    fixture_release(&f);
}

/* Goal: a path tells the dialect, the model, and whether a stream is asked for; fields tell it
 * where no path does. */
static void test_client(void **state) {
    struct fixture f;
    struct client_path asked;
    struct headers h;
    struct buf out;
    (void)state;
    const struct dialect *d = own(
        &f, "return { model = 'path', generate = '/models/{model}:go', generate_stream =\n"
            "  '/models/{model}:stream?alt=sse', client = { generate = '/b/models/{model}:go',\n"
            "  stream = '/b/models/{model}:stream', paths = { '/b/models/{model}:*', '/b/*' },\n"
            "  headers = 'x-own', drop = { 'X-Own*', 'exact' } } }");
    headers_init(&h, 4, 200);
    assert_ptr_equal(generation_client(f.gen, STR("/b/models/a%2Fb:go"), &h, &asked), d);
    assert_true(asked.generate && asked.says_stream && !asked.stream);
    assert_true(str_is(asked.model, "a%2Fb"));
    assert_true(dialect_has_path(d, STR("/b/models/m:1:stream"), &asked));
    assert_true(asked.generate && asked.stream && str_is(asked.model, "m:1"));
    assert_true(dialect_has_path(d, STR("/b/models/m:count"), &asked));
    assert_true(!asked.generate && str_is(asked.model, "m"));
    assert_true(dialect_has_path(d, STR("/b/files"), &asked));
    assert_true(!asked.generate && asked.model.n == 0);
    assert_false(dialect_has_path(d, STR("/c/files"), &asked));
    assert_string_equal(dialect_name(generation_client(f.gen, STR("/c"), &h, &asked)), "openai");
    assert_int_equal(headers_add(&h, STR("X-Own"), STR("1")), 0);
    assert_ptr_equal(generation_client(f.gen, STR("/c"), &h, &asked), d);
    assert_true(dialect_drops_header(d, STR("x-OWN-thing")));
    assert_true(dialect_drops_header(d, STR("Exact")) && !dialect_drops_header(d, STR("exactly")));
    buf_init(&out, 100);
    assert_int_equal(dialect_generate_path(d, STR("a b"), true, &out), 0);
    assert_string_equal(out.data, "/models/a%20b:stream?alt=sse");
    assert_int_equal(dialect_generate_path(dialect_builtin(), STR("m"), false, &out), -1);
    buf_release(&out);
    headers_release(&h);
    fixture_release(&f);
}

static struct usage event_usage(const struct dialect *d, const char *data, struct usage u) {
    struct sse_event e = {.data = str_of(data), .has_data = true};
    (void)dialect_event(d, &e, &u);
    return u;
}

/* Goal: counts are sums of what is there, the first way that is there counts, and a later event
 * adds to what an earlier one said. */
static void test_usage(void **state) {
    struct fixture f;
    struct usage u = {false, -1, -1, -1, -1};
    (void)state;
    const struct dialect *d =
        own(&f, "return { usage = { input = { 'u.a + u.b + u.c', 'm.u.a' }, output = 'u.o' } }");
    u = event_usage(d, "{\"u\":{\"a\":1,\"c\":4}}", u);
    assert_true(u.seen && u.input == 5 && u.output == -1);
    u = event_usage(d, "{\"u\":{\"o\":7}}", u);
    assert_true(u.input == 5 && u.output == 7);
    u = event_usage(d, "{\"m\":{\"u\":{\"a\":9}}}", u);
    assert_true(u.input == 9 && u.output == 7 && u.cached == -1);
    u = event_usage(d, "{\"u\":{\"a\":100}", u);
    assert_true(u.input == 9);
    fixture_release(&f);
}

/* Goal: words of the dialect's own are chosen by outcome, then by status; a place within a string
 * is escaped there. */
static void test_say(void **state) {
    struct fixture f;
    struct buf out;
    struct dialect_model models[] = {{"a\"b", "p"}, {"c", "q"}};
    struct dialect_error e = {429, OUTCOME_OVERLOADED, "gateway_error", NULL, "m\n"};
    (void)state;
    const struct dialect *d =
        own(&f, "return { say = { error = '{\"t\":$type,\"m\":\"<$message>\",\"s\":$status}',\n"
                "  type = { { 'busy', outcome = 'overloaded' }, { 'limit', status = 429 } } },\n"
                "  models = { path = '/m', list = '{\"d\":[$models],\"l\":$last}',\n"
                "  item = '{\"n\":\"models/$model\",\"o\":$owner}' } }");
    buf_init(&out, 500);
    assert_int_equal(dialect_write_error(d, &out, &e), 0);
    assert_string_equal(out.data, "{\"t\":\"busy\",\"m\":\"<m\\n>\",\"s\":429}");
    buf_clear(&out);
    e.outcome = OUTCOME_OK;
    assert_int_equal(dialect_write_error(d, &out, &e), 0);
    assert_string_equal(out.data, "{\"t\":\"limit\",\"m\":\"<m\\n>\",\"s\":429}");
    buf_clear(&out);
    e.status = 500;
    assert_int_equal(dialect_write_error_event(d, &out, &e), 0);
    assert_string_equal(out.data, "data: {\"t\":\"gateway_error\",\"m\":\"<m\\n>\",\"s\":500}\n\n");
    buf_clear(&out);
    assert_int_equal(dialect_write_models(d, &out, models, 2), 0);
    assert_string_equal(out.data,
                        "{\"d\":[{\"n\":\"models/a\\\"b\",\"o\":\"p\"},{\"n\":\"models/c\","
                        "\"o\":\"q\"}],\"l\":\"c\"}");
    buf_clear(&out);
    assert_int_equal(dialect_write_models(d, &out, NULL, 0), 0);
    assert_string_equal(out.data, "{\"d\":[],\"l\":null}");
    buf_release(&out);
    fixture_release(&f);
}

/* Goal: an error's type may stand in the answer's head, or be the event's own. */
static void test_error_type(void **state) {
    struct fixture f;
    struct verdict v;
    struct headers h;
    (void)state;
    const struct dialect *d =
        own(&f, "return { errors = { message = 'message', type_header = 'x-type', patterns = {\n"
                "  { 'rate_limited', code = 'SlowDown' } } },\n"
                "  stream = { rules = { { 'error', type = '*Down' } } } }");
    struct sse_event e = {
        .type = STR("SlowDown"), .data = STR("{\"message\":\"m\"}"), .has_data = true};
    struct usage u = {false, -1, -1, -1, -1};
    headers_init(&h, 4, 200);
    assert_int_equal(headers_add(&h, STR("X-Type"), STR("SlowDown:http://x")), 0);
    dialect_judge(d, STR("/"), 400, &h, STR("{}"), &v);
    assert_int_equal(v.outcome, OUTCOME_RATE_LIMITED);
    assert_string_equal(v.code, "SlowDown");
    assert_int_equal(dialect_event(d, &e, &u), SIGN_ERROR);
    dialect_event_error(d, &e, &v);
    assert_int_equal(v.outcome, OUTCOME_ERROR_EVENT);
    assert_int_equal(v.means, OUTCOME_RATE_LIMITED);
    assert_int_equal(v.status, 429);
    headers_release(&h);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_provider_defaults),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_say),
        cmocka_unit_test(test_error_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
