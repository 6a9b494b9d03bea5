/* SPDX-License-Identifier: MIT */
/*
 * OpenAI's whole answers: is a 200 an answer at all, what does an error say, what was used, and how
 * the gateway says an error of its own. The servers that speak this dialect agree on success and on
 * little else: errors come in a dozen shapes, all read here.
 */
#include "base/jscan.h"
#include "upstream/dialect_impl.h"

struct str openai_trim(struct str s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n' || s.p[0] == '\r')) {
        s = str_make(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\n' ||
                       s.p[s.n - 1] == '\r')) {
        s.n--;
    }
    return s;
}

/* ---- Is it an answer? ---- */

enum endpoint { OTHER, BODY_NEEDED, CHAT, RESPONSES };

static enum endpoint endpoint_of(struct str path) {
    static const char *const with_body[] = {
        "/embeddings",           "/moderations",        "/images/generations",
        "/images/edits",         "/images/variations",  "/audio/speech",
        "/audio/transcriptions", "/audio/translations", "/rerank"};
    if (str_ends(path, "/completions")) {
        return CHAT;
    }
    if (str_ends(path, "/responses")) {
        return RESPONSES;
    }
    for (size_t i = 0; i < sizeof with_body / sizeof *with_body; i++) {
        if (str_ends(path, with_body[i])) {
            return BODY_NEEDED;
        }
    }
    return OTHER;
}

struct fields {
    struct jvalue error, object, choices, status, output, reason, usage;
};

static bool read_fields(struct str text, struct fields *f) {
    struct jvalue whole = {JTYPE_OBJECT, 0, text.n}, item = {0};
    struct str key;
    size_t pos = 0;
    int more;
    while ((more = jscan_next(text, &whole, &pos, &key, &item)) == 1) {
        if (str_is(key, "error")) {
            f->error = item;
        } else if (str_is(key, "object")) {
            f->object = item;
        } else if (str_is(key, "choices")) {
            f->choices = item;
        } else if (str_is(key, "status")) {
            f->status = item;
        } else if (str_is(key, "output")) {
            f->output = item;
        } else if (str_is(key, "usage") && f->usage.type == JTYPE_NONE) {
            f->usage = item;
        } else if (str_is(key, "incomplete_details") && item.type == JTYPE_OBJECT) {
            struct str raw = jvalue_raw(text, &item);
            if (jscan_find(raw, "reason", &f->reason) == 1) {
                f->reason.off += item.off;
            }
        }
    }
    return more == 0 && openai_closed(text, pos, &item);
}

static enum outcome judge_chat(struct str text, const struct fields *f) {
    unsigned signs = openai_choices(text, &f->choices);
    if (signs & SIGN_CONTENT) {
        return OUTCOME_OK;
    }
    if (signs & SIGN_ERROR) {
        return OUTCOME_ERROR_EVENT;
    }
    if (signs & SIGN_FILTERED) {
        return OUTCOME_CONTENT_FILTERED;
    }
    return signs & SIGN_LENGTH ? OUTCOME_OK : OUTCOME_EMPTY_RESPONSE;
}

static enum outcome judge_response(struct str text, const struct fields *f) {
    bool output = openai_filled(text, &f->output);
    if (jscan_string_is(text, &f->status, "failed")) {
        return OUTCOME_ERROR_EVENT;
    }
    if (output) {
        return OUTCOME_OK;
    }
    if (jscan_string_is(text, &f->reason, "content_filter")) {
        return OUTCOME_CONTENT_FILTERED;
    }
    /* Queued, in progress, cancelled, or out of tokens: nothing said is then what the caller asked
     * for. */
    bool done = f->status.type != JTYPE_STRING || jscan_string_is(text, &f->status, "completed");
    return done ? OUTCOME_EMPTY_RESPONSE : OUTCOME_OK;
}

enum outcome openai_judge_plain(struct str path, bool json, struct str body, struct usage *usage) {
    enum endpoint endpoint = endpoint_of(path);
    struct str text = openai_trim(body);
    struct fields f = {0};
    if (text.n == 0) {
        return endpoint == OTHER ? OUTCOME_OK : OUTCOME_EMPTY_RESPONSE;
    }
    bool must_be_json = json || endpoint == CHAT || endpoint == RESPONSES;
    if (!must_be_json) {
        return OUTCOME_OK;
    }
    if (text.p[0] != '{') {
        return jscan_check(text, NULL) == JSCAN_OK && endpoint != CHAT ? OUTCOME_OK
                                                                       : OUTCOME_INVALID_RESPONSE;
    }
    if (!read_fields(text, &f)) {
        return OUTCOME_INVALID_RESPONSE;
    }
    if (f.usage.type == JTYPE_OBJECT) {
        openai_read_usage(text, &f.usage, usage);
    }
    /* Jobs and runs say with `error` how they ended: such an object is an answer, unless it was an
     * answer of the model's that was asked for. */
    bool error_object = jscan_string_is(text, &f.object, "error");
    if (error_object ||
        (openai_filled(text, &f.error) && (endpoint != OTHER || f.object.type == JTYPE_NONE))) {
        return OUTCOME_ERROR_EVENT;
    }
    if (endpoint == CHAT && !jscan_string_is(text, &f.object, "list")) {
        return judge_chat(text, &f);
    }
    return endpoint == RESPONSES ? judge_response(text, &f) : OUTCOME_OK;
}

