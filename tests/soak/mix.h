/* SPDX-License-Identifier: MIT */
/*
 * What the soak's clients ask for: kinds of requests, how often each comes, and their jobs. All
 * chance is drawn from one seed.
 */
#ifndef SOAK_MIX_H
#define SOAK_MIX_H
#include "content.h"

enum kind {
    SMALL,
    FAULT,
    STREAM,
    STREAM_FAULT,
    BROKEN,
    PROMPT,
    UPLOAD,
    LEAVE,
    SLOW,
    PIPELINED,
    LARGE,
    FLAP,
    DEAD,
    QUEUE,
    DRIBBLE,
    CHUNKED,
    BAD,
    KINDS
};

struct mix {
    uint64_t seed, serial;
};

const char *kind_name(enum kind kind);

/* From 0 to n - 1. */
unsigned mix_pick(struct mix *mix, unsigned n);
unsigned mix_between(struct mix *mix, unsigned low, unsigned high);
enum kind mix_kind(struct mix *mix);

/* A job of this kind; returns the model that its route is chosen by. */
const char *mix_job(struct mix *mix, enum kind kind, struct job *job);

/* Bytes that mix_request may need. */
#define REQUEST_MAX (2 * BODY_MAX + 1024)

/* The whole request, head and body; `close`: with Connection: close. Returns its length. */
size_t mix_request(struct mix *mix, enum kind kind, const struct job *job, const char *model,
                   bool close, char *out);

#endif
