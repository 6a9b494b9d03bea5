/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out under what lies between dialects: each allocation of a translated request,
 * answer and stream, of a signed one in AWS's frames, of a sealed body, of a pool of keys and of
 * public names of models fails in turn, ours and Lua's. Nothing crashes or leaks (ASan looks),
 * nobody is told that half an answer is whole, and the next request works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOME 40 /* each act is two requests */
#define WORLD_CONFIG                                                                               \
    "return { listen = '127.0.0.1:0', workers = 1, log = { level = 'debug' }, providers = {\n"     \
    "  a = { dialect = 'anthropic', base_url = 'http://a.test/v1', api_key = 'sk-aaaaaa' %s },\n"  \
    "  b = { dialect = 'openai', base_url = 'http://b.test/v1', api_key = 'sk-bbbbbb' },\n"        \
    "  c = { dialect = 'gemini', base_url = 'http://c.test/v1beta', api_key = 'sk-cccccc' },\n"    \
    "  d = { dialect = 'bedrock', base_url = 'http://d.test', aws = { access_key = "               \
    "'AKIDEXAMPLE',\n"                                                                             \
    "    secret_key = 'sk-dddddd', session_token = '', region = 'us-east-1' } },\n"                \
    "  e = { dialect = 'openai', base_url = 'http://e.test/v1', api_keys = {\n"                    \
    "    { name = 'one', secret = 'sk-eeeeee' }, { name = 'two', secret = 'sk-ffffff' } } } },\n"  \
    "  routes = { { name = 'chat', path = '/*', policy = '%s',\n"                                  \
    "    models = { fast = { 'b/m', 'c/m' }, 'gpt*', 'm*' },\n"                                    \
    "    settings = { targets = { 'a/m', 'b/m', 'c/m' } } } } }\n"

#include "policy/lane.h"

#include "../support/failing_requests.h"
#include "../support/frames.h"

#define CHAT "/v1/chat/completions"
#define SEND(target) "return req:send('" target "')"

/* ---- what is asked ---- */

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"               \
    "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}}}}}]"
