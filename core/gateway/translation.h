/* SPDX-License-Identifier: MIT */
/*
 * What an attempt at a provider of another dialect has beside the others: its request is translated
 * in a turn of its own (never inside the policy's run that sent it), its whole answer when the gate
 * has found it good, its stream event by event in the relay. Runs the dialects' functions through
 * policy/translate.h, counts what became of them.
 *
 * A request for a provider of the client's own dialect is translated too where it holds a seal (a
 * signature of another maker's, see moongate.dialect.common), its answer is not.
 */
#ifndef GATEWAY_TRANSLATION_H
#define GATEWAY_TRANSLATION_H

#include "gateway/attempt.h"
#include "gateway/gate.h"
#include "policy/translate.h"

struct translation;

/* Decides whether the attempt (its provider and dialect are known) needs translation, and makes
 * a->translation when it does; the policy's edits are kept. Where it needs one and none can be, the
 * verdict is `unsupported` with its message, and a->translation NULL. 0, or -1 with err: memory. */
int translation_plan(struct attempt *a, const struct send_options *o, struct err *err);
/* Ends it; a->translation is NULL then. */
void translation_free(struct attempt *a);
/* The attempt is reported and has no transfer any more: lets go of what was sent, and of all of it
 * where nothing is left to translate. */
void translation_settle(struct attempt *a);

/* Of a foreign attempt: the provider's path that it goes to, query included. Borrowed. */
struct str translation_path(const struct attempt *a);

/* Translates the request and builds a->body of it. 0, or -1 with err for the client: the target
 * cannot be asked this. Not inside a run's step. */
int translation_request(struct attempt *a, struct err *err);
/* After the gate's word on an answer: a good one that is whole becomes the client's dialect in
 * a->held, or fails. What is not foreign stays as it is. */
enum gate_result translation_judge(struct attempt *a, enum gate_result result);
/* Is what a->held has in the client's dialect? */
bool translation_done(const struct attempt *a);

/* One event of a foreign stream. Anything but TRANSLATE_OK ends the stream. */
enum translate_result translation_event(struct attempt *a, const struct sse_event *event);
/* The stream's good end. */
enum translate_result translation_finish(struct attempt *a);
/* Gives the client what events became since the last call, in one piece. */
void translation_send(struct attempt *a);

#endif
