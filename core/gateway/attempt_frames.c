/* SPDX-License-Identifier: MIT */
#include "gateway/attempt_frames.h"

#include <stdlib.h>

#include "gateway/exchange.h"

#define TEXT_HEADROOM KIB(16) /* errors without payload may be a little longer as text */

int attempt_frames_begin(struct attempt *a) {
    struct str type;
    if (a->status < 200 || a->status > 299 || !headers_get(&a->headers, "content-type", &type) ||
        !eventstream_is(type)) {
        return 0;
    }
    a->frames = malloc(sizeof(*a->frames));
    if (!a->frames) {
        return -1;
    }
    eventstream_init(a->frames, &a->worker->gateway->memory);
    headers_remove(&a->headers, "content-length"); /* of the frames */
    return headers_set(&a->headers, STR("content-type"), STR("text/event-stream"));
}

enum eventstream_result attempt_frames_read(struct attempt *a, struct str data, struct buf *text) {
    buf_init(text, MAX_EVENT_FRAME + data.n + TEXT_HEADROOM);
    buf_share(text, &a->worker->gateway->memory, POOL_WORK);
    return eventstream_feed(a->frames, data, text);
}

void attempt_frames_release(struct attempt *a) {
    if (a->frames) {
        eventstream_release(a->frames);
        free(a->frames);
        a->frames = NULL;
    }
}
