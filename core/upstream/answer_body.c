/* SPDX-License-Identifier: MIT */
#include "upstream/answer_body.h"

#include "base/limits.h"
#include "upstream/inflate.h"

void answer_body_init(struct answer_body *b) {
    *b = (struct answer_body){.framing = BODY_NONE};
    buf_init(&b->payload, SIZE_MAX / 2); /* holds what one read brought, never more */
}

void answer_body_release(struct answer_body *b) {
    inflate_free(b->inflate);
    b->inflate = NULL;
    buf_release(&b->payload);
}

void answer_body_clear(struct answer_body *b) {
    struct buf payload = b->payload;
    inflate_free(b->inflate);
    buf_reuse(&payload, TRANSFER_STORAGE_KEPT);
    *b = (struct answer_body){.framing = BODY_NONE, .payload = payload};
}

static enum body_step failed(struct answer_body *b, enum outcome fault, const char *detail) {
    b->fault = fault;
    b->detail = detail;
    return BODY_FAILED;
}

/* ---- where it begins ---- */

static void find_framing(struct answer_body *b, const struct answer *head, bool is_head) {
    struct str value;
    unsigned long long n = 0;
    http_chunks_init(&b->chunks);
    if (is_head || head->status == 204 || head->status == 304) {
        b->framing = BODY_NONE;
    } else if (headers_get(&head->headers, "transfer-encoding", &value)) {
        b->framing = BODY_CHUNKED; /* answer.c let nothing else through */
    } else if (headers_get(&head->headers, "content-length", &value) && str_to_u64(value, &n)) {
        b->framing = n ? BODY_LENGTH : BODY_NONE;
        b->left = n;
    } else {
        b->framing = BODY_TO_CLOSE;
    }
}

enum body_step answer_body_begin(struct answer_body *b, const struct answer *head, bool is_head) {
    struct str coding = {0};
    bool unknown;
    find_framing(b, head, is_head);
    b->complete = b->framing == BODY_NONE;
    if (b->complete) {
        return BODY_WHOLE;
    }
    if (!headers_get(&head->headers, "content-encoding", &coding) || inflate_not_needed(coding)) {
        return BODY_MORE;
    }
    b->inflate = inflate_new(coding, &unknown);
    if (b->inflate) {
        return BODY_MORE;
    }
    return failed(b, OUTCOME_INVALID_RESPONSE,
                  unknown ? "a content coding that nobody asked for and that is not understood"
                          : "out of memory");
}

/* ---- its bytes ---- */

/* Decodes what is in `payload`, until it is used up or the user has enough. BODY_MORE: go on. */
static enum body_step give_inflated(struct answer_body *b, const struct body_sink *sink) {
    enum inflate_result r = INFLATE_MORE;
    struct str in = str_make(b->payload.data + b->used, b->payload.len - b->used);
    bool more = true; /* decoded bytes may be waiting inside */
    while ((in.n > 0 || more) && !*sink->paused && r == INFLATE_MORE) {
        size_t n;
        r = inflate_step(b->inflate, &in, sink->room, sink->size, &n);
        more = n == sink->size;
        if (n > 0 && !sink->take(sink->ctx, sink->room, n)) {
            return BODY_STOPPED;
        }
    }
    b->used = b->payload.len - in.n;
    if (r == INFLATE_BAD) {
        return failed(b, OUTCOME_INVALID_RESPONSE, "the content coding is damaged");
    }
    if (b->complete && in.n == 0 && r == INFLATE_MORE && !*sink->paused) {
        return failed(b, OUTCOME_STREAM_BROKEN, "the content coding ends too soon");
    }
    return BODY_MORE;
}

/* Forgets what of the payload was given. */
static void drop_given(struct answer_body *b) {
    buf_consume(&b->payload, b->used);
    b->used = 0;
}

/* Bytes without their framing. */
static enum body_step give(struct answer_body *b, struct str in, const struct body_sink *sink) {
    if (!b->inflate) {
        return in.n == 0 || sink->take(sink->ctx, in.p, in.n) ? BODY_MORE : BODY_STOPPED;
    }
    drop_given(b);
    if (buf_add_str(&b->payload, in) != BUF_OK) {
        return failed(b, OUTCOME_INVALID_RESPONSE, "out of memory");
    }
    return give_inflated(b, sink);
}

static enum body_step give_unchunked(struct answer_body *b, const struct body_sink *sink) {
    if (b->inflate) {
        return give_inflated(b, sink);
    }
    b->used = b->payload.len;
    return give(b, buf_str(&b->payload), sink);
}

/* After everything that could be given was. */
static enum body_step settle(const struct answer_body *b, enum body_step step,
                             const struct body_sink *sink) {
    bool waits = b->inflate && step == BODY_MORE && *sink->paused;
    return step == BODY_MORE && b->complete && !waits ? BODY_WHOLE : step;
}

static enum body_step read_length(struct answer_body *b, struct str in,
                                  const struct body_sink *sink) {
    size_t n = in.n < b->left ? in.n : (size_t)b->left;
    b->left -= n;
    b->complete = b->left == 0;
    b->surplus = n < in.n;
    return give(b, str_make(in.p, n), sink);
}

static enum body_step read_chunks(struct answer_body *b, struct str in,
                                  const struct body_sink *sink) {
    size_t used;
    drop_given(b);
    int r = http_chunks_read(&b->chunks, in.p, in.n, &used, &b->payload, NULL);
    b->complete = r == 1;
    b->surplus = used < in.n;
    enum body_step step = give_unchunked(b, sink);
    return step == BODY_MORE && r < 0
               ? failed(b, OUTCOME_STREAM_BROKEN, "the answer's chunks are malformed")
               : step;
}

enum body_step answer_body_read(struct answer_body *b, struct str in,
                                const struct body_sink *sink) {
    enum body_step step = b->framing == BODY_LENGTH    ? read_length(b, in, sink)
                          : b->framing == BODY_CHUNKED ? read_chunks(b, in, sink)
                                                       : give(b, in, sink);
    return step == BODY_STOPPED ? step : settle(b, step, sink);
}

enum body_step answer_body_resume(struct answer_body *b, const struct body_sink *sink) {
    enum body_step step = b->inflate ? give_inflated(b, sink) : BODY_MORE;
    return step == BODY_STOPPED ? step : settle(b, step, sink);
}

enum body_step answer_body_end(struct answer_body *b, const struct body_sink *sink) {
    if (b->framing != BODY_TO_CLOSE) {
        return failed(b, OUTCOME_STREAM_BROKEN, "the provider closed the connection");
    }
    b->complete = true;
    return answer_body_resume(b, sink);
}
