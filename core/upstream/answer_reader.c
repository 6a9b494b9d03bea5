/* SPDX-License-Identifier: MIT */
#include "upstream/answer_reader.h"

#include "base/limits.h"

void answer_reader_init(struct answer_reader *r) {
    answer_init(&r->head);
    buf_init(&r->line, MAX_ANSWER_HEAD);
    answer_body_init(&r->body);
    r->is_head = false;
}

void answer_reader_release(struct answer_reader *r) {
    buf_release(&r->line);
    answer_body_release(&r->body);
    answer_release(&r->head);
}

void answer_reader_clear(struct answer_reader *r, bool is_head) {
    answer_reset(&r->head);
    buf_reuse(&r->line, TRANSFER_STORAGE_KEPT);
    answer_body_clear(&r->body);
    r->is_head = is_head;
}

static enum body_step failed(struct answer_reader *r, enum outcome fault, const char *detail) {
    r->body.fault = fault;
    r->body.detail = detail;
    return BODY_FAILED;
}

/* Takes one line off *in. False: its end has not come, or it cannot be kept (r->head.fault). */
static bool take_line(struct answer_reader *r, struct str *in, struct str *line) {
    const char *lf = memchr(in->p, '\n', in->n);
    size_t n = lf ? (size_t)(lf + 1 - in->p) : in->n;
    *line = str_make(in->p, n);
    *in = str_make(in->p + n, in->n - n);
    if (lf && r->line.len == 0) {
        return true;
    }
    if (buf_add_str(&r->line, *line) != BUF_OK) {
        r->head.fault = "the head is too long";
        return false;
    }
    *line = buf_str(&r->line);
    return lf != NULL;
}

/* Takes lines off *in up to the end of the head. */
static enum answer_result read_head(struct answer_reader *r, struct str *in) {
    struct str line;
    enum answer_result result = ANSWER_MORE;
    while (result == ANSWER_MORE && in->n > 0 && take_line(r, in, &line)) {
        result = answer_line(&r->head, line);
        buf_clear(&r->line);
    }
    return r->head.fault ? ANSWER_BAD : result;
}

/* The head is complete, and `in` is what came behind it. */
static enum body_step begin_body(struct answer_reader *r, struct str in,
                                 const struct answer_sink *sink) {
    enum body_step step = answer_body_begin(&r->body, &r->head, r->is_head);
    if (step == BODY_FAILED) {
        return step;
    }
    if (!sink->head(sink->body.ctx, &r->head)) {
        return BODY_STOPPED;
    }
    if (step == BODY_WHOLE) {
        r->body.surplus = in.n > 0;
        return step;
    }
    return in.n > 0 ? answer_body_read(&r->body, in, &sink->body) : BODY_MORE;
}

enum body_step answer_reader_feed(struct answer_reader *r, struct str in,
                                  const struct answer_sink *sink) {
    if (r->head.phase == ANSWER_BODY) {
        return answer_body_read(&r->body, in, &sink->body);
    }
    switch (read_head(r, &in)) {
    case ANSWER_HEAD:
        return begin_body(r, in, sink);
    case ANSWER_BAD:
        return failed(r, OUTCOME_INVALID_RESPONSE, r->head.fault);
    default:
        return BODY_MORE;
    }
}

enum body_step answer_reader_resume(struct answer_reader *r, const struct answer_sink *sink) {
    return r->head.phase == ANSWER_BODY ? answer_body_resume(&r->body, &sink->body) : BODY_MORE;
}

enum body_step answer_reader_end(struct answer_reader *r, const char *error,
                                 const struct answer_sink *sink) {
    if (r->head.phase != ANSWER_BODY) {
        return failed(r, OUTCOME_INVALID_RESPONSE, "the answer's head is cut off");
    }
    return error ? failed(r, OUTCOME_STREAM_BROKEN, error) : answer_body_end(&r->body, &sink->body);
}

bool answer_reader_begun(const struct answer_reader *r) {
    return r->head.bytes > 0 || r->line.len > 0;
}

/* Of a 204: it announces a body that it cannot have. If that comes, it comes before the next
 * answer. */
static bool lies_about_body(const struct answer *head) {
    struct str value;
    return head->status == 204 &&
           (headers_get(&head->headers, "transfer-encoding", &value) ||
            (headers_get(&head->headers, "content-length", &value) && !str_is(value, "0")));
}

bool answer_reader_may_keep(const struct answer_reader *r) {
    const struct headers *h = &r->head.headers;
    if (r->body.surplus || r->body.framing == BODY_TO_CLOSE || lies_about_body(&r->head)) {
        return false;
    }
    return r->head.minor >= 1 ? !headers_list_has(h, "connection", "close")
                              : headers_list_has(h, "connection", "keep-alive");
}
