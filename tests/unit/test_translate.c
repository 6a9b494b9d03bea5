/* SPDX-License-Identifier: MIT */
/*
 * Translations on a lane, over dialects of the test's own: what each step gives, what a file that
 * misbehaves costs, that nothing of a translation can be used after its end, and that a lane stays
 * open as long as one needs it.
 */
#include "policy_fixture.h"

#include "../support/dialects.h"
#include "base/limits.h"
#include "policy/translate.h"

/* Keeps the first emit it is given, and a long text, in variables of the file. */
static const char DIALECT[] =
    "local kept, text\n"
    "return { name = 'x',\n"
    "  read_request = function(b, ctx)\n"
    "    if b.loop then while true do end end\n"
    "    if b.wait then require('moongate').wait() end\n"
    "    if b.late then return { late = text } end\n"
    "    if b.drop then for _, n in ipairs(b.drop) do ctx:drop(n) end end\n"
    "    text = b.text\n"
    "    return { text = b.text }\n"
    "  end,\n"
    "  write_request = function(r) return r end,\n"
    "  read_answer = function(b) return b end,\n"
    "  write_answer = function(a) return { was = a } end,\n"
    "  reader = function() return function(t, d, emit) emit { kind = 'text', text = d.t } end "
    "end,\n"
    "  writer = function() return function(delta, emit)\n"
    "    kept = kept or emit\n"
    "    if delta.text == 'again' then kept(nil, { old = true }) end\n"
    "    if delta.text == 'half' then emit('e', { a = { b = print } }) end\n"
    "    emit(delta.text and 'said' or nil, delta.text and { t = delta.text } or '[DONE]')\n"
    "  end end }\n";

/* A module of the library, as it is. */
static char *module(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = calloc(1, KIB(64));
    assert_non_null(f);
    assert_true(fread(text, 1, KIB(64) - 1, f) > 0);
    fclose(f);
    return text;
}

static struct lane *stage(struct fixture *f) {
    static const char *const library[] = {"lua/moongate/translate.lua",
                                          "lua/moongate/dialect/tool_names.lua"};
    fixture_init(f);
    fixture_write(f, "gateway.lua",
                  CONFIG_HEAD
                  "{ name = 't', path = '/t', policy = 't', settings = {} }," CONFIG_TAIL);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    for (size_t i = 0; i < sizeof library / sizeof *library; i++) {
        char *text = module(library[i]);
        fixture_write(f, library[i], text);
        free(text);
    }
    fixture_write(f, "lua/dialects/x.lua", DIALECT);
    fixture_write(f, "lua/dialects/slow.lua", "return { name = 'slow', functions = 'slow' }\n");
    fixture_write(f, "lua/slow.lua",
                  "for _ = 1, 2000000 do end\n"
                  "return { read_request = function(b) return b end,\n"
                  "  write_request = function(r) return r end }\n");
    fixture_write(f, "policies/t.lua", "return { handle = function() return 'good' end }\n");
    if (!fixture_stage(f, 1)) {
        fixture_print(f);
        fail();
    }
    return f->gen->lanes[0];
}

static struct translate *between(struct lane *lane, const char *dialect) {
    struct translate_order order = {.client = str_of(dialect),
                                    .provider = str_of(dialect),
                                    .model = STR("m"),
                                    .id = STR("id"),
                                    .now = 1,
                                    .stream = true};
    struct translate *t = translate_new(lane, &order);
    assert_non_null(t);
    return t;
}

static struct translate *new (struct lane *lane) {
    return between(lane, "x");
}

static void expect_out(struct buf *out, const char *text) {
    assert_string_equal(out->data, text);
    buf_release(out);
}

