/* SPDX-License-Identifier: MIT */
/*
 * One connection of the soak's provider, and what it says on it (play.c): whole answers, faults and
 * breaks, as the job in the prompt asks for. Puts bytes into the connection's buffer, and never
 * touches a socket.
 *
 * Faults before content, at the targets a, c and r only (b, q and s never have any):
 *   4 429 with Retry-After   3 503 with Retry-After   5 500   c closes   l half an answer, then
 * closes g two lengths   h never answers   e an error event, no content   m a stream without
 * content w waits 150 ms, then answers   1 503 the first time, then answers Breaks of streams: c
 * closes within an event   r resets   t falls silent   x an error event n ends its framing without
 * an end marker
 */
#ifndef SOAK_PROVIDER_H
#define SOAK_PROVIDER_H
#include "content.h"

#define REQUEST_HEAD_MAX 8192
#define OUT_MAX 65536
#define OF_FLAP 1

enum state { READING, WAITING, SENDING, DEAF };

struct conn {
    int fd;
    enum state state;
    int origin; /* OF_FLAP: came through the listener that comes and goes */
    char head[REQUEST_HEAD_MAX + 1];
    size_t n_head, need; /* need: bytes of the body */
    char *body;
    size_t n_body;
    struct job job;
    char target;
    double due; /* WAITING: not before; SENDING: the next event */
    char out[OUT_MAX + 3 * PIECE_MAX];
    size_t n_out, sent;
    unsigned piece;
    bool chunked, last, close_after, reset_after;
    uint64_t odd; /* decides where chunks begin */
};

/* Faults to plant in every so manieth answer that can have them; 0 = none. */
struct plant {
    long double_each, lose_each, candidates;
};

/* The head of the answer; the rest is produced. */
void play_begin(struct conn *c);

/* A whole answer, body and all. */
void play_whole(struct conn *c, int status, const char *more, const char *body);

/* The fault of the job, if it has one now; `times`: how often the job has come to this target;
 * `at`: the time. False: it is to be answered as usual. */
bool play_fault(struct conn *c, unsigned times, double at);

/* Fills the buffer with what is due at that time. */
void play_on(struct conn *c, double at, struct plant *plant);

#endif
