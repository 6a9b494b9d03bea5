/* SPDX-License-Identifier: MIT */
#include "mix.h"

/* How many of a thousand. */
static const struct {
    const char *name;
    int share;
} kinds[KINDS] = {
    [SMALL] = {"small", 360},         [FAULT] = {"fault", 150},
    [STREAM] = {"stream", 140},       [STREAM_FAULT] = {"stream_fault", 60},
    [BROKEN] = {"broken_stream", 60}, [PROMPT] = {"prompt_200k", 20},
    [UPLOAD] = {"upload", 20},        [LEAVE] = {"leave", 50},
    [SLOW] = {"slow_reader", 10},     [PIPELINED] = {"pipelined", 25},
    [LARGE] = {"large_answer", 5},    [FLAP] = {"flapping", 30},
    [DEAD] = {"refusing", 20},        [QUEUE] = {"queued", 20},
    [DRIBBLE] = {"slow_body", 8},     [CHUNKED] = {"chunked_body", 12},
    [BAD] = {"bad_request", 10},
};

const char *kind_name(enum kind kind) {
    return kinds[kind].name;
}

unsigned mix_pick(struct mix *mix, unsigned n) {
    mix->seed = content_mix(mix->seed);
    return (unsigned)((mix->seed >> 11) % n);
}

unsigned mix_between(struct mix *mix, unsigned low, unsigned high) {
    return low + mix_pick(mix, high - low + 1);
}

static char one_of(struct mix *mix, const char *letters) {
    return letters[mix_pick(mix, (unsigned)strlen(letters))];
}

enum kind mix_kind(struct mix *mix) {
    int at = (int)mix_pick(mix, 1000);
    for (int kind = 0; kind < KINDS; kind++) {
        at -= kinds[kind].share;
        if (at < 0) {
            return (enum kind)kind;
        }
    }
    return SMALL;
}

static struct job plain_job(struct mix *mix) {
    return (struct job){.nonce = content_mix(++mix->serial ^ 0x50a4000000000000u),
                        .reply = 'j',
                        .fault = '-',
                        .broken = '-',
                        .text = mix_between(mix, 1, 600),
                        .pad = mix_between(mix, 0, 400)};
}

static struct job stream_job(struct mix *mix) {
    static const unsigned gaps[] = {0, 0, 0, 1, 5, 20};
    struct job job = plain_job(mix);
    job.reply = 's';
    job.events = mix_between(mix, 1, 60);
    job.text = mix_between(mix, 1, 200);
    job.gap = gaps[mix_pick(mix, 6)];
    return job;
}

static const char *fault_job(struct mix *mix, struct job *job, bool stream) {
    *job = stream ? stream_job(mix) : plain_job(mix);
    job->fault = one_of(mix, stream ? "4353cemw1" : "4353clg1w");
    if (mix_pick(mix, 40) == 0) {
        job->fault = 'h';
    }
    return job->fault == '1'   ? "retry"
           : job->fault == 'w' ? "hedge"
           : mix_pick(mix, 2)  ? "plain"
                               : "careful";
}

/* Before a reset there is time to read what came. */
static const char *broken_job(struct mix *mix, struct job *job) {
    *job = stream_job(mix);
    job->broken = one_of(mix, "ccrtxn");
    job->keep = mix_between(mix, 1, job->events);
    if (job->broken == 'r') {
        job->gap = 20;
        job->keep = mix_between(mix, 1, job->keep < 8 ? job->keep : 8);
    }
    return job->broken == 't' ? "stall" : "plain";
}

static const char *slow_job(struct mix *mix, struct job *job) {
    *job = stream_job(mix);
    job->events = 200;
    job->text = 800;
    job->gap = 0;
    return "plain";
}

const char *mix_job(struct mix *mix, enum kind kind, struct job *job) {
    *job = plain_job(mix);
    switch (kind) {
    case FAULT:
        return fault_job(mix, job, false);
    case STREAM:
        *job = stream_job(mix);
        return mix_pick(mix, 2) ? "plain" : "careful";
    case STREAM_FAULT:
        return fault_job(mix, job, true);
    case BROKEN:
        return broken_job(mix, job);
    case PROMPT:
        job->pad = mix_between(mix, 150000, 250000);
        return "plain";
    case UPLOAD:
        job->reply = 'u';
        job->pad = mix_between(mix, 1, 200000);
        return "plain";
    case LEAVE:
        *job = stream_job(mix);
        job->gap = 5;
        return "plain";
    case SLOW:
        return slow_job(mix, job);
    case LARGE:
        job->text = mix_between(mix, 1100000, 2000000);
        return "plain";
    case FLAP:
        return "flap";
    case DEAD:
        return "dead";
    case QUEUE:
        return "queue";
    case DRIBBLE:
        job->pad = 3000;
        return "plain";
    default:
        return mix_pick(mix, 4) ? "plain" : "careful";
    }
}

static size_t chunk_body(struct mix *mix, const char *body, size_t n, char *out) {
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        size_t part = mix_between(mix, 1, 200);
        part = part < n - at ? part : n - at;
        used += (size_t)sprintf(out + used, "%zx\r\n", part);
        memcpy(out + used, body + at, part);
        used += part;
        used += (size_t)sprintf(out + used, "\r\n");
        at += part;
    }
    return used + (size_t)sprintf(out + used, "0\r\n\r\n");
}

size_t mix_request(struct mix *mix, enum kind kind, const struct job *job, const char *model,
                   bool close, char *out) {
    static char body[BODY_MAX];
    bool upload = job->reply == 'u';
    size_t n = kind == BAD ? (size_t)sprintf(body, "{\"model\":\"plain\",\"model\":\"careful\"}")
                           : job_body(job, model, body);
    size_t used =
        (size_t)sprintf(out, "POST /v1/%s HTTP/1.1\r\nHost: soak\r\nContent-Type: %s\r\n%s",
                        upload ? "audio/transcriptions" : "chat/completions",
                        upload ? "multipart/form-data; boundary=" BOUNDARY : "application/json",
                        close ? "Connection: close\r\n" : "");
    if (kind == CHUNKED) {
        used += (size_t)sprintf(out + used, "Transfer-Encoding: chunked\r\n\r\n");
        return used + chunk_body(mix, body, n, out + used);
    }
    used += (size_t)sprintf(out + used, "Content-Length: %zu\r\n\r\n", n);
    memcpy(out + used, body, n);
    return used + n;
}
