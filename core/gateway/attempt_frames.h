/* SPDX-License-Identifier: MIT */
/*
 * An answer that comes in AWS's frames is made text of an event stream where its bytes come in, so
 * that gate, relay and translation read one kind of stream only.
 */
#ifndef GATEWAY_ATTEMPT_FRAMES_H
#define GATEWAY_ATTEMPT_FRAMES_H

#include "gateway/attempt.h"

/* The head is there: if it announces frames, a->frames is made, and its Content-Type is from here
 * on that of an event stream. -1: memory. */
int attempt_frames_begin(struct attempt *a) __attribute__((warn_unused_result));
/* Initialises *text, which the caller releases, and puts the events there that end in `data`. */
enum eventstream_result attempt_frames_read(struct attempt *a, struct str data, struct buf *text)
    __attribute__((warn_unused_result));
void attempt_frames_release(struct attempt *a);

#endif
