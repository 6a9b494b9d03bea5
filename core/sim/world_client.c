/* SPDX-License-Identifier: MIT */
#include "sim/world_client.h"

#include <stdlib.h>

#define FIRST_CHUNKS 8

void reader_init(struct reader *r, struct world_answer *answer, bool no_body, bool brief) {
    memset(r, 0, sizeof(*r));
    memset(answer, 0, sizeof(*answer));
    r->no_body = no_body;
    r->brief = brief;
    buf_init(&r->head, MAX_ANSWER_HEAD);
    buf_init(&answer->body, MAX_SIM_ANSWER);
    headers_init(&answer->headers, MAX_HEADERS * 2, MAX_ANSWER_HEAD);
}

void reader_release(struct reader *r) {
    buf_release(&r->head);
}

static void begin_body(struct reader *r, struct world_answer *answer) {
    struct str length;
    if (r->no_body || answer->status == 204 || answer->status == 304) {
        r->state = READ_DONE;
    } else if (headers_list_has(&answer->headers, "transfer-encoding", "chunked")) {
        r->state = READ_CHUNKS;
        http_chunks_init(&r->chunks);
    } else if (headers_get(&answer->headers, "content-length", &length)) {
        r->state = str_to_u64(length, &r->left) ? READ_LENGTH : READ_BROKEN;
        r->state = r->state == READ_LENGTH && r->left == 0 ? READ_DONE : r->state;
    } else {
        r->state = READ_TO_END;
    }
    answer->whole = r->state == READ_DONE;
}

/* "HTTP/1.1 200 OK", then fields, a line each. */
static void read_lines(struct reader *r, struct world_answer *answer, struct str head) {
    struct str line, name;
    unsigned long long status = 0;
    str_split(&head, '\n', &line);
    if (line.n < 12 || !str_to_u64(str_make(line.p + 9, 3), &status)) {
        r->state = READ_BROKEN;
        return;
    }
    if (status < 200) {
        return;
    }
    answer->status = (int)status;
    while (str_split(&head, '\n', &line)) {
        line.n -= line.n && line.p[line.n - 1] == '\r';
        if (str_split(&line, ':', &name) && name.n &&
            headers_add(&answer->headers, name, str_trim(line)) != 0) {
            r->state = READ_BROKEN;
            return;
        }
    }
    begin_body(r, answer);
}

/* How many of the bytes belong to the head. */
static size_t take_head(struct reader *r, struct world_answer *answer, struct str data) {
    size_t before = r->head.len;
    size_t room = MAX_ANSWER_HEAD - before;
    if (buf_add(&r->head, data.p, data.n < room ? data.n : room) != BUF_OK) {
        r->state = READ_BROKEN;
        return data.n;
    }
    const char *end = memmem(r->head.data, r->head.len, "\r\n\r\n", 4);
    if (!end) {
        r->state = r->head.len == MAX_ANSWER_HEAD ? READ_BROKEN : READ_HEAD;
        return data.n;
    }
    size_t used = (size_t)(end - r->head.data) + 4;
    read_lines(r, answer, str_make(r->head.data, used - 4));
    buf_clear(&r->head);
    return used - before;
}

static int note_chunk(struct reader *r, struct world_answer *answer, size_t from, usec now) {
    if (answer->body.len == from) {
        return 0;
    }
    if (answer->n_chunks == r->room) {
        size_t room = r->room ? r->room * 2 : FIRST_CHUNKS;
        struct world_chunk *list = realloc(answer->chunks, room * sizeof(*list));
        if (!list) {
            return -1;
        }
        answer->chunks = list;
        r->room = room;
    }
    answer->chunks[answer->n_chunks++] = (struct world_chunk){now, from, answer->body.len - from};
    return 0;
}

static int take_body(struct reader *r, struct world_answer *answer, struct str data) {
    size_t used = 0;
    if (r->state == READ_CHUNKS) {
        int got = http_chunks_read(&r->chunks, data.p, data.n, &used, &answer->body, NULL);
        r->state = got > 0 ? READ_DONE : r->state;
        return got < 0 ? -1 : 0;
    }
    if (r->state == READ_LENGTH) {
        data.n = data.n < r->left ? data.n : (size_t)r->left;
        r->left -= data.n;
        r->state = r->left ? READ_LENGTH : READ_DONE;
    }
    return buf_add_str(&answer->body, data) == BUF_OK ? 0 : -1;
}

void reader_take(struct reader *r, struct world_answer *answer, struct str data, usec now) {
    while (r->state == READ_HEAD && data.n) {
        size_t used = take_head(r, answer, data);
        data = str_make(data.p + used, data.n - used);
    }
    if (!data.n || r->state == READ_DONE || r->state == READ_BROKEN) {
        return;
    }
    buf_truncate(&answer->body, r->brief ? 0 : answer->body.len);
    size_t from = answer->body.len;
    if (take_body(r, answer, data) != 0 || (!r->brief && note_chunk(r, answer, from, now) != 0)) {
        r->state = READ_BROKEN;
    }
    answer->whole = r->state == READ_DONE;
}

void reader_end(struct reader *r, struct world_answer *answer) {
    answer->whole = answer->whole || r->state == READ_TO_END;
}
