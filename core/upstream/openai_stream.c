/* SPDX-License-Identifier: MIT */
/*
 * What an event of an OpenAI stream means: chat completions, legacy completions, responses, and the
 * streams of the endpoints beside them. Runs for each event that is relayed, so it goes over the
 * JSON once, from outside in, and looks only at the few fields that can matter. Keys are compared
 * as they are written: none of these is ever escaped by a real server, and one that is counts as
 * unknown.
 */
#include "base/jscan.h"
#include "upstream/dialect_impl.h"

/* Inline, since it runs for each key of each event; `name` is a literal, so its length costs
 * nothing. */
static inline bool str_same(struct str a, struct str b) {
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static inline bool key_is(struct str key, const char *name) {
    return str_same(key, str_of(name));
}

static bool is_literal(struct str text, const struct jvalue *v, const char *literal) {
    size_t n = strlen(literal);
    return v->type == JTYPE_STRING && v->len == n + 2 &&
           memcmp(text.p + v->off + 1, literal, n) == 0;
}

static struct str inside(struct str text, const struct jvalue *v) {
    return v->type == JTYPE_STRING ? str_make(text.p + v->off + 1, v->len - 2) : str_make(NULL, 0);
}

bool openai_closed(struct str text, size_t pos, const struct jvalue *last) {
    return pos == text.n && last->off + last->len < pos;
}

/* A string, list or object with something in it. */
bool openai_filled(struct str text, const struct jvalue *v) {
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    switch (v->type) {
    case JTYPE_STRING:
        return v->len > 2;
    case JTYPE_ARRAY:
    case JTYPE_OBJECT:
        return jscan_next(text, v, &pos, &key, &item) == 1;
    default:
        return false;
    }
}

/* Does a delta or a message have content in it? */
static bool said(struct str text, const struct jvalue *message) {
    static const struct str names[] = {
#define N(literal) {literal, sizeof(literal) - 1}
        N("content"), N("reasoning_content"), N("reasoning"),         N("refusal"), N("tool_calls"),
        N("text"),    N("function_call"),     N("reasoning_details"), N("audio"),   N("images"),
#undef N
    };
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    if (message->type != JTYPE_OBJECT) {
        return false;
    }
    while (jscan_next(text, message, &pos, &key, &item) == 1) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (str_same(key, names[i]) && openai_filled(text, &item)) {
                return true;
            }
        }
    }
    return false;
}

static unsigned finish_signs(struct str text, const struct jvalue *reason) {
    if (reason->type != JTYPE_STRING || reason->len == 2) {
        return 0;
    }
    if (is_literal(text, reason, "error")) {
        return SIGN_ERROR; /* OpenRouter: the model behind it failed; the error stands beside */
    }
    unsigned signs = SIGN_FINISH;
    signs |= is_literal(text, reason, "content_filter") ? SIGN_FILTERED : 0;
    signs |= is_literal(text, reason, "length") ? SIGN_LENGTH : 0;
    return signs;
}

static unsigned choice_signs(struct str text, const struct jvalue *choice) {
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    unsigned signs = 0;
    while (jscan_next(text, choice, &pos, &key, &item) == 1) {
        if (key_is(key, "delta") || key_is(key, "message")) {
            signs |= said(text, &item) ? SIGN_CONTENT : 0;
        } else if (key_is(key, "text")) {
            signs |= openai_filled(text, &item) ? SIGN_CONTENT : 0;
        } else if (key_is(key, "finish_reason")) {
            signs |= finish_signs(text, &item);
        }
    }
    return signs;
}

unsigned openai_choices(struct str text, const struct jvalue *choices) {
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    unsigned signs = 0;
    while (jscan_next(text, choices, &pos, &key, &item) == 1) {
        signs |= choice_signs(text, &item);
    }
    return signs;
}

static void read_count(struct str text, const struct jvalue *v, long long *to) {
    double n;
    if (v->type == JTYPE_NUMBER && jscan_number(text, v, &n) && n >= 0 && n < 1e15) {
        *to = (long long)n;
    }
}

/* The two spellings of chat completions and responses, and what DeepSeek says of its cache. */
bool openai_read_usage(struct str text, const struct jvalue *object, struct usage *usage) {
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    struct usage u = {false, -1, -1, -1, -1};
    while (jscan_next(text, object, &pos, &key, &item) == 1) {
        if (key_is(key, "prompt_tokens") || key_is(key, "input_tokens")) {
            read_count(text, &item, &u.input);
        } else if (key_is(key, "completion_tokens") || key_is(key, "output_tokens")) {
            read_count(text, &item, &u.output);
        } else if (key_is(key, "prompt_cache_hit_tokens")) {
            read_count(text, &item, &u.cached);
        } else if (item.type == JTYPE_OBJECT && str_ends(key, "_details")) {
            struct jvalue detail;
            size_t at = 0;
            while (jscan_next(text, &item, &at, &key, &detail) == 1) {
                if (key_is(key, "cached_tokens")) {
                    read_count(text, &detail, &u.cached);
                } else if (key_is(key, "reasoning_tokens")) {
                    read_count(text, &detail, &u.reasoning);
                }
            }
        }
    }
    if (u.input >= 0 || u.output >= 0) {
        u.seen = true;
        *usage = u;
    }
    return u.seen;
}

