/* SPDX-License-Identifier: MIT */
#include "provider.h"

#define RETRY_AFTER "Retry-After: 1\r\n"

static void put(struct conn *c, const char *data, size_t n) {
    memcpy(c->out + c->n_out, data, n);
    c->n_out += n;
}

static void put_text(struct conn *c, const char *text) {
    put(c, text, strlen(text));
}

/* A part of the body, cut into one to three chunks at odd places. */
static void put_body(struct conn *c, const char *data, size_t n) {
    if (!c->chunked) {
        put(c, data, n);
        return;
    }
    while (n > 0) {
        c->odd = content_mix(c->odd);
        size_t part = c->odd % 3 == 0 && n > 1 ? 1 + (c->odd >> 8) % (n - 1) : n;
        c->n_out += (size_t)sprintf(c->out + c->n_out, "%zx\r\n", part);
        put(c, data, part);
        put_text(c, "\r\n");
        data += part;
        n -= part;
    }
}

void play_whole(struct conn *c, int status, const char *more, const char *body) {
    c->n_out += (size_t)sprintf(c->out + c->n_out,
                                "HTTP/1.1 %d Soak\r\nContent-Type: application/json\r\n%s"
                                "Content-Length: %zu\r\n\r\n%s",
                                status, more, strlen(body), body);
    c->last = true;
    c->state = SENDING;
}

void play_begin(struct conn *c) {
    bool stream = c->job.reply == 's';
    char framing[64] = "Transfer-Encoding: chunked";
    c->chunked = stream || c->job.nonce % 3 == 0;
    if (!c->chunked) {
        sprintf(framing, "Content-Length: %zu", job_length(&c->job));
    }
    c->n_out += (size_t)sprintf(
        c->out + c->n_out,
        "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nX-Soak: %016" PRIx64 "\r\n%s\r\n\r\n",
        stream ? "text/event-stream" : "application/json", c->job.nonce, framing);
    c->state = SENDING;
    c->due = 0;
}

static void stream_without_content(struct conn *c, const char *event) {
    c->job.reply = 's';
    c->job.broken = '-';
    play_begin(c);
    put_body(c, event, strlen(event));
    put_text(c, "0\r\n\r\n");
    c->last = true;
}

static void half_answer(struct conn *c) {
    put_text(
        c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n"
           "{\"id\":\"half\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"cont");
    c->state = SENDING;
    c->last = c->close_after = true;
}

static void two_lengths(struct conn *c) {
    put_text(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                "Content-Length: 3\r\n\r\n{}");
    c->state = SENDING;
    c->last = c->close_after = true;
}

#define ERROR(words) "{\"error\":{\"message\":\"soak: " words "\",\"type\":\"server_error\"}}"

/* False: no fault now, answer as usual. */
bool play_fault(struct conn *c, unsigned times, double at) {
    switch (c->job.fault) {
    case '4':
        play_whole(c, 429, RETRY_AFTER, ERROR("slow down"));
        return true;
    case '3':
        play_whole(c, 503, RETRY_AFTER, ERROR("overloaded"));
        return true;
    case '5':
        play_whole(c, 500, "", ERROR("broken"));
        return true;
    case '1':
        if (times == 1) {
            play_whole(c, 503, "", ERROR("not now"));
        }
        return times == 1;
    case 'c':
        c->state = SENDING;
        c->last = c->close_after = true;
        return true;
    case 'l':
        half_answer(c);
        return true;
    case 'g':
        two_lengths(c);
        return true;
    case 'h':
        c->state = DEAF;
        return true;
    case 'e':
        stream_without_content(c, "data: " ERROR("no content") "\n\n");
        return true;
    case 'm':
        stream_without_content(c, "data: [DONE]\n\n");
        return true;
    case 'w':
        c->state = WAITING;
        c->due = at + 0.15;
        return true;
    default:
        return false;
    }
}

/* How a stream ends early. */
static void break_stream(struct conn *c) {
    char piece[PIECE_MAX];
    size_t n = job_piece(&c->job, c->piece, piece);
    c->last = true;
    switch (c->job.broken) {
    case 'c':
        put_body(c, piece, n / 2);
        c->close_after = true;
        break;
    case 'r':
        c->close_after = c->reset_after = true;
        break;
    case 't':
        c->state = DEAF;
        break;
    case 'x':
        put_body(c, "data: " ERROR("in the middle") "\n\n",
                 strlen("data: " ERROR("in the middle") "\n\n"));
        put_text(c, "0\r\n\r\n");
        break;
    default:
        put_text(c, "0\r\n\r\n");
        break;
    }
}

/* Plants what the client must find, in every so manieth answer that can have it: a byte twice, or a
 * chunk left out. */
static size_t spoil(const struct conn *c, struct plant *plant, char *piece, size_t n) {
    if (c->piece != 1 || n < 2 || n + 1 >= PIECE_MAX || !c->chunked) {
        return n;
    }
    plant->candidates++;
    if (plant->double_each && plant->candidates % plant->double_each == 0) {
        memmove(piece + n / 2 + 1, piece + n / 2, n - n / 2);
        return n + 1;
    }
    return plant->lose_each && plant->candidates % plant->lose_each == 0 ? 0 : n;
}

/* Fills the output with what is due. */
void play_on(struct conn *c, double at, struct plant *plant) {
    char piece[PIECE_MAX];
    while (!c->last && c->n_out < OUT_MAX - 2 * PIECE_MAX && c->due <= at) {
        if (c->job.broken != '-' && c->piece > c->job.keep) {
            break_stream(c);
            return;
        }
        size_t n = job_piece(&c->job, c->piece, piece);
        if (n == 0) {
            put_text(c, c->chunked ? "0\r\n\r\n" : "");
            c->last = true;
            return;
        }
        put_body(c, piece, spoil(c, plant, piece, n));
        c->piece++;
        if (c->job.reply == 's' && c->job.gap && c->piece > 1) {
            c->due = at + c->job.gap / 1000.0;
        }
    }
}
