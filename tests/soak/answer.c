/* SPDX-License-Identifier: MIT */
#include "answer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

void answer_begin(struct answer *a, const struct job *job, bool refused) {
    a->job = job;
    a->refused = refused;
    a->framing = HEAD;
    a->n_head = a->got = a->n_line = a->n_piece = a->at_piece = a->n_tail = a->left = 0;
    a->index = 0;
    a->pieces = 0;
    a->in_tail = a->closes = false;
    a->head[0] = '\0';
}

__attribute__((format(printf, 2, 3))) static enum verdict wrong(struct answer *a,
                                                                const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(a->problem, sizeof(a->problem), format, args);
    va_end(args);
    return ANSWER_WRONG;
}

static int shown(size_t n) {
    return n < 200 ? (int)n : 200;
}

/* Where the bytes differ from the whole answer a broken stream's error event may begin: after
 * exactly the events that came before the break, or, where a reset or a slow machine may have taken
 * some, after no more than those. */
static bool begins_tail(const struct answer *a, size_t same) {
    const struct job *job = a->job;
    bool exact = strchr("cxn", job->broken) != NULL;
    return job->reply == 's' && job->broken != '-' && a->at_piece + same <= strlen("data: {\"") &&
           a->index >= 3 && (exact ? a->index == job->keep + 2 : a->index <= job->keep + 2);
}

static enum verdict differs(struct answer *a, const char *data, size_t n) {
    size_t same = 0;
    while (a->piece[a->at_piece + same] == data[same]) {
        same++;
    }
    if (begins_tail(a, same)) {
        a->in_tail = true;
        memcpy(a->tail, a->piece, a->at_piece);
        a->n_tail = a->at_piece;
        return ANSWER_MORE;
    }
    return wrong(a, "byte %zu differs, in piece %u: expected '%.60s', got '%.*s'", a->got + same,
                 a->index - 1, a->piece + a->at_piece + same, shown(n - same), data + same);
}

/* A refusal, or a stream's last words: looked at when complete. */
static void add_tail(struct answer *a, const char *data, size_t n) {
    size_t room = TAIL_MAX - 1 - a->n_tail, take = n < room ? n : room;
    memcpy(a->tail + a->n_tail, data, take);
    a->n_tail += take;
    a->got += n;
}

static void next_piece(struct answer *a) {
    a->n_piece = job_piece(a->job, a->index++, a->piece);
    a->at_piece = 0;
    a->piece[a->n_piece] = '\0';
    a->pieces++;
}

/* Bytes of the body, without their framing. */
static enum verdict check(struct answer *a, const char *data, size_t n) {
    while (n > 0) {
        if (a->refused || a->in_tail) {
            add_tail(a, data, n);
            return ANSWER_MORE;
        }
        if (a->at_piece == a->n_piece) {
            next_piece(a);
            if (a->n_piece == 0) {
                return wrong(a, "%zu bytes after the end: '%.*s'", n, shown(n), data);
            }
        }
        size_t take = a->n_piece - a->at_piece < n ? a->n_piece - a->at_piece : n;
        if (memcmp(a->piece + a->at_piece, data, take) != 0) {
            if (differs(a, data, take) == ANSWER_WRONG) {
                return ANSWER_WRONG;
            }
            continue;
        }
        a->at_piece += take;
        a->got += take;
        data += take;
        n -= take;
    }
    return ANSWER_MORE;
}

/* The framing is complete. */
static enum verdict ended_clean(struct answer *a) {
    a->tail[a->n_tail] = '\0';
    if (a->refused) {
        return strstr(a->tail, "\"error\"") ? ANSWER_DONE
                                            : wrong(a, "a refusal without an error: %s", a->tail);
    }
    if (a->job->broken != '-') {
        return wrong(a, "a broken stream has a clean end after %zu bytes: %s", a->got, a->tail);
    }
    if (a->at_piece != a->n_piece || job_piece(a->job, a->index, a->piece) != 0) {
        return wrong(a, "a clean end too soon, after %zu bytes", a->got);
    }
    return ANSWER_DONE;
}

enum verdict answer_cut(struct answer *a, const char *how) {
    const char *start = "data: {\"error\"";
    a->tail[a->n_tail] = '\0';
    if (a->job->broken == '-' || a->framing == HEAD) {
        return wrong(a, "%s after %zu bytes of the body, %zu of the head: '%.60s'", how, a->got,
                     a->n_head, a->head);
    }
    if (!a->in_tail || strncmp(a->tail, start, strlen(start)) != 0 || a->n_tail < 2 ||
        memcmp(a->tail + a->n_tail - 2, "\n\n", 2) != 0 || strstr(a->tail, "[DONE]")) {
        return wrong(a, "%s without an error event, in piece %u, after %zu bytes: '%s'", how,
                     a->index, a->got, a->tail);
    }
    return ANSWER_DONE;
}

