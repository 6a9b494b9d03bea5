/* SPDX-License-Identifier: MIT */
/*
 * What a dialect consists of: tables of patterns, and the few functions that no table can say. For
 * dialect*.c and the files of the single dialects only.
 */
#ifndef UPSTREAM_DIALECT_IMPL_H
#define UPSTREAM_DIALECT_IMPL_H

#include "base/jscan.h"
#include "upstream/dialect.h"

/* Statuses that a pattern applies to. An error event without a status of its own is all of them. */
enum pattern_status { ANY_STATUS, ONLY_4XX, ONLY_5XX, REFUSED /* 400 to 403 */, ONLY_429 };

/* Tried in order; the first that applies decides. Letters' case never matters. */
struct pattern {
    enum pattern_status status;
    const char *code;    /* equals the error's code, type or inner code; NULL: the words decide */
    const char *word[2]; /* all that are given stand in the error's text */
    enum outcome outcome;
};

struct status_rule {
    int from, to;
    enum outcome outcome;
};

/* The status that a code or type stands for when an error comes without one. */
struct code_status {
    const char *code;
    int status;
};

/* An error object read: what patterns are matched against. Slices are the body's own. */
struct error_facts {
    struct str code, type, inner; /* inner: the code of an error within the error */
    int status;                   /* a status said inside the object, 0 = none */
    struct buf message;           /* decoded */
    struct buf words; /* what patterns are searched in: the message, and what a relay says of the
                         error behind it. At most MAX_ERROR_WORDS */
};

struct dialect {
    const char *name;
    const struct pattern *patterns;
    size_t n_patterns;
    const struct status_rule *statuses; /* the last one covers what is left */
    size_t n_statuses;
    const struct code_status *codes;
    size_t n_codes;

    /* Reads the error that `body` (an error answer, or the data of an error event) says. `facts` is
     * initialised, and may stay as it is. */
    void (*read_error)(struct str body, struct error_facts *facts);
    /* A 2xx answer that is no stream: OUTCOME_OK, _EMPTY_RESPONSE, _CONTENT_FILTERED,
     * _INVALID_RESPONSE, or OUTCOME_ERROR_EVENT: read_error will tell. */
    enum outcome (*judge_plain)(struct str path, bool json, struct str body, struct usage *usage);
    unsigned (*event)(const struct sse_event *event, struct usage *usage);
    void (*usage)(struct str body, struct usage *out);
    int (*write_error)(struct buf *out, const char *type, const char *code, const char *message);
};

extern const struct dialect dialect_openai;

/* openai_stream.c */
unsigned openai_event(const struct sse_event *event, struct usage *usage);
unsigned
openai_choices(struct str text,
               const struct jvalue *choices); /* signs of a choices array, streamed or not */
bool openai_filled(struct str text,
                   const struct jvalue *v); /* a string, list or object with something in it */
/* Did a walk over all of `text` that ended at `pos` see the closing brace? jscan_next takes our
 * word for where the value ends. */
bool openai_closed(struct str text, size_t pos, const struct jvalue *last);
bool openai_read_usage(struct str text, const struct jvalue *object,
                       struct usage *usage); /* false: it says nothing, *usage stays */

/* openai_answer.c */
enum outcome openai_judge_plain(struct str path, bool json, struct str body, struct usage *usage);
void openai_usage(struct str body, struct usage *out);
void openai_read_error(struct str body, struct error_facts *facts);
int openai_write_error(struct buf *out, const char *type, const char *code, const char *message);
struct str openai_trim(struct str s); /* without JSON white space around it */

#endif
