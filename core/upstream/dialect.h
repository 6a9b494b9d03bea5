/* SPDX-License-Identifier: MIT */
/*
 * What a provider's API looks like, as data: which answers mean what, which events of a stream
 * carry content, where usage stands, and how errors are written. One table per dialect; openai now
 * (chat completions, responses, and every endpoint beside them). Pure functions over bytes;
 * thread-safe.
 */
#ifndef UPSTREAM_DIALECT_H
#define UPSTREAM_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
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
    int status;                /* the answer's; of an error event what its type stands for */
    char code[MAX_CODE];       /* the provider's error code or type, empty when none */
    char message[MAX_MESSAGE]; /* the provider's words, cut at the maximum on a UTF-8 boundary,
                                  empty when none. Not masked yet */
    struct usage usage;        /* of an answer, where judging came across it; see dialect_usage */
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

struct dialect;

const struct dialect *dialect_find(struct str name); /* "openai"; NULL: none */
const char *dialect_name(const struct dialect *d);

/* Judges a complete (or, for errors, cut at MAX_ERROR_BODY) answer that is no stream. The
 * provider's own code and message decide first, the status only where it is unambiguous. `path` is
 * the client's path (a chat completion without choices is empty; a file without content is not).
 * body may be encoded text of any kind (HTML pages of proxies included). */
void dialect_judge(const struct dialect *d, struct str path, int status,
                   const struct headers *headers, struct str body, struct verdict *out);

/* Signs of one event, or'ed; usage is updated when the event tells it. */
unsigned dialect_event(const struct dialect *d, const struct sse_event *event, struct usage *usage);
void dialect_event_error(const struct dialect *d, const struct sse_event *event,
                         struct verdict *out); /* outcome: OUTCOME_ERROR_EVENT */

/* Usage of a complete JSON answer. Reads it from its beginning: ask the verdict first. */
void dialect_usage(const struct dialect *d, struct str body, struct usage *out);

/* The gateway's own errors in the client's dialect. type, code, message are plain text; code may be
 * NULL (JSON null). -1: out is full. */
int dialect_write_error(const struct dialect *d, struct buf *out, int status, const char *type,
                        const char *code, const char *message) __attribute__((warn_unused_result));
/* The same as an event of a stream, blank line included. */
int dialect_write_error_event(const struct dialect *d, struct buf *out, const char *type,
                              const char *code, const char *message)
    __attribute__((warn_unused_result));

/* Seconds that a provider asks to wait: retry-after-ms, x-ms-retry-after-ms, Retry-After (seconds,
 * also fractional, or an HTTP date). -1: none or unreadable. `wall_now` in usec since the epoch. */
double retry_after_seconds(const struct headers *headers, long long wall_now);

#endif