static const char *field(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " ") : NULL;
}

/* A reset takes what was not read yet with it, and a slow machine's stall may come first: then
 * there was no content, all targets fail alike, and there is nobody to hide it behind. */
static bool may_fail(const struct job *job, int status) {
    return (job->broken == 'r' || job->broken == 't') && (status == 502 || status == 504);
}

static enum verdict on_head(struct answer *a) {
    const char *length = field(a->head, "\r\ncontent-length:"), *id = field(a->head, "\r\nx-soak:"),
               *wanted = a->refused ? "HTTP/1.1 400" : "HTTP/1.1 200";
    char nonce[17];
    sprintf(nonce, "%016" PRIx64, a->job->nonce);
    a->closes = strcasestr(a->head, "\r\nconnection: close") != NULL;
    if (strncmp(a->head, wanted, strlen(wanted)) != 0) {
        return may_fail(a->job, atoi(a->head + strlen("HTTP/1.1 "))) ? ANSWER_FAILED
                                                                     : wrong(a, "%.1000s", a->head);
    }
    if (!a->refused && (!id || strncmp(id, nonce, 16) != 0)) {
        return wrong(a, "somebody else's head: %.1000s", a->head);
    }
    if (!field(a->head, "\r\nx-moongate-request-id:")) {
        return wrong(a, "a head without a request id: %.1000s", a->head);
    }
    a->left = length ? strtoul(length, NULL, 10) : 0;
    a->framing = length ? LENGTH : CHUNK_SIZE;
    return length && a->left == 0 ? ended_clean(a) : ANSWER_MORE;
}

static enum verdict take_head(struct answer *a, const char *data, size_t n, size_t *used) {
    size_t take = n < HEAD_MAX - a->n_head ? n : HEAD_MAX - a->n_head, before = a->n_head;
    memcpy(a->head + a->n_head, data, take);
    a->n_head += take;
    a->head[a->n_head] = '\0';
    char *end = strstr(a->head, "\r\n\r\n");
    *used = take;
    if (!end) {
        return a->n_head == HEAD_MAX ? wrong(a, "an endless head") : ANSWER_MORE;
    }
    *used = (size_t)(end + 4 - a->head) - before;
    end[2] = '\0';
    return on_head(a);
}

/* A whole line of the chunk framing. */
static enum verdict on_line(struct answer *a) {
    if (a->framing == CHUNK_SIZE) {
        a->left = strtoul(a->line, NULL, 16);
        a->framing = a->left ? CHUNK_DATA : TRAILER;
        return strchr("0123456789abcdefABCDEF", a->line[0])
                   ? ANSWER_MORE
                   : wrong(a, "no chunk size: '%s'", a->line);
    }
    if (strcmp(a->line, "\r\n") != 0) {
        return wrong(a, "no line end after a chunk: '%s'", a->line);
    }
    if (a->framing == TRAILER) {
        return ended_clean(a);
    }
    a->framing = CHUNK_SIZE;
    return ANSWER_MORE;
}

static enum verdict take_line(struct answer *a, const char *data, size_t n, size_t *used) {
    for (*used = 0; *used < n;) {
        char c = data[(*used)++];
        if (a->n_line == sizeof(a->line) - 1) {
            return wrong(a, "a chunk's line without an end");
        }
        a->line[a->n_line++] = c;
        if (c == '\n') {
            a->line[a->n_line] = '\0';
            a->n_line = 0;
            return on_line(a);
        }
    }
    return ANSWER_MORE;
}

static enum verdict take_body(struct answer *a, const char *data, size_t n, size_t *used) {
    *used = n < a->left ? n : a->left;
    a->left -= *used;
    enum verdict found = check(a, data, *used);
    if (found != ANSWER_MORE || a->left) {
        return found;
    }
    if (a->framing == LENGTH) {
        return ended_clean(a);
    }
    a->framing = CHUNK_END;
    return ANSWER_MORE;
}

enum verdict answer_feed(struct answer *a, const char *data, size_t n, size_t *used) {
    enum verdict found = ANSWER_MORE;
    for (*used = 0; *used < n && found == ANSWER_MORE;) {
        size_t took = 0;
        const char *at = data + *used;
        size_t left = n - *used;
        found = a->framing == HEAD                                 ? take_head(a, at, left, &took)
                : a->framing == LENGTH || a->framing == CHUNK_DATA ? take_body(a, at, left, &took)
                                                                   : take_line(a, at, left, &took);
        *used += took;
    }
    return found;
}
