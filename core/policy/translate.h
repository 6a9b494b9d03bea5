/* SPDX-License-Identifier: MIT */
/*
 * Translation of one attempt's request, answer or stream from one dialect to another, by the
 * functions of the dialects' files (lua/moongate/translate.lua drives them) in a worker's lane:
 * protected, each step with a budget of its own, killed like policies are. Holds the lane from its
 * making to its end. Knows no request and no provider.
 *
 * Not to be called from inside a run's step.
 */
#ifndef POLICY_TRANSLATE_H
#define POLICY_TRANSLATE_H

#include "base/buf.h"
#include "policy/policy.h"

struct translate;

/* All copied. */
struct translate_order {
    struct str client, provider; /* names of dialects */
    struct str model;            /* the name sent to the provider; may be empty */
    struct str id;               /* the request's */
    long long now;               /* seconds since the epoch */
    bool stream;                 /* the client asked for one */
    bool list;                   /* it wants the whole answer in a list (a stream without SSE) */
    bool strict;                 /* refuse what would have to leave something out */
};

enum translate_result {
    TRANSLATE_OK,
    TRANSLATE_REFUSED, /* it cannot be said in the other dialect; err says what, for the client */
    TRANSLATE_LIMIT,   /* a stream that says more than MAX_TRANSLATED_STREAM */
    TRANSLATE_FAILED   /* a mistake of a dialect's file, or no memory; logged; err says where */
};

/* NULL: memory. */
struct translate *translate_new(struct lane *lane, const struct translate_order *order);
/* Ends it, wherever it stands. NULL is a no-op. */
void translate_free(struct translate *t);

/*
 * The client's body, checked JSON that lives until translate_free, as the provider's dialect says
 * it: added to *out, which is empty after anything but TRANSLATE_OK. First of all calls; may be the
 * only one.
 */
enum translate_result translate_request(struct translate *t, struct str body, struct buf *out,
                                        struct err *err);
/* What the request lost on its way: names with commas between, "" for none. Borrowed. */
const char *translate_dropped(const struct translate *t);

/* The provider's whole answer, of any bytes, as the client's dialect says it. Same results. */
enum translate_result translate_answer(struct translate *t, struct str body, struct buf *out,
                                       struct err *err);

/*
 * One event of the provider's stream (its type, which may be empty, and its data, of any bytes):
 * adds the events that become of it to *out, as bytes of an event stream. Same results; what was
 * added before a failure stays. About 10 microseconds.
 */
enum translate_result translate_event(struct translate *t, struct str type, struct str data,
                                      struct buf *out, struct err *err);
/* The stream came to its good end: adds what the client's dialect says then. */
enum translate_result translate_finish(struct translate *t, struct buf *out, struct err *err);

#endif
