/* SPDX-License-Identifier: MIT */
/*
 * One request's life: read, routed, decided by its policy, answered, accounted.
 *
 *   DECIDING   the policy's coroutine runs or waits (for an attempt, a while, or room to write)
 *   RELAYING   committed to an attempt: its bytes flow to the client; the policy is gone
 *   LOCAL      the policy's own stream writes the answer
 *   (freed)    exchange_finish: one access log line, counters, everything pending cancelled
 *
 * The struct lists everything that can be pending: the run, the attempts, one timer. Callbacks
 * clear their own field first; exchange_finish tears down the rest. A client that leaves ends the
 * exchange in the same turn of the loop. Everything happens on the worker's thread.
 */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "base/jscan.h"
#include "gateway/attempt.h"
#include "gateway/gateway.h"
#include "gateway/worker.h"
#include "upstream/dialect.h"

enum exchange_state { EXCHANGE_DECIDING, EXCHANGE_RELAYING, EXCHANGE_LOCAL };

/* What the policy's coroutine waits for. */
enum wait_kind { WAIT_NOTHING, WAIT_ATTEMPT, WAIT_ANY, WAIT_SLEEP, WAIT_ROOM };

struct wait {
    enum wait_kind kind;
    struct attempt *attempt; /* WAIT_ATTEMPT */
    usec until;              /* WAIT_ANY, WAIT_SLEEP; USEC_NEVER = no limit */
};

/* What the policy decided, filled by the bindings. */
enum decision_kind { DECIDED_NOTHING, DECIDED_ATTEMPT, DECIDED_RESPONSE };

struct decision {
    enum decision_kind kind;
    struct attempt *attempt; /* DECIDED_ATTEMPT */
    int status;              /* DECIDED_RESPONSE: an answer of the policy's own */
    struct headers headers;
    struct buf body;
    bool stream;    /* a local stream follows; stream_ref is its function, 0 = none */
    int stream_ref; /* the bindings' */
};

/* What a policy tells about its decisions, for `moongate explain`. */
struct exchange_note {
    usec at;
    char text[MAX_NOTE + 1];
};

struct exchange {
    struct worker *worker;
    struct exchange *next, *prev; /* the worker's list */
    struct exchange *ready_next;
    bool ready;                   /* on the worker's ready list */
    struct conn *conn;            /* NULL once the answer ended or the client left */
    struct http_request *request; /* owned */
    struct config *config;        /* a reference: outlives the generation's for log and relay */
    unsigned generation;          /* its number */
    struct generation *held;      /* entered: the exchange is counted on it until it is freed */
    struct lane *lane; /* of that generation; borrowed, held by the run once there is one */
    const struct config_route *route;
    size_t route_index; /* its variant: the route itself, or an alias of its own (config.h) */
    const struct config_key *key;  /* NULL when no keys are configured */
    const struct dialect *dialect; /* the client's; of `held` */
    struct client_path asked;      /* what that dialect reads in the request's path */
    char id[24];
    uint64_t number;        /* the same: no other exchange has it */
    char *model;            /* decoded, NULL when the request names none; owned */
    struct jvalue model_at; /* where it stands in the body; JTYPE_NONE: in the path (asked.model) */
    bool json;              /* the body is a JSON object that was scanned */
    bool stream;            /* the client asked for a stream */
    enum { SEAL_UNKNOWN, SEAL_NONE, SEAL_THERE } seal; /* in its body: see translation.h */
    enum exchange_state state;
    struct run *run;
    struct policy_usage used; /* by its runs before this one */
    struct wait wait;
    struct decision decision;
    struct attempt *attempts[MAX_ATTEMPTS];
    size_t n_attempts;
    struct attempt *plan_best;   /* of those in vain, the one to show */
    size_t plan_next;            /* next target of the default plan */
    bool plan;                   /* the default plan decides, the policy failed */
    struct timer timer;          /* sleep, wait or deadline, whichever is first */
    usec deadline;               /* monotonic; never USEC_NEVER */
    bool deadline_set;           /* by the policy */
    struct attempt *relayed;     /* the attempt committed to */
    bool answered;               /* the head is out */
    int status;                  /* what the client got */
    size_t bytes_out;            /* of the body, once the connection is gone */
    bool revoked;                /* its key was taken away meanwhile: answered with a 401 */
    bool local_aborted;          /* a local stream ends as if it had broken */
    usec first_content;          /* when the first content went to the client; 0 = none yet */
    struct exchange_note *notes; /* owned, room for MAX_NOTES; NULL: none was made */
    size_t n_notes;
};

/* A whole request from a client: taken. Answers by itself what needs no policy. */
void exchange_begin(struct worker *w, struct conn *conn, struct http_request *request);

/* The client left or stalled. Frees. */
void exchange_gone(struct exchange *x);
/* The client reads again. */
void exchange_drained(struct exchange *x);
/* The policy can go on: called from the worker's turn. */
void exchange_step(struct exchange *x);
/* Ends the answer as it stands (cut with an error event when one is under way): shutdown. Frees. */
void exchange_kill(struct exchange *x);

/* One of its attempts was reported. */
void exchange_notify(struct exchange *x);

/* For the bindings. Sets what the run waits for; true: yield, false: it is there already. */
bool exchange_wait(struct exchange *x, struct wait wait);
usec exchange_remaining(
    const struct exchange *x); /* to the deadline, >= 0; USEC_NEVER when the policy set none */
void exchange_set_deadline(struct exchange *x, usec after_start);
/* Starts an attempt; see attempt.h. NULL with err: unknown provider, too many attempts (a fault of
 * the policy). */
struct attempt *exchange_send(struct exchange *x, const struct send_options *options,
                              struct err *err);
/* Fills the decision with an error of the gateway's own in the client's dialect. -1: memory. */
int exchange_decide_error(struct exchange *x, int status, const char *type, const char *code,
                          const char *message);
/* The same for any error, a provider's that is told in the client's dialect, say. */
int exchange_decide_said(struct exchange *x, const struct dialect_error *e);
/* Does anybody hear the notes of this request's policy? */
bool exchange_explaining(const struct exchange *x);
/* Keeps the note (gateway->explain; those beyond MAX_NOTES are dropped), or logs it when the level
 * is debug. Cut to MAX_NOTE bytes. */
void exchange_note(struct exchange *x, struct str text);
/* The same for the gateway's own steps; costs a comparison when nobody hears it. */
void exchange_notef(struct exchange *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Local streams: writes; conn_full tells when to wait with WAIT_ROOM. */
void exchange_local_write(struct exchange *x, struct str data);
void exchange_local_abort(struct exchange *x);

#endif
