/* SPDX-License-Identifier: MIT */
/*
 * Reads one answer of the gateway as it comes and holds every byte of it against what its job says
 * (content.h): head, framing, body, and how it ends. Knows no socket.
 */
#ifndef SOAK_ANSWER_H
#define SOAK_ANSWER_H
#include "content.h"

#define HEAD_MAX 16384
#define TAIL_MAX 4096

enum framing { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

enum verdict {
    ANSWER_MORE,
    ANSWER_DONE,   /* whole, or broken off as promised */
    ANSWER_FAILED, /* an error that could not be hidden: its stream broke before its first content
                    */
    ANSWER_WRONG   /* `problem` says what */
};

struct answer {
    const struct job *job;
    bool refused; /* a 400 with an error is expected */
    bool closes;  /* it says that the connection is closed after it */
    size_t got;   /* bytes of the body so far */
    long pieces;  /* events and parts of texts that began */
    char problem[1200];
    enum framing framing;
    char head[HEAD_MAX + 1];
    size_t n_head, left;
    char line[32];
    size_t n_line;
    char piece[PIECE_MAX];
    size_t n_piece, at_piece;
    unsigned index;
    bool in_tail; /* a broken stream's last words */
    char tail[TAIL_MAX];
    size_t n_tail;
};

/* The job is borrowed until the verdict. */
void answer_begin(struct answer *a, const struct job *job, bool refused);

/* Takes bytes from the connection; *used: those that belong to this answer. */
enum verdict answer_feed(struct answer *a, const char *data, size_t n, size_t *used);

/* The connection has ended, `how`: which only a broken stream may do. */
enum verdict answer_cut(struct answer *a, const char *how);

#endif
