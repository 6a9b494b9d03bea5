/* SPDX-License-Identifier: MIT */
/*
 * The signs of stream events of the openai dialect: chat completions of many servers, responses,
 * and the streams beside them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "../support/dialects.h"
#include "upstream/dialect.h"

static const struct dialect *openai(void) {
    return shipped_dialect("openai");
}

static unsigned signs_of(const char *type, const char *data, struct usage *usage) {
    struct sse_event e = {.type = str_of(type), .data = str_of(data), .has_data = data != NULL};
    return dialect_event(openai(), &e, usage);
}

#define CHUNK(choice)                                                                              \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","   \
    "\"choices\":[" choice "],\"usage\":null}"
#define DELTA(delta)                                                                               \
    CHUNK("{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":null}")
#define FINISH(reason) CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}")

/* clang-format off */
static const struct {
    const char *type, *data;
    unsigned signs;
} cases[] = {
    /* Chat completions */
    {"", DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"), SIGN_DATA},
    {"", DELTA("{\"role\":\"assistant\",\"content\":null}"), SIGN_DATA},
    {"", DELTA("{}"), SIGN_DATA},
    {"", DELTA("{\"content\":\"Hello\"}"), SIGN_CONTENT},
    {"", DELTA("{\"content\":\" \"}"), SIGN_CONTENT},
    {"", DELTA("{\"content\":[{\"type\":\"thinking\"}]}"), SIGN_CONTENT}, /* Mistral */
    {"", DELTA("{\"content\":[]}"), SIGN_DATA},
    {"", DELTA("{\"reasoning_content\":\"hm\"}"), SIGN_CONTENT}, /* DeepSeek */
    {"", DELTA("{\"content\":null,\"reasoning_content\":\"hm\"}"), SIGN_CONTENT},
    {"", DELTA("{\"content\":\"\",\"reasoning\":\"hm\",\"reasoning_details\":[]}"), SIGN_CONTENT}, /* OpenRouter, Groq */
    {"", DELTA("{\"refusal\":\"no\"}"), SIGN_CONTENT},
    {"", DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"), SIGN_CONTENT},
    {"", DELTA("{\"tool_calls\":[]}"), SIGN_DATA},
    {"", DELTA("{\"function_call\":{\"name\":\"f\"}}"), SIGN_CONTENT},
    {"", DELTA("{\"audio\":{\"id\":\"a\",\"transcript\":\"x\"}}"), SIGN_CONTENT},
    {"", CHUNK("{\"index\":0,\"text\":\"legacy\"}"), SIGN_CONTENT},
    {"", CHUNK("{\"index\":0,\"text\":\"\"}"), SIGN_DATA},
    {"", CHUNK("{\"index\":0,\"delta\":{}},{\"index\":1,\"delta\":{\"content\":\"second\"}}"), SIGN_CONTENT},
    {"", CHUNK("{\"index\":0,\"delta\":{\"content\":\"last\"},\"finish_reason\":\"stop\"}"), SIGN_CONTENT | SIGN_FINISH},
    {"", CHUNK(""), SIGN_DATA},
    {"", FINISH("stop"), SIGN_FINISH},
    {"", FINISH("tool_calls"), SIGN_FINISH},
    {"", FINISH(""), SIGN_DATA},
    {"", FINISH("length"), SIGN_FINISH | SIGN_LENGTH},
    {"", FINISH("content_filter"), SIGN_FINISH | SIGN_FILTERED},
    {"", "[DONE]", SIGN_END},
    {"", " [DONE] ", SIGN_END},
    {"done", "[DONE]", SIGN_END},
    {"", "{\"id\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false}}}]}", SIGN_DATA}, /* Azure */
    {"", "{\"choices\":[],\"error\":null}", SIGN_DATA},
    /* The word "content" in other places is none. */
    {"", "{\"content\":\"x\",\"choices\":[{\"index\":0,\"content\":\"x\",\"delta\":{\"role\":\"assistant\",\"other\":{\"content\":\"x\"}}}]}", SIGN_DATA},

    /* Errors */
    {"", "{\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}", SIGN_ERROR},
    {"", "{\"error\":\"words\"}", SIGN_ERROR},
    {"", "{\"error\":{}}", SIGN_DATA},
    {"", "{\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"code\":400}", SIGN_ERROR}, /* vLLM */
    {"error", "{\"message\":\"m\"}", SIGN_ERROR},
    {"error", "no json", SIGN_ERROR},
    {"", "{\"id\":\"x\",\"error\":{\"code\":502,\"message\":\"m\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}", SIGN_ERROR}, /* OpenRouter */

    /* Responses */
    {"response.created", "{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"error\":null,\"output\":[],\"usage\":null}}", SIGN_DATA},
    {"response.in_progress", "{\"type\":\"response.in_progress\",\"response\":{}}", SIGN_DATA},
    {"response.output_item.added", "{\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\",\"content\":[]}}", SIGN_DATA},
    {"response.content_part.added", "{\"type\":\"response.content_part.added\",\"part\":{\"type\":\"output_text\",\"text\":\"\"}}", SIGN_DATA},
    {"response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"delta\":\"Hi\",\"logprobs\":[]}", SIGN_CONTENT},
    {"", "{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}", SIGN_CONTENT},
    {"response.output_text.delta", "{\"delta\":\"Hi\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.output_text.delta\",\"delta\":\"\"}", SIGN_DATA},
    {"", "{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.reasoning_text.delta\",\"delta\":\"hm\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.refusal.delta\",\"delta\":\"no\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.custom_tool_call_input.delta\",\"delta\":\"x\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.image_generation_call.partial_image\",\"partial_image_b64\":\"x\"}", SIGN_CONTENT},
    {"", "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"name\":\"f\"}}", SIGN_CONTENT},
    {"", "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\"}}", SIGN_DATA},
    {"", "{\"type\":\"response.output_text.done\",\"text\":\"Hi\"}", SIGN_DATA},
    {"response.completed", "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}", SIGN_FINISH | SIGN_END},
    {"", "{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}", SIGN_FINISH | SIGN_END | SIGN_LENGTH},
    {"", "{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"content_filter\"}}}", SIGN_FINISH | SIGN_END | SIGN_FILTERED},
    {"", "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}", SIGN_ERROR | SIGN_END},
    {"error", "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"param\":null,\"sequence_number\":1}", SIGN_ERROR},

    /* Beside them */
    {"thread.message.delta", "{\"id\":\"m\",\"object\":\"thread.message.delta\",\"delta\":{\"content\":[{\"type\":\"text\"}]}}", SIGN_CONTENT},
    {"", "{\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}", SIGN_CONTENT},
    {"", "{\"type\":\"transcript.text.done\",\"text\":\"Hi\"}", SIGN_FINISH | SIGN_END},
    {"", "{\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}", SIGN_CONTENT},
    {"", "{\"type\":\"image_generation.partial_image\",\"b64_json\":\"x\"}", SIGN_CONTENT},

    /* Rubbish */
    {"", "{\"choices\":[{\"delta\":{\"content\":\"cut", SIGN_MALFORMED},
    {"", "{\"choices\":[}", SIGN_MALFORMED},
    {"", DELTA("{\"content\":\"x\"}") "}", SIGN_MALFORMED},
    {"", "words", SIGN_MALFORMED},
    {"", "[DONE", SIGN_MALFORMED},
    {"", "[]", SIGN_DATA},
    {"", "1", SIGN_DATA},
    {"", "", 0},
    {"", NULL, 0},
};
/* clang-format on */

/* Goal: every event is told for what it is. */
static void test_signs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct usage u = {false, -1, -1, -1, -1};
        unsigned got = signs_of(cases[i].type, cases[i].data, &u);
        if (got != cases[i].signs) {
            fail_msg("event '%s' %s: signs %u, expected %u", cases[i].type,
                     cases[i].data ? cases[i].data : "(none)", got, cases[i].signs);
        }
        assert_false(u.seen);
    }
}

