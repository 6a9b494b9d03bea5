/* SPDX-License-Identifier: MIT */
#include "gateway/attempt_mask.h"

#include "gateway/exchange.h"

#define MIN_MASKED 6 /* as for the configured ones: shorter keys would mask words */

void attempt_mask_text(const struct attempt *a, struct buf *text) {
    config_mask(a->x->config, text);
    if (a->key && strlen(a->key) >= MIN_MASKED) {
        buf_replace(text, str_of(a->key), STR("***"));
    }
}

static void mask_array(const struct attempt *a, char *text, size_t size) {
    struct buf copy;
    buf_init(&copy, size);
    if (buf_adds(&copy, text) == BUF_OK) {
        attempt_mask_text(a, &copy);
        str_copy(text, size, buf_str(&copy));
    } else {
        text[0] = '\0';
    }
    buf_release(&copy);
}

static int mask_headers(const struct attempt *a, struct headers *masked) {
    struct buf value;
    int bad = 0;
    buf_init(&value, MAX_ANSWER_HEAD);
    for (size_t i = 0; i < a->headers.n && !bad; i++) {
        struct header h = headers_at(&a->headers, i);
        buf_clear(&value);
        bad = buf_add_str(&value, h.value);
        attempt_mask_text(a, &value);
        bad = bad ? bad : headers_add(masked, h.name, buf_str(&value));
    }
    buf_release(&value);
    return bad;
}

void attempt_mask_verdict(struct attempt *a) {
    mask_array(a, a->verdict.message, sizeof(a->verdict.message));
    mask_array(a, a->verdict.code, sizeof(a->verdict.code));
}

void attempt_mask(struct attempt *a) {
    struct headers masked;
    attempt_mask_text(a, &a->held);
    if (a->body_cut) {
        config_mask_cut(a->x->config, &a->held);
    }
    attempt_mask_verdict(a);
    headers_init(&masked, MAX_HEADERS, MAX_ANSWER_HEAD);
    if (mask_headers(a, &masked) != 0) {
        headers_clear(&masked); /* no memory: no headers rather than a secret in one */
    }
    headers_release(&a->headers);
    a->headers = masked;
}
