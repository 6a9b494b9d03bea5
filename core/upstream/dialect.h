/* SPDX-License-Identifier: MIT */
/*
 * What a provider's API looks like, as data: which answers mean what, which events of a stream
 * carry content, where usage stands, how errors are written, and how requests are told. The data is
 * that of a dialect's file (lua/dialects/NAME.lua; its language: lua/dialects/README.md), compiled
 * once per load. What is compiled never changes: pure functions over bytes, thread-safe.
 */
#ifndef UPSTREAM_DIALECT_H
#define UPSTREAM_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/value.h"
#include "config/config.h"
#include "net/headers.h"
#include "net/sse.h"
#include "upstream/outcome.h"

struct usage {
    bool seen;
    long long input, output, cached, reasoning; /* -1 = not said */
};

/* What an answer (or an error event) turned out to be. */
struct verdict {
    enum outcome outcome;
    enum outcome means;        /* of an error event: what its words mean, "overloaded", say; of all
                                  else the same as outcome */
    int status;                /* the answer's; of an error event what its type stands for */
    char code[MAX_CODE];       /* the provider's error code or type, empty when none */
    char message[MAX_MESSAGE]; /* the provider's words, cut at the maximum on a UTF-8 boundary,
                                  empty when none. Not masked yet */
    struct usage usage;        /* of an answer, where judging came across it; see dialect_usage */
    double retry_after;        /* seconds that the error's body asks to wait; 0: it does not say */
};

enum stream_sign {
    SIGN_CONTENT = 1, /* text, reasoning, refusal or tool-call delta that is not empty */
    SIGN_ERROR = 2,   /* an error event; read it with dialect_event_error */
    SIGN_FINISH = 4, /* a finish reason (or response.completed / response.incomplete): the stream is
                        complete */
    SIGN_END = 8, /* the end marker ([DONE]; for responses the terminal event): nothing after it is
                     passed on */
    SIGN_FILTERED = 16, /* the finish reason is content_filter */
    SIGN_LENGTH = 32, /* the finish reason is a length limit: an answer without content is then the
                         model's doing */
    SIGN_DATA = 64,   /* an event with data that is none of the above (role, life cycle, usage) */
    SIGN_MALFORMED = 128 /* data that is neither JSON nor the end marker */
};

/* ---- Making one ---- */

struct dialect;

/* Where the data comes from, for messages; borrowed for the call. */
struct dialect_source {
    const char *file; /* "lua/dialects/openai.lua" */
    struct str text;  /* what stands in it, to find lines; may be empty */
};

/* Compiles what the file of the dialect `name` returned (a table; it is copied). All mistakes go to
 * diags with the line where known. NULL when there are any, or memory is short (told). */
struct dialect *dialect_compile(struct str name, const struct value *data,
                                const struct dialect_source *source, struct diags *diags);
void dialect_free(struct dialect *d); /* NULL is a no-op */
const char *dialect_name(const struct dialect *d);

/* Where no file can be had: refusals below HTTP, a generation that has no openai. Knows the shape
 * of OpenAI's errors and lists of models, and nothing else. Never freed. */
const struct dialect *dialect_builtin(void);

/* ---- Judging what a provider of this dialect says ---- */

/* Judges a complete (or, for errors, cut at MAX_ERROR_BODY) answer that is no stream. The
 * provider's own code and message decide first, the status only where it is unambiguous. `path` is
 * the one asked for (a chat completion without choices is empty; a file without content is not).
 * body may be encoded text of any kind (HTML pages of proxies included). */
void dialect_judge(const struct dialect *d, struct str path, int status,
                   const struct headers *headers, struct str body, struct verdict *out);

/* Signs of one event, or'ed; usage is updated when the event tells it. One pass over the data. */
unsigned dialect_event(const struct dialect *d, const struct sse_event *event, struct usage *usage);
void dialect_event_error(const struct dialect *d, const struct sse_event *event,
                         struct verdict *out); /* outcome: OUTCOME_ERROR_EVENT */

/* Usage of a complete JSON answer. Reads it from its beginning: ask the verdict first. */
void dialect_usage(const struct dialect *d, struct str body, struct usage *out);

/* ---- Speaking to a client of this dialect ---- */

/* An error to be said. Texts are plain; the dialect may have a type and a code of its own for the
 * outcome and the status. */
struct dialect_error {
    int status;
    enum outcome outcome; /* of a provider's error that is told in this dialect; OUTCOME_OK: the
                             gateway's own */
    const char *type;     /* "gateway_error" … */
    const char *code;     /* may be NULL (JSON null) */
    const char *message;
};

/* The body of an error. -1: out is full (it is then as before), or memory. */
int dialect_write_error(const struct dialect *d, struct buf *out, const struct dialect_error *e)
    __attribute__((warn_unused_result));
/* The same as an event of a stream, blank line included. */
int dialect_write_error_event(const struct dialect *d, struct buf *out,
                              const struct dialect_error *e) __attribute__((warn_unused_result));

/* The error that an error event or an answer of this dialect says, as a body for a client of the
 * same dialect. 1, 0: `said` holds none, -1: out is full, or memory. */
int dialect_pass_error(const struct dialect *d, struct str said, struct buf *out)
    __attribute__((warn_unused_result));

struct dialect_model {
    const char *id, *owner; /* borrowed */
};
/* The list of models. -1: out is full, or memory. */
int dialect_write_models(const struct dialect *d, struct buf *out,
                         const struct dialect_model *models, size_t n)
    __attribute__((warn_unused_result));
/* One of it by itself. */
int dialect_write_model(const struct dialect *d, struct buf *out, const struct dialect_model *m)
    __attribute__((warn_unused_result));
const char *dialect_models_path(const struct dialect *d); /* GET of it asks for them; NULL: none */

/* ---- Telling a client's dialect, and what its path says ---- */

struct client_path {
    bool generate;    /* a request that can be translated */
    bool says_stream; /* the path decides about streaming: `stream` counts */
    bool stream;
    const char *stream_query; /* a stream only with this in the query, else a list of all that it
                                 would be; NULL: always */
    struct str model; /* the model's place in the path, still percent-encoded; empty: none */
};

/* Is this path one of the dialect's? *out is filled either way. */
bool dialect_has_path(const struct dialect *d, struct str path, struct client_path *out);
/* Is one of the fields there that only clients of this dialect send? */
bool dialect_has_header(const struct dialect *d, const struct headers *headers);
bool dialect_model_in_path(const struct dialect *d); /* not in the body */
/* Is the client's field of that name for providers of this dialect alone? */
bool dialect_drops_header(const struct dialect *d, struct str name);

/* ---- Asking a provider of this dialect ---- */

/* Path (and query) of a translated request, behind base_url, the model percent-encoded. -1: nothing
 * can be translated to this dialect, or out is full. */
int dialect_generate_path(const struct dialect *d, struct str model, bool stream, struct buf *out)
    __attribute__((warn_unused_result));

/* What its providers have where their configuration does not say. Borrowed of the dialect. */
const struct config_dialect *dialect_defaults(const struct dialect *d);

/* Seconds that a provider asks to wait: retry-after-ms, x-ms-retry-after-ms, Retry-After (seconds,
 * also fractional, or an HTTP date). -1: none or unreadable. `wall_now` in usec since the epoch. */
double retry_after_seconds(const struct headers *headers, long long wall_now);
/* The same as an error's body says it: seconds, "37" or "37s". 0: unreadable, or no wait. */
double retry_after_said(struct str text);

#endif
