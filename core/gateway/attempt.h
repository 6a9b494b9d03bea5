/* SPDX-License-Identifier: MIT */
/*
 * One attempt at a target: admitted, sent, judged by the commit gate, then relayed or dropped.
 *
 *   TRANSLATING  waits for its request to be put into the provider's dialect (translation.h)
 *   QUEUED    waits for a slot of its provider
 *   SENDING   the transfer runs, no head yet
 *   HOLDING   head seen, bytes held until it is known what the answer is (gate.h)
 *   REPORTED  the policy knows the outcome; a good stream is paused here until the policy decides
 *   RELAYING  committed: bytes go to relay.h
 *   OVER      no transfer any more; what was held stays for the policy and the client
 *
 * Its clocks all run in one timer. They start when the policy sends: queue (until admitted),
 * connect, first_byte (from connected to the end of the head), first_token (streams: from admitted
 * to the first content), total (from the send to the commit), idle (after the first content, or
 * between bytes of a large plain answer); the request's deadline caps them all.
 */
#ifndef GATEWAY_ATTEMPT_H
#define GATEWAY_ATTEMPT_H

#include "base/jscan.h"
#include "base/timers.h"
#include "config/config.h"
#include "gateway/mailbox.h"
#include "net/headers.h"
#include "net/sse.h"
#include "state/slots.h"
#include "state/targets.h"
#include "upstream/dialect.h"
#include "upstream/eventstream.h"
#include "upstream/transport.h"

struct exchange;
struct worker;

enum attempt_state {
    ATTEMPT_QUEUED,
    ATTEMPT_TRANSLATING,
    ATTEMPT_SENDING,
    ATTEMPT_HOLDING,
    ATTEMPT_REPORTED,
    ATTEMPT_RELAYING,
    ATTEMPT_OVER
};

/* All borrowed for the call. Times 0 = not given. */
struct send_options {
    struct str target;     /* "provider/model" or "provider" */
    struct str model, key; /* empty = as the target and the provider say */
    struct str api_key;    /* the name of one of the provider's pool; empty = the first usable */
    usec connect, first_byte, first_token, idle, total;
    unsigned long long max_bytes; /* of the answer's body; 0 = no limit */
    usec max_seconds;             /* of the whole answer, relayed part included; 0 = no limit */
    bool force, fresh;
    bool strict; /* refuse what the provider's dialect cannot express */
    size_t n_headers, n_edits;
    /* The lists, of which only what is counted has a meaning: 4 KB that most sends leave alone. */
    struct header headers[MAX_EXTRA_HEADERS];
    struct jedit edits[MAX_SET_FIELDS];
};

struct attempt {
    struct exchange *x; /* NULL for a leftover (see attempt_leave) */
    struct worker *worker;
    struct attempt *next_leftover;
    size_t n; /* 1-based */
    enum attempt_state state;
    char *name;         /* "provider/model" as sent; owned */
    char *served_model; /* owned; NULL when none was sent */
    bool unnamed;       /* the client chose the model, and metrics do not name it */
    const struct config_provider *provider; /* of the exchange's config */
    const struct dialect *dialect;          /* the provider's */
    bool foreign;    /* the client speaks another dialect than the provider: all is translated */
    struct str path; /* asked for, as the provider's dialect judges it; borrowed. p NULL: the
                        client's */
    struct target *facts; /* a reference; NULL once given back */

    struct slots *slots;
    struct slot_waiter waiter;
    struct mail granted;
    struct mail turn;                /* to translate the request outside the policy's run */
    struct translation *translation; /* owned; NULL: bytes pass untouched */
    char *dropped;                   /* what the translation left out, "a,b"; NULL: nothing */
    bool holds_slot;
    struct transfer *transfer;
    struct buf url;
    struct headers out;  /* what is sent */
    struct jpieces body; /* of the request, spliced */
    bool fresh;

    struct timer timer; /* looks no later than the next clock runs out */
    struct {
        usec connect, first_byte, first_token, idle, total, max_time;
    } limit; /* durations; 0 = off */
    usec queue_deadline;
    usec sent_at, admitted_at, connected_at, head_at, content_at, ended_at; /* 0 = not reached */
    usec last_progress;            /* last content (streams) or bytes (plain answers) */
    bool paused;                   /* the transfer is held back: idle does not run */
    usec paused_since, paused_for; /* a slow client's time is not the provider's */
    unsigned long long max_bytes, answer_bytes;