void openai_usage(struct str body, struct usage *out) {
    struct jvalue v;
    if (jscan_find(body, "usage", &v) == 1 && v.type == JTYPE_OBJECT) {
        openai_read_usage(body, &v, out);
    }
}

/* ---- What does an error say? ---- */

/* The first of the paths that holds a string or a number, as it is written. */
static struct str first_of(struct str text, const char *const *paths) {
    struct jvalue v;
    for (; *paths; paths++) {
        if (jscan_find(text, *paths, &v) != 1) {
            continue;
        }
        if (v.type == JTYPE_NUMBER) {
            return jvalue_raw(text, &v);
        }
        if (v.type == JTYPE_STRING && v.len > 2) {
            return str_make(text.p + v.off + 1, v.len - 2);
        }
    }
    return str_make(NULL, 0);
}

/* Text or, where a server puts a list or an object in its place, that as it is written. */
static bool add_text(struct str text, const char *path, struct buf *out) {
    struct jvalue v;
    if (jscan_find(text, path, &v) != 1 || !openai_filled(text, &v)) {
        return false;
    }
    size_t before = out->len;
    int rc = v.type == JTYPE_STRING ? jscan_string(text, &v, out)
                                    : buf_add_str(out, jvalue_raw(text, &v));
    return rc == 0 && out->len > before;
}

static void add_words(struct error_facts *f, struct str s) {
    size_t room = f->words.max - f->words.len;
    if (buf_add_str(&f->words, str_make(s.p, s.n < room ? s.n : room)) != 0) {
        return; /* memory: fewer words to go by, and the status still decides */
    }
}

static void read_status(struct str text, struct error_facts *f) {
    static const char *const paths[] = {"error.code", "error.status",         "error.status_code",
                                        "code",       "status_code",          "statusCode",
                                        "status",     "choices.0.error.code", NULL};
    for (size_t i = 0; paths[i]; i++) {
        const char *one[] = {paths[i], NULL};
        unsigned long long n;
        if (str_to_u64(first_of(text, one), &n) && n >= 400 && n <= 599) {
            f->status = (int)n;
            return;
        }
    }
}

static void read_message(struct str text, struct error_facts *f) {
    static const char *const paths[] = {"error.message",
                                        "response.error.message",
                                        "message",
                                        "detail",
                                        "errors.0.message",
                                        "choices.0.error.message",
                                        "error.error.message",
                                        "msg",
                                        "Message",
                                        "error",
                                        NULL};
    for (size_t i = 0; paths[i] && !add_text(text, paths[i], &f->message); i++) {
    }
    add_words(f, buf_str(&f->message));
    struct buf raw; /* what the provider behind a relay said */
    buf_init(&raw, MAX_PLAIN_BODY);
    if (add_text(text, "error.metadata.raw", &raw)) {
        add_words(f, STR("\n"));
        add_words(f, buf_str(&raw));
    }
    buf_release(&raw);
}

void openai_read_error(struct str body, struct error_facts *f) {
    static const char *const codes[] = {
        "error.code", "response.error.code", "choices.0.error.code", "errors.0.code", "code", NULL};
    static const char *const types[] = {"error.type", "error.status", "response.error.type",
                                        "error_type", "type",         NULL};
    static const char *const inner[] = {"error.innererror.code", "error.inner_error.code",
                                        "error.details.0.reason", "error.metadata.error_type",
                                        NULL};
    struct str text = openai_trim(body);
    struct jvalue v;
    if (text.n > 0 && text.p[0] == '[' && jscan_find(text, "0", &v) == 1) {
        text = jvalue_raw(text, &v); /* Google puts its error into a list */
    }
    if (text.n == 0 || text.p[0] == '<') {
        return; /* a page of some proxy: its words are nobody's we know */
    }
    if (text.p[0] != '{') {
        if (buf_add_str(&f->message,
                        str_make(text.p, text.n < MAX_ERROR_WORDS ? text.n : MAX_ERROR_WORDS)) ==
            0) {
            add_words(f, buf_str(&f->message));
        }
        return;
    }
    f->code = first_of(text, codes);
    f->type = first_of(text, types);
    f->inner = first_of(text, inner);
    if (str_is(f->type, "error")) {
        f->type = str_make(NULL, 0);
    }
    read_status(text, f);
    read_message(text, f);
}

/* ---- An error of our own ---- */

int openai_write_error(struct buf *out, const char *type, const char *code, const char *message) {
    size_t before = out->len;
    if (buf_adds(out, "{\"error\":{\"message\":") != 0 ||
        json_write_string(out, str_of(message)) != 0 || buf_adds(out, ",\"type\":") != 0 ||
        json_write_string(out, str_of(type)) != 0 ||
        buf_adds(out, ",\"param\":null,\"code\":") != 0 ||
        (code ? json_write_string(out, str_of(code)) : buf_adds(out, "null")) != 0 ||
        buf_adds(out, "}}") != 0) {
        buf_truncate(out, before);
        return -1;
    }
    return 0;
}
