/* SPDX-License-Identifier: MIT */
/*
 * What a dialect is compiled into. For the dialect*.c files only. Texts are slices of the dialect's
 * own copy of its data; everything else lies in its blocks and is freed with it. Immutable once
 * compiled.
 */
#ifndef UPSTREAM_DIALECT_IMPL_H
#define UPSTREAM_DIALECT_IMPL_H

#include <stdint.h>

#include "base/diag.h"
#include "base/jscan.h"
#include "base/value.h"
#include "config/path.h"
#include "upstream/dialect.h"

/* ---- Words: "exact", "ends with: *tail", "begins with: head*" ---- */

struct word {
    struct str text; /* without the star */
    enum { WORD_IS, WORD_STARTS, WORD_ENDS } kind;
};

struct words {
    struct word *list;
    size_t n;
};

bool words_match(const struct words *w, struct str s); /* as written; no words match nothing */

struct texts {
    const char **list; /* terminated each */
    size_t n;
};

/* ---- What is looked for in a JSON text, as one tree (dialect_walk.c) ---- */

enum jtest_kind {
    TEST_FILLED, /* a string, list or object with something in it */
    TEST_IS,     /* a string that is one of the words */
    TEST_ISNT,   /* a string that is none of them */
    TEST_THERE,  /* the key is there, whatever its value */
    TEST_NUMBER, /* a count: kept in facts.number */
    TEST_TYPE    /* a string: kept in facts.type */
};

struct jtest {
    struct jtest *next;
    enum jtest_kind kind;
    const struct words *words;
    uint64_t bit;    /* set in facts.bits (TEST_THERE: facts.there) when it holds */
    unsigned signs;  /* or'ed into facts.signs when it holds */
    unsigned number; /* place in facts.number */
};

struct jnode {
    struct str key; /* as it is written; "*" stands for each item of a list */
    uint64_t hint;  /* of its children's keys: most keys of an event are told from them by it */
    struct jnode *child; /* the first */
    struct jnode *next;  /* of the same parent */
    struct jtest *tests;
};

struct jfacts {
    uint64_t bits, there;
    unsigned signs;
    struct str type;
    uint64_t numbers; /* which of `number` are filled */
    long long number[MAX_DIALECT_NUMBERS];
};

/* Walks the object in `text` once. -1: no JSON (facts are then of no use). */
int jwalk(const struct jnode *root, struct str text, struct jfacts *facts);

/* ---- Rules ---- */

/* A condition: all parts that it has hold. */
struct rule {
    struct words types; /* of the event; none: any */
    uint64_t lengths;   /* that a type may have, modulo 64: most rules are told off by it */
    uint64_t need;      /* one of these facts.bits; 0: none is needed */
    uint64_t lack;      /* none of these facts.there */
    unsigned signs;     /* of a stream: what it means */
    int judgement;      /* of an answer: enum outcome */
};

struct stream_rules {
    struct str marker; /* text of the end marker; empty: none */
    struct jnode root;
    struct rule *rules; /* those without an event type first */
    size_t n, n_untyped;
};

enum body_need { BODY_ANY, BODY_SOME, BODY_OBJECT };

struct answer_rules {
    struct words paths; /* none: every path */
    enum body_need body;
    struct jnode root;
    struct rule *rules; /* in order: the first that holds decides */
    size_t n;
};

/* One way to say a count: the sum of those numbers that are there. */
struct usage_sum {
    unsigned char number[MAX_DIALECT_TERMS];
    size_t n;
};

struct usage_rules {
    struct str path[MAX_DIALECT_NUMBERS]; /* of each number */
    size_t n_paths;
    struct usage_count {
        struct usage_sum *ways; /* the first that is there counts */
        size_t n;
    } count[4]; /* input, output, cached, reasoning */
    struct jnode root;
};

/* ---- Errors ---- */

/* Statuses that a pattern applies to; from 0: any. */
struct status_range {
    int from, to;
};

/* Tried in order; the first that applies decides. Letters' case never matters. */
struct pattern {
    struct status_range status;
    const char *code; /* equals the error's code, type or inner code; NULL: the words decide */
    const char *word[MAX_DIALECT_TERMS]; /* all that are given stand in the error's text */
    enum outcome outcome;
};

/* The status that a code or type stands for when an error comes without one. */
struct code_status {
    const char *code;
    int status;
};

struct error_rules {
    struct texts code, type, inner, message, words, status; /* JSON paths, the first counts */
    struct texts retry_after;                               /* of the seconds to wait */
    struct texts object;     /* paths of the error object; none: an error is all that is said */
    const char *type_header; /* field of the answer that names the type, or NULL */
    struct pattern *patterns;
    size_t n_patterns;
    struct pattern *statuses; /* status alone */
    size_t n_statuses;
    struct code_status *codes;
    size_t n_codes;
};

