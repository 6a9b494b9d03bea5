/* SPDX-License-Identifier: MIT */
/*
 * What soak requests and answers consist of, for the client that checks and the provider that
 * answers: both compute every byte from the job, so that a byte which is lost, doubled, out of
 * order or somebody else's shows. A job is written into the request's prompt ("n=… r=… f=…").
 */
#ifndef SOAK_CONTENT_H
#define SOAK_CONTENT_H
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PIECE_MAX 2048 /* one piece of an answer: an event, or a part of a JSON text */
#define TEXT_PART 1024 /* bytes of text in a piece of a plain answer */
#define PAD_MAX 300000 /* bytes of a prompt or an upload */
#define BODY_MAX (PAD_MAX + 1024)
#define SPEC_MAX 160
#define BOUNDARY "soak-boundary-1f2e3d"

struct job {
    uint64_t nonce;
    char reply;      /* j JSON, s stream, u upload (answered with JSON) */
    char fault;      /* of the first target, before content; '-' none; provider.c has the list */
    char broken;     /* how a stream ends after `keep` events; '-' whole */
    unsigned events; /* of a stream */
    unsigned gap;    /* ms between them */
    unsigned keep;   /* events before it breaks */
    unsigned text;   /* bytes of text in the answer, or in each event */
    unsigned pad;    /* bytes in the prompt, or of the upload */
};

static inline uint64_t content_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Bytes [at, at + n) of the endless text of a nonce; `at` is a multiple of 8. */
static inline void content_text(uint64_t nonce, uint64_t at, char *out, size_t n) {
    static const char alphabet[65] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = content_mix(nonce ^ content_mix(at + i));
        for (size_t j = 0; j < 8 && i + j < n; j++) {
            out[i + j] = alphabet[(word >> (8 * j)) & 63];
        }
    }
}

static inline void content_binary(uint64_t nonce, char *out, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = content_mix(nonce ^ content_mix(i + 77));
        memcpy(out + i, &word, n - i < 8 ? n - i : 8);
    }
}

static inline size_t job_write(const struct job *job, char *out) {
    return (size_t)sprintf(out, "n=%016" PRIx64 " r=%c f=%c b=%c e=%u g=%u k=%u t=%u p=%u;",
                           job->nonce, job->reply, job->fault, job->broken, job->events, job->gap,
                           job->keep, job->text, job->pad);
}

static inline bool job_read(const char *text, struct job *job) {
    return sscanf(text, "n=%16" SCNx64 " r=%c f=%c b=%c e=%u g=%u k=%u t=%u p=%u;", &job->nonce,
                  &job->reply, &job->fault, &job->broken, &job->events, &job->gap, &job->keep,
                  &job->text, &job->pad) == 9 &&
           job->pad <= PAD_MAX && job->text <= PIECE_MAX * 2048u;
}

#define UPLOAD_START "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n"
#define UPLOAD_FILE                                                                                \
    "\r\n--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n"  \
    "Content-Type: application/octet-stream\r\n\r\n"
#define UPLOAD_END "\r\n--" BOUNDARY "--\r\n"

static inline size_t body_prefix(char reply, const char *model, char *out) {
    return (size_t)(reply == 'u' ? sprintf(out, UPLOAD_START)
                                 : sprintf(out,
                                           "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\","
                                           "\"content\":\"",
                                           model));
}

/* The request's body: as the client sends it with its model, as the provider gets it with its own.
 * out: BODY_MAX bytes. */
static inline size_t job_body(const struct job *job, const char *model, char *out) {
    size_t n = body_prefix(job->reply, model, out);
    n += job_write(job, out + n);
    if (job->reply == 'u') {
        n += (size_t)sprintf(out + n, UPLOAD_FILE);
        content_binary(job->nonce, out + n, job->pad);
        n += job->pad;
        return n + (size_t)sprintf(out + n, UPLOAD_END);
    }
    content_text(job->nonce, 1u << 30, out + n, job->pad);
    n += job->pad;
    return n + (size_t)sprintf(out + n, "\"}]%s,\"user\":\"u%" PRIu64 "\"}",
                               job->reply == 's' ? ",\"stream\":true" : "", job->nonce & 1023);
}

#define ID                                                                                         \
    "\"id\":\"soak-%016" PRIx64 "\",\"object\":\"chat.completion%s\",\"created\":1,\"model\":"     \
    "\"x\""

static inline size_t plain_piece(const struct job *job, unsigned index, char *out) {
    unsigned parts = (job->text + TEXT_PART - 1) / TEXT_PART;
    if (index == 0) {
        return (size_t)sprintf(out,
                               "{" ID ",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                               "\"assistant\",\"content\":\"",
                               job->nonce, "");
    }
    if (index <= parts) {
        unsigned at = (index - 1) * TEXT_PART;
        unsigned n = job->text - at < TEXT_PART ? job->text - at : TEXT_PART;
        content_text(job->nonce, at, out, n);
        return n;
    }
    return index > parts + 1
               ? 0
               : (size_t)sprintf(out,
                                 "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%u,"
                                 "\"completion_tokens\":%u,\"total_tokens\":%u}}",
                                 job->pad, job->text, job->pad + job->text);
}

static inline size_t event_text(const struct job *job, unsigned index, char *out) {
    unsigned n = job->text < PIECE_MAX / 2 ? job->text : PIECE_MAX / 2;
    size_t used = (size_t)sprintf(out,
                                  "data: {" ID ",\"choices\":[{\"index\":0,\"delta\":{"
                                  "\"content\":\"%u:",
                                  job->nonce, ".chunk", index);
    content_text(job->nonce, (uint64_t)index * 4096, out + used, n);
    used += n;
    return used + (size_t)sprintf(out + used, "%s\"},\"finish_reason\":null}]}\n\n",
                                  index % 7 == 3 ? " \\\"\\n\\u00e9 \xc3\xa9" : "");
}

/* Piece `index` of the whole answer, PIECE_MAX bytes at the most; 0 after the last. In a stream:
 * the role, the events from 1 on, the finish, the end marker. */
static inline size_t job_piece(const struct job *job, unsigned index, char *out) {
    if (job->reply != 's') {
        return plain_piece(job, index, out);
    }
    if (index == 0) {
        return (size_t)sprintf(out,
                               "data: {" ID ",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
                               "\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
                               job->nonce, ".chunk");
    }
    if (index <= job->events) {
        return event_text(job, index, out);
    }
    if (index == job->events + 1) {
        return (size_t)sprintf(out,
                               "data: {" ID ",\"choices\":[{\"index\":0,\"delta\":{},"
                               "\"finish_reason\":\"stop\"}]}\n\n",
                               job->nonce, ".chunk");
    }
    return index > job->events + 2 ? 0 : (size_t)sprintf(out, "data: [DONE]\n\n");
}

static inline size_t job_length(const struct job *job) {
    char piece[PIECE_MAX];
    size_t n, total = 0;
    for (unsigned i = 0; (n = job_piece(job, i, piece)) > 0; i++) {
        total += n;
    }
    return total;
}

#endif