    int status;                 /* 0 = no answer */
    struct headers headers;     /* the answer's */
    bool event_stream;          /* the answer is one */
    struct eventstream *frames; /* it comes in AWS's frames; NULL: it does not. Owned */
    struct buf held;            /* body so far, until relayed */
    size_t fed;                 /* bytes of held that the event scanner was given */
    size_t scanned;             /* bytes of held that are whole events */
    struct sse sse;
    unsigned signs; /* of the stream so far, or'ed */
    bool lf_due;    /* the end marker's last CR was passed on; its LF may follow */
    struct usage usage;
    bool whole; /* the body is complete in `held` */
    bool done;  /* the transfer ended by itself, with done_outcome */
    enum outcome done_outcome;
    bool reused;
    enum transfer_sent sent;
    char *key; /* of this send, owned; NULL = the provider's own. SECRET */
    const struct config_api_key *api_key; /* of the provider's pool; NULL when none is sent */
    bool key_named;                       /* by the policy: the others do not matter */
    bool body_cut;                        /* held is the beginning of a longer error body */
    struct verdict verdict;    /* outcome, status to show, the provider's code and message */
    enum outcome gate_outcome; /* what the gate itself found, whatever the policy made of it */
    bool known;                /* an outcome was reported */
    bool seen;                 /* the policy has it (WAIT_ANY skips it) */
    bool begun;                /* counted as in flight */
    bool accounted;            /* in target facts and metrics */
};

/* Builds and starts. NULL with err when the policy asked for what cannot be. An attempt that fails
 * at once (queue full, suspended, past the deadline) is returned reported. */
struct attempt *attempt_new(struct exchange *x, const struct send_options *options,
                            struct err *err);
/* Cancels what is under way, accounts, frees. NULL is a no-op. */
void attempt_free(struct attempt *a);

/* Ends it without blame (cancelled, client_gone) or with it; the transfer is cancelled. Reported if
 * it was not. */
void attempt_stop(struct attempt *a, enum outcome outcome);

/* attempt:fail: before commit only. The answer stays. */
void attempt_fail(struct attempt *a, enum outcome outcome, struct str message);

/* The relay takes over: clocks change to idle and max_seconds. */
void attempt_commit(struct attempt *a);
void attempt_pause(struct attempt *a);
void attempt_resume(struct attempt *a);
void attempt_rearm(struct attempt *a);    /* its request's deadline has moved */
void attempt_progress(struct attempt *a); /* content passed: the idle clock starts anew */

/* Is there a transfer whose request went out whole, so that it borrows nothing of the exchange? */
bool attempt_may_leave(const struct attempt *a);
/* After the end marker: lets the transfer run out by itself, within MAX_DRAIN_TIME and
 * MAX_DRAIN_BYTES, so that its connection can be used again. Accounted already; the exchange
 * forgets it. */
void attempt_leave(struct attempt *a);

/* The labels that OpenTelemetry's GenAI conventions ask for. */
struct buf;
void attempt_labels(const struct attempt *a, struct buf *labels);

/* Counts the attempt into target facts and metrics, once. */
void attempt_account(struct attempt *a);

/* How long its target is left alone from now; all keys of the pool count, unless one was named. */
usec attempt_suspended_for(const struct attempt *a);

double attempt_retry_after(const struct attempt *a); /* seconds, or -1 */

/* What of the request the provider's dialect could not say, "a,b"; "" for nothing. Borrowed. */
const char *attempt_dropped(const struct attempt *a);

/* Its outcome as told to people: what never came to one was cancelled. */
enum outcome attempt_outcome(const struct attempt *a);

/* The provider's failure as it is told in another dialect. Texts are the attempt's own. */
void attempt_error(const struct attempt *a, struct dialect_error *out);

/* True when the answer may be handed to the client as it came. */
bool attempt_has_answer(const struct attempt *a);

#endif