#define OPENAI(more) "{\"model\":\"gpt\",\"messages\":[" MESSAGES "]," TOOLS more "}"
#define MESSAGES                                                                                   \
    "{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":["              \
    "{\"type\":\"text\",\"text\":\"hello\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"       \
    "\"data:image/png;base64," LONG "\"}}]},"                                                      \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"            \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\\\"y\\\"}\"}}]},"       \
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"done\"}"
/* Longer than what becomes a Lua string. */
#define LONG TEN(TEN(TEN("iVBORw")))
#define TEN(text) text text text text text text text text text text
#define STREAM_TRUE ",\"stream\":true"
#define ANTHROPIC(more)                                                                            \
    "{\"model\":\"m\",\"max_tokens\":9,\"system\":\"be brief\",\"messages\":[{\"role\":\"user\","  \
    "\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}]" more "}"
#define GEMINI "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hello\"}]}]}"
#define RESPONSES(more) "{\"model\":\"m\",\"input\":\"hello\"" more "}"
#define SEALED                                                                                     \
    "{\"model\":\"gpt\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"                    \
    "\"metadata\":{\"k\":\"moongateanthQUJD\"}}"

/* ---- what is answered ---- */

#define ANTHROPIC_BODY                                                                             \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":["  \
    "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"QUJD\"},"                          \
    "{\"type\":\"text\",\"text\":\"hi\"},"                                                         \
    "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{\"x\":\"y\"}}],"               \
    "\"stop_reason\":\"tool_use\",\"stop_sequence\":null,"                                         \
    "\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}"
#define SAYS(type, more) "event: " type "\ndata: {\"type\":\"" type "\"" more "}\n\n"
#define GEMINI_BODY                                                                                \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"},{\"functionCall\":{\"name\":"     \
    "\"f\",\"args\":{\"x\":\"y\"}}}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}]," \
    "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2}}"

static void say_anthropic(struct scripted_transfer *it) {
    say_head(it, 200, "text/event-stream");
    say(it, SAYS("message_start",
                 ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
                 "\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3}}"));
    say(it, SAYS("content_block_start",
                 ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                SAYS("content_block_delta",
                     ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"one\"}"));
    say(it, SAYS("content_block_stop", ",\"index\":0")
                SAYS("content_block_start", ",\"index\":1,\"content_block\":{\"type\":\"tool_use\","
                                            "\"id\":\"t1\",\"name\":\"f\",\"input\":{}}"));
    say(it, SAYS("content_block_delta", ",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
                                        "\"partial_json\":\"{\\\"x\\\":1}\"}")
                SAYS("content_block_stop", ",\"index\":1"));
    say(it, SAYS("message_delta", ",\"delta\":{\"stop_reason\":\"tool_use\"},"
                                  "\"usage\":{\"output_tokens\":2}") "event: message_stop\nda");
    say(it, "ta: {\"type\":\"message_stop\"}\n\n");
    say_done(it, OUTCOME_OK);
}

/* In AWS's frames, one of them in two parts. */
static void say_bedrock(struct scripted_transfer *it) {
    struct buf bytes;
    bool on = failing_pause();
    buf_init(&bytes, KIB(16));
    frames_message(&bytes, "event", "messageStart", "{\"role\":\"assistant\"}");
    frames_message(&bytes, "event", "contentBlockDelta",
                   "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"one\"}}");
    frames_message(&bytes, "event", "contentBlockStop", "{\"contentBlockIndex\":0}");
    frames_message(&bytes, "event", "messageStop", "{\"stopReason\":\"end_turn\"}");
    frames_message(&bytes, "event", "metadata", "{\"usage\":{\"inputTokens\":1}}");
    failing_go_on(on);
    say_head(it, 200, "application/vnd.amazon.eventstream");
    size_t half = bytes.len / 2;
    if (it->live) {
        it->events.data(it->ctx, bytes.data, half);
    }
    if (it->live) {
        it->events.data(it->ctx, bytes.data + half, bytes.len - half);
    }
    say_done(it, OUTCOME_OK);
    buf_release(&bytes);
}

/* A: Anthropic's answer; S: its stream; G: Gemini's answer; F: Bedrock's frames; K: the key is
 * refused */
static void play_own(struct scripted_transfer *it, char letter) {
    if (letter == 'A') {
        say_json(it, 200, ANTHROPIC_BODY);
    } else if (letter == 'S') {
        say_anthropic(it);
    } else if (letter == 'G') {
        say_json(it, 200, GEMINI_BODY);
    } else if (letter == 'F') {
        say_bedrock(it);
    } else {
        say_json(it, 401, ERROR_BODY);
    }
}

struct shape {
    const char *name, *handle, *method, *path, *body, *plays;
    int status;
    const char *has, *planned; /* as in struct asking */
};

static const struct shape SHAPES[] = {
    {"openai <- anthropic", SEND("a/m"), "POST", CHAT, OPENAI(""), "A", 200, "\"content\":\"hi\"",
     NULL},
    {"openai <- anthropic, a stream", SEND("a/m"), "POST", CHAT, OPENAI(STREAM_TRUE), "S", 200,
     "data: [DONE]", NULL},
    {"openai <- gemini", SEND("c/m"), "POST", CHAT, OPENAI(""), "G", 200, "\"content\":\"hi\"",
     NULL},
    {"anthropic <- openai", SEND("b/m"), "POST", "/v1/messages", ANTHROPIC(""), "g", 200,
     "\"text\":\"hi\"", NULL},
    {"anthropic <- openai, a stream", SEND("b/m"), "POST", "/v1/messages", ANTHROPIC(STREAM_TRUE),
     "s", 200, "event: message_stop", NULL},
    {"gemini <- openai", SEND("b/m"), "POST", "/v1beta/models/m:generateContent", GEMINI, "g", 200,
     "\"text\":\"hi\"", NULL},
    {"gemini <- openai, a stream", SEND("b/m"), "POST",
     "/v1beta/models/m:streamGenerateContent?alt=sse", GEMINI, "s", 200, "\"finishReason\"", NULL},
    {"responses <- bedrock, signed and in frames", SEND("d/m"), "POST", "/v1/responses",
     RESPONSES(STREAM_TRUE), "F", 200, "response.completed", NULL},
    {"a sealed body through its own dialect", SEND("b/m"), "POST", CHAT, SEALED, "g", 200,
     "\"content\":\"hi\"", NULL},
    {"failover to another dialect",
     "local a = req:send('b/m'); if a.ok then return a end; return req:send('a/m')", "POST", CHAT,
     OPENAI(STREAM_TRUE), "eS", 200, "data: [DONE]", NULL},
    {"an error of another dialect", SEND("b/m"), "POST", "/v1/messages", ANTHROPIC(""), "e", 503,
     "\"error\"", NULL},
    {"a strict refusal", "return req:send('a/m', { strict = true })", "POST", CHAT,
     OPENAI(",\"logit_bias\":{\"1\":2}"), "A", 400, "logit_bias", "\"content\":\"hi\""},
    {"a pool of keys", "moongate.resume('e#one') return require('moongate.keys').send(req, 'e/m')",
     "POST", CHAT, ASK_PLAIN, "Kg", 200, "\"content\":\"hi\"", NULL},
    {"a model's public name", "return req:send(settings.targets[1])", "POST", "/v1/messages",
     "{\"model\":\"fast\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "g", 200, "\"text\":\"hi\"", NULL},
    {"the models of a dialect", SEND("a/m"), "GET", "/v1beta/models", "", "g", 200, "models/fast",
     NULL},
};

static char *request_of(const struct shape *s) {
    char *text = NULL;
    assert_true(asprintf(&text,
                         "%s %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                         "content-length: %zu\r\n\r\n%s",
                         s->method, s->path, strlen(s->body), s->body) > 0);
    return text;
}

static void requests(void **state) {
    /* Goal: whichever allocation fails, its client is told no falsehood, nothing is left over, and
     * the next request is answered. */
    for (size_t i = 0; i < sizeof(SHAPES) / sizeof(*SHAPES); i++) {
        const struct shape *s = &SHAPES[i];
        char *text = request_of(s);
        struct asking a = {.world = asking_world(*state, s->handle),
                           .text = text,
                           .plays = s->plays,
                           .status = s->status,
                           .has = s->has,
                           .planned = s->planned,
                           .play_own = play_own};
        size_t failures = sweep(ask_and_again, &a);
        printf("%s: %zu failures; %zu good answers, %zu errors, %zu closed; %zu allocations\n",
               s->name, failures, a.whole, a.errors, a.closed, failing()->n);
        assert_true(failures >= 10);
        world_free(a.world);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests, folder_make, folder_remove),
    };
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