static void read_usage_of(struct str text, const struct jvalue *object, struct usage *usage) {
    struct jvalue v;
    struct str raw = jvalue_raw(text, object);
    if (jscan_find(raw, "usage", &v) == 1) {
        openai_read_usage(raw, &v, usage);
    }
}

/* Events that are told by their type. */
static const struct {
    const char *type;
    unsigned signs;
} types[] = {
    {"response.completed", SIGN_FINISH | SIGN_END},
    {"response.incomplete", SIGN_FINISH | SIGN_END},
    {"response.failed", SIGN_ERROR | SIGN_END},
    {"response.cancelled", SIGN_ERROR | SIGN_END},
    {"error", SIGN_ERROR},
    {"transcript.text.done", SIGN_FINISH | SIGN_END},
    {"speech.audio.done", SIGN_FINISH | SIGN_END},
    {"image_generation.completed", SIGN_CONTENT | SIGN_FINISH | SIGN_END},
    {"image_edit.completed", SIGN_CONTENT | SIGN_FINISH | SIGN_END},
    {"thread.run.completed", SIGN_FINISH},
    {"thread.run.incomplete", SIGN_FINISH},
    {"thread.run.requires_action", SIGN_FINISH},
    {"thread.run.failed", SIGN_ERROR},
};

struct event_fields {
    struct jvalue type, delta, response, item, usage, groq;
};

static unsigned typed_signs(struct str text, struct str type, const struct event_fields *f) {
    struct jvalue v;
    if (type.n == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!key_is(type, types[i].type)) {
            continue;
        }
        unsigned signs = types[i].signs;
        if (f->response.type == JTYPE_OBJECT &&
            jscan_find(jvalue_raw(text, &f->response), "incomplete_details.reason", &v) == 1) {
            struct str raw = jvalue_raw(text, &f->response);
            signs |= is_literal(raw, &v, "content_filter") ? SIGN_FILTERED : 0;
            signs |= is_literal(raw, &v, "max_output_tokens") ? SIGN_LENGTH : 0;
        }
        return signs;
    }
    if (str_ends(type,
                 "delta")) { /* response.*.delta, transcript.text.delta, thread.message.delta … */
        return f->delta.type == JTYPE_NONE || openai_filled(text, &f->delta) ? SIGN_CONTENT : 0;
    }
    if (str_ends(type, "partial_image")) {
        return SIGN_CONTENT;
    }
    if (key_is(type, "response.output_item.done") && f->item.type == JTYPE_OBJECT) {
        struct str raw = jvalue_raw(text, &f->item);
        /* A call that was made whole shows in no delta. */
        return jscan_find(raw, "type", &v) == 1 && str_ends(inside(raw, &v), "_call") ? SIGN_CONTENT
                                                                                      : 0;
    }
    return 0;
}

/* One pass over the top level. -1: no JSON. */
static int object_signs(struct str text, struct str sse_type, struct usage *usage) {
    struct event_fields f = {0};
    struct jvalue whole = {JTYPE_OBJECT, 0, text.n}, item = {0};
    struct str key;
    size_t pos = 0;
    unsigned signs = 0;
    int more;
    while ((more = jscan_next(text, &whole, &pos, &key, &item)) == 1) {
        if (key_is(key, "choices")) {
            signs |= openai_choices(text, &item);
        } else if (key_is(key, "error")) {
            signs |= openai_filled(text, &item) ? SIGN_ERROR : 0;
        } else if (key_is(key, "object")) {
            signs |= is_literal(text, &item, "error") ? SIGN_ERROR : 0;
        } else if (key_is(key, "type")) {
            f.type = item;
        } else if (key_is(key, "delta") || key_is(key, "audio")) {
            f.delta = item;
        } else if (key_is(key, "response")) {
            f.response = item;
        } else if (key_is(key, "item")) {
            f.item = item;
        } else if (key_is(key, "usage")) {
            f.usage = item;
        } else if (key_is(key, "x_groq")) {
            f.groq = item;
        }
    }
    if (more < 0 || !openai_closed(text, pos, &item)) {
        return -1;
    }
    struct str type = f.type.type == JTYPE_STRING ? inside(text, &f.type) : sse_type;
    signs |= typed_signs(text, type, &f);
    if (f.usage.type == JTYPE_OBJECT) {
        openai_read_usage(text, &f.usage, usage);
    } else if (f.groq.type == JTYPE_OBJECT) {
        read_usage_of(text, &f.groq, usage);
    } else if (f.response.type == JTYPE_OBJECT && (signs & (SIGN_END | SIGN_ERROR))) {
        read_usage_of(text, &f.response, usage);
    }
    return (int)(signs ? signs : SIGN_DATA);
}

unsigned openai_event(const struct sse_event *event, struct usage *usage) {
    struct str text = openai_trim(event->data);
    if (text.n == 0) {
        return 0;
    }
    if (str_is(text, "[DONE]")) {
        return SIGN_END;
    }
    if (text.p[0] == '{') {
        int signs = object_signs(text, event->type, usage);
        return signs < 0 ? SIGN_MALFORMED : (unsigned)signs;
    }
    if (str_is(event->type, "error")) {
        return SIGN_ERROR; /* whatever it says */
    }
    return jscan_check(text, NULL) == JSCAN_OK ? SIGN_DATA : SIGN_MALFORMED;
}