/* ---- What is said ---- */

enum slot {
    SLOT_NONE,
    SLOT_MESSAGE,
    SLOT_TYPE,
    SLOT_CODE,
    SLOT_STATUS,
    SLOT_MODELS,
    SLOT_FIRST,
    SLOT_LAST,
    SLOT_MODEL,
    SLOT_OWNER
};

struct piece {
    struct str text; /* written before the slot */
    enum slot slot;
    bool inside; /* the slot stands in a string: its text is escaped, without quotes */
};

struct template {
    struct piece *pieces;
    size_t n;
};

struct say_row {
    const char *word;
    struct status_range status;
    uint64_t outcomes; /* a bit each; 0: whatever the outcome */
};

struct say_rules {
    struct template error, event;
    const char *event_type; /* of the error event; NULL: no `event:` line */
    struct say_row *type, *code;
    size_t n_type, n_code;
};

struct model_rules {
    const char *path; /* of the list */
    struct template list, item;
};

/* ---- The client's side and the provider's ---- */

/* "/v1beta/models/{model}:generate*" in its parts. */
struct path_pattern {
    struct str before, after;
    bool model, open; /* has {model}; ends in a star */
};

struct path_patterns {
    struct path_pattern *list;
    size_t n;
};

struct client_rules {
    bool known;
    struct path_patterns generate, stream, paths;
    const char *stream_query; /* NULL: a path of `stream` is one */
    struct texts headers;
    struct words drop; /* in lower case */
};

struct block {
    struct block *next;
    max_align_t data[];
};

struct dialect {
    const char *name;
    struct value data;
    struct block *blocks;
    bool model_in_path;
    const char *generate, *stream; /* NULL: nothing is translated to it */
    struct config_dialect provider;
    struct error_rules errors;
    struct answer_rules *answers;
    size_t n_answers;
    struct stream_rules events;
    struct usage_rules usage;
    struct say_rules say;
    struct model_rules models;
    struct client_rules client;
};

/* ---- Reading the data (dialect_read.c) ---- */

/* A compile under way. Mistakes are told and gone on after; memory ends it. */
struct reader {
    struct dialect *d;
    struct diags *diags;
    const struct dialect_source *source;
    struct path at;
    bool out_of_memory;
};

void *reader_alloc(struct reader *r, size_t n, size_t size); /* zeroed; NULL: memory, noted */
void reader_error(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Tells each field that is none of `names` (NULL-terminated). */
void reader_known(struct reader *r, const struct value *table, const char *const *names);
/* The field, or NULL: absent, or (told) not of that type. */
const struct value *reader_field(struct reader *r, const struct value *table, const char *name,
                                 enum value_type type);
const char *reader_text(struct reader *r, const struct value *table, const char *name); /* NULL */
/* A text or a list of texts. */
struct texts reader_texts(struct reader *r, const struct value *table, const char *name);
struct words reader_words(struct reader *r, const struct value *table, const char *name);
/* A JSON path: keys joined by dots. False: told. */
bool reader_path_ok(struct reader *r, const char *path);
/* "429", 429, "4xx", "400-403"; absent: from 0. */
struct status_range reader_status(struct reader *r, const struct value *row);
/* The first item of a row, an outcome's name. -1: told. */
int reader_outcome(struct reader *r, const struct value *row);
bool status_in(struct status_range range, int status); /* any range holds any status; see errors */

/* Items of the list `name`, counted; at most `max` (told). *list NULL when there are none. */
size_t reader_list(struct reader *r, const struct value *table, const char *name, size_t max,
                   const struct value **list);

/* The part of each file. */
void compile_errors(struct reader *r, const struct value *data);
void compile_usage(struct reader *r, const struct value *data);
void compile_stream(struct reader *r, const struct value *data);
void compile_answers(struct reader *r, const struct value *data);
void compile_say(struct reader *r, const struct value *data);
void compile_client(struct reader *r, const struct value *data);

/* dialect_walk.c, while compiling: the node at `path` below root, made when it is not there. NULL:
 * memory, or told. */
struct jnode *jnode_at(struct reader *r, struct jnode *root, struct str path);
struct jtest *jtest_add(struct reader *r, struct jnode *node, enum jtest_kind kind);

/* dialect_usage.c */
void usage_watch(struct reader *r, struct jnode *root); /* its numbers are looked for there, too */
void usage_count(const struct usage_rules *u, const struct jfacts *f, struct usage *out);

/* dialect_error.c. `header_type` and `event_type` may be empty. */
void errors_judge(const struct dialect *d, struct str body, int status, struct str type,
                  struct verdict *out);
/* An error without a status line of its own: in a stream, or in a 200. */
void errors_judge_event(const struct dialect *d, struct str body, struct str type,
                        struct verdict *out);

struct str json_trim(struct str s); /* without JSON white space around it */

#endif