/* Goal: usage is taken from the event that tells it, and kept over those that do not. */
static void test_usage(void **state) {
    struct usage u = {false, -1, -1, -1, -1};
    (void)state;
    assert_int_equal(signs_of("",
                              "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_"
                              "tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
                              &u),
                     SIGN_DATA);
    assert_true(u.seen);
    assert_int_equal(u.input, 3);
    assert_int_equal(u.output, 4);
    assert_int_equal(u.cached, 2);
    assert_int_equal(u.reasoning, -1);
    assert_int_equal(signs_of("", "{\"choices\":[],\"usage\":null}", &u), SIGN_DATA);
    assert_int_equal(signs_of("", "[DONE]", &u), SIGN_END);
    assert_int_equal(u.input, 3);
    signs_of("",
             "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":5,"
             "\"output_tokens\":6,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}",
             &u);
    assert_int_equal(u.input, 5);
    assert_int_equal(u.output, 6);
    assert_int_equal(u.reasoning, 1);
    signs_of("",
             "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
             "\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9}}}",
             &u);
    assert_int_equal(u.input, 8);
}

/* Goal: an error event says the status that its type stands for, and its own words. */
static void test_error_events(void **state) {
    static const struct {
        const char *data;
        int status;
        const char *code, *message;
    } errors[] = {
        {"{\"error\":{\"message\":\"slow\",\"type\":\"rate_limit_error\",\"code\":null}}", 429,
         "rate_limit_error", "slow"},
        {"{\"error\":{\"message\":\"Rate limit reached for "
         "x\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
         429, "rate_limit_exceeded", "Rate limit reached for x"},
        {"{\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}", 503,
         "overloaded_error", "Overloaded"},
        {"{\"error\":{\"message\":\"The server had an "
         "error\",\"type\":\"server_error\",\"code\":null}}",
         500, "server_error", "The server had an error"},
        {"{\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"code\":400}", 400,
         "BadRequestError", "m"},
        {"{\"id\":\"x\",\"error\":{\"code\":502,\"message\":\"Provider "
         "disconnected\"},\"choices\":[]}",
         502, "502", "Provider disconnected"},
        {"{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"param\":null}",
         429, "rate_limit_exceeded", "m"},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\","
         "\"message\":\"m\"}}}",
         500, "server_error", "m"},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\","
         "\"message\":\"m\"}}}",
         429, "rate_limit_exceeded", "m"},
        {"Internal error", 500, "", "Internal error"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct sse_event e = {.data = str_of(errors[i].data), .has_data = true};
        struct verdict v;
        dialect_event_error(openai(), &e, &v);
        assert_int_equal(v.outcome, OUTCOME_ERROR_EVENT);
        if (v.status != errors[i].status) {
            fail_msg("%s: status %d, expected %d", errors[i].data, v.status, errors[i].status);
        }
        assert_string_equal(v.code, errors[i].code);
        assert_string_equal(v.message, errors[i].message);
    }
}

/* Goal: no prefix of any event is taken for a whole one: cut anywhere, it is malformed. */
static void test_prefixes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].data ? strlen(cases[i].data) : 0;
        if (n == 0 || cases[i].data[0] != '{' || cases[i].signs == SIGN_MALFORMED) {
            continue;
        }
        for (size_t k = 1; k + 1 < n; k++) {
            struct usage u = {false, -1, -1, -1, -1};
            struct sse_event e = {.data = str_make(cases[i].data, k), .has_data = true};
            if (dialect_event(openai(), &e, &u) != SIGN_MALFORMED) {
                fail_msg("the first %zu bytes of %s", k, cases[i].data);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_error_events),
        cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