/* Goal: request, answer and stream, each step's bytes; what was dropped is a header's text. */
static void test_steps(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct translate *t = new (lane);
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, MIB(1));
    assert_int_equal(
        translate_request(t, STR("{\"text\":\"a\",\"drop\":[\"one\",\"two\",\"a b\",\"one\"]}"),
                          &out, &err),
        TRANSLATE_OK);
    expect_out(&out, "{\"text\":\"a\"}");
    assert_string_equal(translate_dropped(t), "one,two,(a name that cannot be shown)");
    assert_int_equal(translate_answer(t, STR("[1]"), &out, &err), TRANSLATE_OK);
    expect_out(&out, "{\"was\":[1]}");
    assert_int_equal(translate_answer(t, STR("[1"), &out, &err), TRANSLATE_REFUSED);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"a\"}"), &out, &err), TRANSLATE_OK);
    assert_int_equal(translate_finish(t, &out, &err), TRANSLATE_OK);
    expect_out(&out, "event: said\ndata: {\"t\":\"a\"}\n\ndata: [DONE]\n\n");
    translate_free(t);
    fixture_release(&f);
}

/* Goal: an event that fails half-way leaves nothing of itself. */
static void test_half_an_event(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct translate *t = new (lane);
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, MIB(1));
    assert_int_equal(translate_request(t, STR("{}"), &out, &err), TRANSLATE_OK);
    buf_clear(&out);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"b\"}"), &out, &err), TRANSLATE_OK);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"half\"}"), &out, &err),
                     TRANSLATE_FAILED);
    expect_out(&out, "event: said\ndata: {\"t\":\"b\"}\n\n");
    assert_int_equal(translate_event(t, STR(""), STR("{oops"), &out, &err), TRANSLATE_FAILED);
    buf_release(&out);
    translate_free(t);
    fixture_release(&f);
}

/* Goal: what a file keeps of a translation that is over (its emit, a long text) is an error. */
static void test_after_its_end(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct translate *t = new (lane);
    struct buf out, body;
    struct err err;

    (void)state;
    buf_init(&out, MIB(1));
    buf_init(&body, MIB(1));
    int bad = buf_adds(&body, "{\"text\":\"");
    for (int i = 0; i < 5000; i++) {
        bad |= buf_addc(&body, 'x');
    }
    assert_int_equal(bad | buf_adds(&body, "\"}"), 0);
    assert_int_equal(translate_request(t, buf_str(&body), &out, &err), TRANSLATE_OK);
    assert_true(str_eq(buf_str(&out), buf_str(&body)));
    buf_clear(&out);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"a\"}"), &out, &err), TRANSLATE_OK);
    translate_free(t);
    buf_release(&body);
    t = new (lane);
    buf_clear(&out);
    assert_int_equal(translate_request(t, STR("{\"late\":1}"), &out, &err), TRANSLATE_FAILED);
    assert_non_null(strstr(err.text, "is over"));
    translate_free(t);
    t = new (lane);
    assert_int_equal(translate_request(t, STR("{}"), &out, &err), TRANSLATE_OK);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"again\"}"), &out, &err),
                     TRANSLATE_FAILED);
    assert_non_null(strstr(err.text, "emit may only be called"));
    translate_free(t);
    buf_release(&out);
    fixture_release(&f);
}

/* Goal: a loop is stopped and told with its line; a function that needs a request finds none; the
 * lane serves on. */
static void test_misbehaving(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct fake_request r;
    struct buf out;
    struct err err;
    static const char *const bad[][2] = {{"{\"loop\":1}", "lua/dialects/x.lua:4: stopped"},
                                         {"{\"wait\":1}", "while a request is handled"}};

    (void)state;
    buf_init(&out, MIB(1));
    for (size_t i = 0; i < 2; i++) {
        struct translate *t = new (lane);
        assert_int_equal(translate_request(t, str_of(bad[i][0]), &out, &err), TRANSLATE_FAILED);
        assert_non_null(strstr(err.text, bad[i][1]));
        assert_int_equal(out.len, 0);
        translate_free(t);
    }
    assert_int_equal(fixture_run(lane, &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "good");
    buf_release(&out);
    fixture_release(&f);
}

/* Goal: functions that take longer to load than a translation may take do not fail the first
 * request that needs them: loading has the allowance of a load. */
static void test_loading_is_not_translating(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct translate *t = between(lane, "slow");
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, MIB(1));
    assert_int_equal(translate_request(t, STR("{\"a\":1}"), &out, &err), TRANSLATE_OK);
    expect_out(&out, "{\"a\":1}");
    translate_free(t);
    fixture_release(&f);
}

