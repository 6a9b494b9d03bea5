/* SPDX-License-Identifier: MIT */
/* A client's side of a simulated connection: reads an answer out of its bytes. Internal to sim/. */
#ifndef SIM_WORLD_CLIENT_H
#define SIM_WORLD_CLIENT_H

#include "sim/world.h"

enum reading { READ_HEAD, READ_LENGTH, READ_CHUNKS, READ_TO_END, READ_DONE, READ_BROKEN };

struct reader {
    enum reading state;
    bool no_body; /* the request was HEAD */
    bool brief;   /* the body is not kept */
    struct buf head;
    unsigned long long left; /* READ_LENGTH */
    struct http_chunks chunks;
    size_t room; /* of answer->chunks */
};

void reader_init(struct reader *r, struct world_answer *answer, bool no_body, bool brief);
void reader_release(struct reader *r);
/* Takes bytes that came at `now`. answer->whole tells when nothing more is expected. */
void reader_take(struct reader *r, struct world_answer *answer, struct str data, usec now);
/* The connection was closed. */
void reader_end(struct reader *r, struct world_answer *answer);

#endif
