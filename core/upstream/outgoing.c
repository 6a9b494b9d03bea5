/* SPDX-License-Identifier: MIT */
/*
 * See outgoing.h. Small bodies are joined, so that head and body leave in one packet and the
 * provider wakes up once.
 */
#include "upstream/outgoing.h"

#include <stdlib.h>

#include "base/limits.h"

static bool transports_own(struct str name) {
    return str_case_is(name, "Host") || str_case_is(name, "Content-Length") ||
           str_case_is(name, "Transfer-Encoding") || str_case_is(name, "Accept-Encoding") ||
           str_case_is(name, "Connection") || str_case_is(name, "Expect");
}

bool outgoing_field_ok(struct header h) {
    return !transports_own(h.name) && header_name_ok(h.name) && header_value_ok(h.value);
}

static char *put(char *to, const char *from, size_t n) {
    if (n > 0) {
        memcpy(to, from, n);
    }
    return to + n;
}

static char *add_line(struct outgoing *o, char *to, struct header h) {
    o->line[o->n_lines++] = to;
    to = put(to, h.name.p, h.name.n);
    to = put(to, ": ", 2);
    to = put(to, h.value.p, h.value.n);
    *to++ = '\0';
    return to;
}

static char *join(char *to, const struct str *piece, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to = put(to, piece[i].p, piece[i].n);
    }
    *to++ = '\0';
    return to;
}

int outgoing_init(struct outgoing *o, const struct transfer_request *r) {
    size_t text = 1;
    *o = (struct outgoing){0};
    for (size_t i = 0; i < r->headers->n; i++) {
        struct header h = headers_at(r->headers, i);
        text += h.name.n + h.value.n + 3;
    }
    for (size_t i = 0; i < r->n_body; i++) {
        o->body_size += r->body[i].n;
    }
    bool joined = o->body_size <= MAX_JOINED_BODY;
    size_t lines = r->headers->n * sizeof(char *), pieces = r->n_body * sizeof(struct str);
    o->block = malloc(lines + pieces + text + (joined ? o->body_size : 0));
    if (!o->block) {
        return -1;
    }
    struct str *piece = (struct str *)o->block;
    char *to = o->block + pieces + lines;
    o->line = (char **)(o->block + pieces);
    for (size_t i = 0; i < r->headers->n; i++) {
        struct header h = headers_at(r->headers, i);
        if (outgoing_field_ok(h)) {
            to = add_line(o, to, h);
        }
    }
    if (joined) {
        o->joined = to;
        join(to, r->body, r->n_body);
    }
    put((char *)piece, (const char *)r->body, pieces);
    o->piece = piece;
    o->n_pieces = r->n_body;
    return 0;
}

void outgoing_release(struct outgoing *o) {
    free(o->block);
    *o = (struct outgoing){0};
}

size_t outgoing_read(struct outgoing *o, char *to, size_t room) {
    size_t n = 0;
    while (n < room && o->n_pieces > 0) {
        size_t left = o->piece->n - o->piece_off;
        size_t part = left < room - n ? left : room - n;
        put(to + n, o->piece->p + o->piece_off, part);
        n += part;
        o->piece_off += part;
        if (o->piece_off == o->piece->n) {
            o->piece++;
            o->n_pieces--;
            o->piece_off = 0;
        }
    }
    o->body_read += n;
    return n;
}