/* Goal: a lane that was retired stays open until its last translation has ended. */
static void test_holds_the_lane(void **state) {
    struct fixture f;
    struct lane *lane = stage(&f);
    struct translate *t = new (lane);
    struct lane_stats stats;
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, MIB(1));
    assert_int_equal(translate_request(t, STR("{}"), &out, &err), TRANSLATE_OK);
    lane_retire(lane);
    assert_int_equal(translate_event(t, STR(""), STR("{\"t\":\"a\"}"), &out, &err), TRANSLATE_OK);
    lane_stats(lane, &stats);
    assert_int_equal(stats.references, 1);
    assert_true(stats.bytes > 0);
    translate_free(t);
    lane_stats(lane, &stats);
    assert_int_equal(stats.references, 0);
    assert_int_equal(stats.bytes, 0);
    buf_release(&out);
    fixture_release(&f);
}

static void feed(struct translate *t, const char *text, struct buf *out) {
    struct err err = {""};
    if (translate_event(t, STR(""), str_of(text), out, &err) != TRANSLATE_OK) {
        fail_msg("%s", err.text);
    }
}

/* Goal: an event that ends a long call has time for all that came before it. */
static void test_long_call(void **state) {
    enum { PIECES = 90, PIECE = 40000 };
    static const char head[] = "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
                               "\"input_json_delta\",\"partial_json\":\"";
    struct translate_order order = {.client = STR("gemini"),
                                    .provider = STR("anthropic"),
                                    .model = STR("m"),
                                    .id = STR("id"),
                                    .now = 1,
                                    .stream = true};
    struct translate *t = translate_new(generation_lane(dialects_generation(), 0), &order);
    struct buf piece, out;
    struct err err = {""};

    (void)state;
    buf_init(&piece, MIB(1));
    buf_init(&out, MIB(16));
    assert_int_equal(buf_adds(&piece, head), 0);
    for (int i = 0; i < PIECE / 4; i++) {
        assert_int_equal(buf_adds(&piece, "[1],"), 0);
    }
    assert_int_equal(buf_adds(&piece, "\"}}"), 0);
    assert_int_equal(
        translate_request(t,
                          STR("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}]}"),
                          &out, &err),
        TRANSLATE_OK);
    buf_clear(&out);
    feed(t,
         "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
         "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}",
         &out);
    feed(t,
         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
         "\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":[\"}}",
         &out);
    for (int i = 0; i < PIECES; i++) {
        feed(t, piece.data, &out);
    }
    feed(t,
         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
         "\"input_json_delta\",\"partial_json\":\"1]}\"}}",
         &out);
    feed(t, "{\"type\":\"content_block_stop\",\"index\":0}", &out);
    feed(t, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}", &out);
    feed(t, "{\"type\":\"message_stop\"}", &out);
    assert_int_equal(translate_finish(t, &out, &err), TRANSLATE_OK);
    assert_true(out.len > (size_t)PIECES * PIECE);
    translate_free(t);
    buf_release(&piece);
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loading_is_not_translating),
                                       cmocka_unit_test(test_steps),
                                       cmocka_unit_test(test_half_an_event),
                                       cmocka_unit_test(test_after_its_end),
                                       cmocka_unit_test(test_misbehaving),
                                       cmocka_unit_test(test_holds_the_lane),
                                       cmocka_unit_test(test_long_call)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
