/* SPDX-License-Identifier: MIT */
/*
 * The clients of the soak: mixed requests on many connections, each answer checked byte for byte
 * while it comes (content.h). One thread, epoll, loopback only.
 *
 *   client PORT SECONDS RATE SLOTS SEED
 *
 * Starts RATE jobs a second on at most SLOTS connections, and after SECONDS (or SIGTERM) waits for
 * the last of them. Each second, and at the end, prints its counters as one line of JSON; what must
 * not be goes to standard error, one line each. Exit status 1 when there was any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "content.h"

#define MAX_SLOTS 1024
#define HEAD_MAX 16384
#define TAIL_MAX 4096
#define PIPELINE 4
#define PATIENCE 45.0 /* seconds for a job: anything longer is lost */
#define SHOWN 40      /* problems told in words */

enum kind {
    SMALL,
    FAULT,
    STREAM,
    STREAM_FAULT,
    BROKEN,
    PROMPT,
    UPLOAD,
    LEAVE,
    SLOW,
    PIPELINED,
    LARGE,
    FLAP,
    DEAD,
    QUEUE,
    DRIBBLE,
    CHUNKED,
    BAD,
    KINDS
};

/* How many of a thousand jobs. */
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

enum framing { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct slot {
    int fd;
    bool busy, fresh, leaves, resets, bad;
    enum kind kind;
    struct job jobs[PIPELINE];
    int n_jobs, at_job;
    char *out;
    size_t n_out, sent, step; /* step: bytes to send at a time, 0 = all */
    size_t read_step;         /* bytes to read at a time, 0 = all */
    double send_due, read_due, give_up, used_at;
    bool paused;
    size_t leave_at; /* bytes of the body after which it leaves; 0 = once the request is sent */
    /* the answer that is read */
    enum framing framing;
    char head[HEAD_MAX + 1];
    size_t n_head, left, got;
    char size_line[32];
    size_t n_size;
    bool closes;
    /* what it has to be */
    char piece[PIECE_MAX];
    size_t n_piece, at_piece;
    unsigned index;
    bool in_tail;
    char tail[TAIL_MAX];
    size_t n_tail;
};

static struct slot slots[MAX_SLOTS];
static int epoll_fd, port, n_slots;
static long done[KINDS], started, problems, answers, events, bytes, connections, in_flight;
static uint64_t seed, serial;
static volatile sig_atomic_t stopped;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned pick(unsigned n) {
    seed = content_mix(seed);
    return (unsigned)((seed >> 11) % n);
}

static unsigned between(unsigned low, unsigned high) {
    return low + pick(high - low + 1);
}

static char one_of(const char *letters) {
    return letters[pick((unsigned)strlen(letters))];
}

static struct job *current(struct slot *s) {
    return &s->jobs[s->at_job];
}

static void hang_up(struct slot *s) {
    if (s->fd >= 0) {
        if (s->resets) {
            setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        }
        close(s->fd);
    }
    s->fd = -1;
}

static void release(struct slot *s, bool keep) {
    free(s->out);
    s->out = NULL;
    s->busy = false;
    in_flight--;
    s->used_at = now();
    if (!keep) {
        hang_up(s);
    }
}

/* What must not be. Ends the job and its connection. */
__attribute__((format(printf, 2, 3))) static void problem(struct slot *s, const char *format, ...) {
    problems++;
    if (problems <= SHOWN) {
        char spec[SPEC_MAX], words[1024];
        va_list args;
        va_start(args, format);
        vsnprintf(words, sizeof(words), format, args);
        va_end(args);
        for (char *p = words; *p; p++) {
            *p = *p == '\n' || *p == '\r' ? '~' : *p;
        }
        job_write(current(s), spec);
        fprintf(stderr, "client: %s: %s [%s answer %d of %d]\n", kinds[s->kind].name, words, spec,
                s->at_job + 1, s->n_jobs);
    }
    release(s, false);
}

static void expect(struct slot *s) {
    s->framing = HEAD;
    s->n_head = s->got = s->n_size = s->n_piece = s->at_piece = s->n_tail = 0;
    s->index = 0;
    s->in_tail = s->closes = false;
}

static void job_done(struct slot *s) {
    answers++;
    done[s->kind]++;
    if (++s->at_job < s->n_jobs) {
        expect(s);
        return;
    }
    release(s, !s->fresh && !s->closes && !s->bad);
}

/* The bytes differ from the whole answer: right only where a broken stream's error event begins. */
static bool begins_tail(const struct slot *s, const struct job *job, size_t same) {
    bool exact = strchr("cxn", job->broken) != NULL; /* all its events come; else those that came */
    return job->reply == 's' && job->broken != '-' && s->at_piece + same <= strlen("data: {\"") &&
           s->index >= 3 && (exact ? s->index == job->keep + 2 : s->index <= job->keep + 2);
}

static bool differs(struct slot *s, const char *data, size_t n) {
    size_t same = 0;
    while (s->piece[s->at_piece + same] == data[same]) {
        same++;
    }
    if (begins_tail(s, current(s), same)) {
        s->in_tail = true;
        memcpy(s->tail, s->piece, s->at_piece);
        s->n_tail = s->at_piece;
        return false;
    }
    problem(s, "byte %zu differs, in piece %u: expected '%.60s', got '%.*s'", s->got + same,
            s->index - 1, s->piece + s->at_piece + same, n - same < 200 ? (int)(n - same) : 200,
            data + same);
    return true;
}

/* Bytes of the body, without their framing. True: the job is over. */
static bool check(struct slot *s, const char *data, size_t n) {
    bytes += (long)n;
    while (n > 0) {
        if (s->bad || s->in_tail) {
            size_t room = TAIL_MAX - 1 - s->n_tail, take = n < room ? n : room;
            memcpy(s->tail + s->n_tail, data, take);
            s->n_tail += take;
            s->got += n;
            return false;
        }
        if (s->at_piece == s->n_piece) {
            s->n_piece = job_piece(current(s), s->index++, s->piece);
            s->at_piece = 0;
            s->piece[s->n_piece] = '\0';
            events += current(s)->reply == 's';
            if (s->n_piece == 0) {
                problem(s, "%zu bytes after the end: '%.*s'", n, n < 200 ? (int)n : 200, data);
                return true;
            }
        }
        size_t take = s->n_piece - s->at_piece < n ? s->n_piece - s->at_piece : n;
        if (memcmp(s->piece + s->at_piece, data, take) != 0) {
            if (differs(s, data, take)) {
                return true;
            }
            continue;
        }
        s->at_piece += take;
        s->got += take;
        data += take;
        n -= take;
    }
    if (s->leaves && s->got >= s->leave_at) {
        done[s->kind]++;
        release(s, false);
        return true;
    }
    return false;
}

/* The framing is complete. */
static void ended_clean(struct slot *s) {
    s->tail[s->n_tail] = '\0';
    if (s->bad) {
        if (!strstr(s->tail, "\"error\"")) {
            problem(s, "a refusal without an error: %s", s->tail);
        } else {
            job_done(s);
        }
    } else if (current(s)->broken != '-') {
        problem(s, "a broken stream has a clean end after %zu bytes: %s", s->got, s->tail);
    } else if (s->at_piece != s->n_piece || job_piece(current(s), s->index, s->piece) != 0) {
        problem(s, "a clean end too soon, after %zu bytes", s->got);
    } else {
        job_done(s);
    }
}

static void ended_cut(struct slot *s, const char *how) {
    const char *start = "data: {\"error\"";
    s->tail[s->n_tail] = '\0';
    if (s->bad && s->at_job == 0 && s->framing == HEAD && s->n_head == 0) {
        problem(s, "a bad request got no answer");
    } else if (current(s)->broken == '-' || s->framing == HEAD) {
        problem(s, "%s after %zu bytes of the body, %zu of the head: '%.60s'", how, s->got,
                s->n_head, s->head);
    } else if (!s->in_tail || strncmp(s->tail, start, strlen(start)) != 0 || s->n_tail < 2 ||
               memcmp(s->tail + s->n_tail - 2, "\n\n", 2) != 0 || strstr(s->tail, "[DONE]")) {
        problem(s, "%s without an error event, in piece %u, after %zu bytes: '%s'", how, s->index,
                s->got, s->tail);
    } else {
        answers++;
        done[s->kind]++;
        release(s, false);
    }
}

static const char *field(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " ") : NULL;
}

/* Both targets broke before their first content: nothing could be hidden any more. */
static bool may_fail(const struct job *job) {
    return job->broken == 'r' || job->broken == 't';
}

/* A whole head. False: the job is over. */
static bool on_head(struct slot *s) {
    struct job *job = current(s);
    int status = atoi(s->head + strlen("HTTP/1.1 "));
    const char *length = field(s->head, "\r\ncontent-length:"), *id = field(s->head, "\r\nx-soak:"),
               *wanted = s->bad ? "HTTP/1.1 400" : "HTTP/1.1 200";
    char nonce[17];
    sprintf(nonce, "%016" PRIx64, job->nonce);
    s->closes = strcasestr(s->head, "\r\nconnection: close") != NULL;
    if (strncmp(s->head, wanted, strlen(wanted)) != 0) {
        if (may_fail(job) && (status == 502 || status == 504)) {
            done[s->kind]++;
            release(s, false);
            return false;
        }
        problem(s, "%s", s->head);
        return false;
    }
    if (!s->bad && (!id || strncmp(id, nonce, 16) != 0)) {
        problem(s, "somebody else's head: %s", s->head);
        return false;
    }
    if (!field(s->head, "\r\nx-moongate-request-id:")) {
        problem(s, "a head without a request id: %s", s->head);
        return false;
    }
    s->left = length ? strtoul(length, NULL, 10) : 0;
    s->framing = length ? LENGTH : CHUNK_SIZE;
    return true;
}

/* Takes what stands in front of the body's bytes; returns how many bytes were used. */
static size_t take_head(struct slot *s, const char *data, size_t n) {
    size_t take = n < HEAD_MAX - s->n_head ? n : HEAD_MAX - s->n_head, before = s->n_head;
    memcpy(s->head + s->n_head, data, take);
    s->n_head += take;
    s->head[s->n_head] = '\0';
    char *end = strstr(s->head, "\r\n\r\n");
    if (!end) {
        if (s->n_head == HEAD_MAX) {
            problem(s, "an endless head");
        }
        return take;
    }
    size_t used = (size_t)(end + 4 - s->head) - before;
    end[2] = '\0';
    if (on_head(s) && s->framing == LENGTH && s->left == 0) {
        ended_clean(s);
    }
    return used;
}

static size_t take_line(struct slot *s, const char *data, size_t n) {
    size_t used = 0;
    while (used < n && s->n_size < sizeof(s->size_line) - 1) {
        char c = data[used++];
        s->size_line[s->n_size++] = c;
        if (c == '\n') {
            s->size_line[s->n_size] = '\0';
            s->n_size = 0;
            if (s->framing == CHUNK_SIZE) {
                s->left = strtoul(s->size_line, NULL, 16);
                s->framing = s->left ? CHUNK_DATA : TRAILER;
                if (!strchr("0123456789abcdefABCDEF", s->size_line[0])) {
                    problem(s, "no chunk size: '%s'", s->size_line);
                }
            } else if (strcmp(s->size_line, "\r\n") != 0) {
                problem(s, "no line end after a chunk: '%s'", s->size_line);
            } else if (s->framing == TRAILER) {
                ended_clean(s);
            } else {
                s->framing = CHUNK_SIZE;
            }
            return used;
        }
    }
    if (s->n_size == sizeof(s->size_line) - 1) {
        problem(s, "a chunk's line without an end");
    }
    return used;
}

static size_t take_body(struct slot *s, const char *data, size_t n) {
    size_t take = n < s->left ? n : s->left;
    s->left -= take;
    if (check(s, data, take) || s->left) {
        return take;
    }
    if (s->framing == LENGTH) {
        ended_clean(s);
    } else {
        s->framing = CHUNK_END;
    }
    return take;
}

static void take(struct slot *s, const char *data, size_t n) {
    while (n > 0 && s->busy) {
        size_t used = s->framing == HEAD                                 ? take_head(s, data, n)
                      : s->framing == LENGTH || s->framing == CHUNK_DATA ? take_body(s, data, n)
                                                                         : take_line(s, data, n);
        data += used;
        n -= used;
    }
    if (n > 0 && s->fd >= 0) { /* the job ended well */
        problems++;
        fprintf(stderr, "client: %zu bytes after the last answer: '%.*s'\n", n,
                n < 100 ? (int)n : 100, data);
        hang_up(s);
    }
}

static void watch(struct slot *s) {
    struct epoll_event ev = {.data.ptr = s};
    ev.events = (s->paused ? 0u : (unsigned)EPOLLIN) |
                (s->busy && s->sent < s->n_out && !s->step ? (unsigned)EPOLLOUT : 0u);
    if (s->fd >= 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
    }
}

static void on_readable(struct slot *s) {
    static char data[131072];
    ssize_t n = recv(s->fd, data, s->busy && s->read_step ? s->read_step : sizeof(data), 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (!s->busy) { /* an idle connection: it may be closed, and nothing else */
        if (n > 0) {
            problems++;
            fprintf(stderr, "client: bytes nobody asked for: '%.*s'\n", n < 100 ? (int)n : 100,
                    data);
        }
        hang_up(s);
        return;
    }
    if (n <= 0) {
        ended_cut(s, n == 0 ? "closed" : "reset");
        return;
    }
    if (s->read_step) {
        s->paused = true;
        s->read_due = now() + 0.02;
    }
    take(s, data, (size_t)n);
}

static void on_writable(struct slot *s) {
    while (s->busy && s->sent < s->n_out) {
        size_t left = s->n_out - s->sent;
        ssize_t n =
            send(s->fd, s->out + s->sent, s->step && s->step < left ? s->step : left, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                ended_cut(s, "closed while the request was sent");
            }
            return;
        }
        s->sent += (size_t)n;
        if (s->step) {
            s->send_due = now() + 0.03;
            break;
        }
    }
    if (s->busy && s->leaves && s->leave_at == 0 && s->sent == s->n_out) {
        done[s->kind]++;
        release(s, false);
    }
}

static void connect_slot(struct slot *s) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, small = 4096;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->read_step) {
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.data.ptr = s};
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0) {
        problem(s, "no connection: %s", strerror(errno));
        return;
    }
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    connections++;
}

/* Jobs. */

static struct job plain_job(void) {
    return (struct job){.nonce = content_mix(++serial ^ 0x50a4000000000000u),
                        .reply = 'j',
                        .fault = '-',
                        .broken = '-',
                        .text = between(1, 600),
                        .pad = between(0, 400)};
}

static struct job stream_job(void) {
    struct job job = plain_job();
    static const unsigned gaps[] = {0, 0, 0, 1, 5, 20};
    job.reply = 's';
    job.events = between(1, 60);
    job.text = between(1, 200);
    job.gap = gaps[pick(6)];
    return job;
}

static const char *fault_job(struct job *job, bool stream) {
    *job = stream ? stream_job() : plain_job();
    job->fault = one_of(stream ? "4353cemw1" : "4353clg1w");
    if (pick(40) == 0) {
        job->fault = 'h';
    }
    return job->fault == '1'   ? "retry"
           : job->fault == 'w' ? "hedge"
           : pick(2)           ? "plain"
                               : "careful";
}

static const char *broken_job(struct job *job) {
    *job = stream_job();
    job->broken = one_of("ccrtxn");
    job->keep = between(1, job->events);
    job->gap = job->broken == 'r' ? 20 : job->gap;
    if (job->broken == 'r') {
        job->keep = between(1, job->keep < 8 ? job->keep : 8);
    }
    return job->broken == 't' ? "stall" : "plain";
}

/* Sets up a job of this kind; returns the model that its route is chosen by. */
static const char *make_job(struct slot *s, struct job *job) {
    *job = plain_job();
    switch (s->kind) {
    case FAULT:
        return fault_job(job, false);
    case STREAM:
        *job = stream_job();
        return pick(2) ? "plain" : "careful";
    case STREAM_FAULT:
        return fault_job(job, true);
    case BROKEN:
        return broken_job(job);
    case PROMPT:
        job->pad = between(150000, 250000);
        return "plain";
    case UPLOAD:
        job->reply = 'u';
        job->pad = between(1, 200000);
        return "plain";
    case LEAVE:
        *job = stream_job();
        job->gap = 5;
        return "plain";
    case SLOW:
        *job = stream_job();
        job->events = 200;
        job->text = 800;
        job->gap = 0;
        return "plain";
    case LARGE:
        job->text = between(1100000, 2000000);
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
        return pick(4) ? "plain" : "careful";
    }
}

static size_t chunk_body(const char *body, size_t n, char *out) {
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        size_t part = between(1, 200);
        part = part < n - at ? part : n - at;
        used += (size_t)sprintf(out + used, "%zx\r\n", part);
        memcpy(out + used, body + at, part);
        used += part;
        used += (size_t)sprintf(out + used, "\r\n");
        at += part;
    }
    return used + (size_t)sprintf(out + used, "0\r\n\r\n");
}

static size_t write_request(struct slot *s, const struct job *job, const char *model, char *out) {
    static char body[BODY_MAX];
    bool upload = job->reply == 'u', chunked = s->kind == CHUNKED;
    size_t n = job_body(job, model, body), used;
    if (s->bad) { /* the model twice */
        n = (size_t)sprintf(body, "{\"model\":\"plain\",\"model\":\"careful\",\"messages\":[]}");
    }
    used = (size_t)sprintf(out, "POST /v1/%s HTTP/1.1\r\nHost: soak\r\nContent-Type: %s\r\n%s",
                           upload ? "audio/transcriptions" : "chat/completions",
                           upload ? "multipart/form-data; boundary=" BOUNDARY : "application/json",
                           s->fresh ? "Connection: close\r\n" : "");
    if (chunked) {
        used += (size_t)sprintf(out + used, "Transfer-Encoding: chunked\r\n\r\n");
        return used + chunk_body(body, n, out + used);
    }
    used += (size_t)sprintf(out + used, "Content-Length: %zu\r\n\r\n", n);
    memcpy(out + used, body, n);
    return used + n;
}

static enum kind any_kind(void) {
    int at = (int)pick(1000);
    for (int kind = 0; kind < KINDS; kind++) {
        at -= kinds[kind].share;
        if (at < 0) {
            return (enum kind)kind;
        }
    }
    return SMALL;
}

static void start(struct slot *s) {
    bool was_slow = s->read_step != 0;
    s->busy = true;
    in_flight++;
    started++;
    s->kind = any_kind();
    s->n_jobs = s->kind == PIPELINED ? PIPELINE : 1;
    s->at_job = 0;
    s->fresh = s->n_jobs == 1 && pick(10) == 0;
    s->leaves = s->kind == LEAVE;
    s->resets = s->leaves && pick(2);
    s->leave_at = s->leaves && pick(3) ? between(1, 3000) : 0;
    s->bad = s->kind == BAD;
    s->step = s->kind == DRIBBLE ? 400 : 0;
    s->read_step = s->kind == SLOW ? 8192 : 0;
    s->paused = false;
    s->sent = s->n_out = 0;
    s->send_due = s->read_due = 0;
    s->give_up = now() + PATIENCE;
    s->out = malloc((size_t)s->n_jobs * (BODY_MAX + 1024) + (s->kind == CHUNKED ? BODY_MAX : 0));
    if (!s->out) {
        exit(3);
    }
    for (int i = 0; i < s->n_jobs; i++) {
        const char *model = make_job(s, &s->jobs[i]);
        s->n_out += write_request(s, &s->jobs[i], model, s->out + s->n_out);
    }
    expect(s);
    if (s->fd >= 0 && (s->read_step || was_slow || now() - s->used_at > 30)) {
        hang_up(s);
    }
    if (s->fd < 0) {
        connect_slot(s);
    }
    if (s->busy) {
        on_writable(s);
    }
    watch(s);
}

static void look_after(struct slot *s, double at) {
    if (!s->busy) {
        return;
    }
    if (at > s->give_up) {
        problem(s, "lost: no end within %.0f s, %zu bytes of the body came, framing %d", PATIENCE,
                s->got, s->framing);
        return;
    }
    if (s->paused && s->read_due <= at) {
        s->paused = false;
        watch(s);
    }
    if (s->step && s->sent < s->n_out && s->send_due <= at) {
        on_writable(s);
    }
}

static void report(double since, bool final) {
    printf(
        "{\"t\":%.1f,\"started\":%ld,\"answers\":%ld,\"events\":%ld,\"bytes\":%ld,\"problems\":%ld,"
        "\"connections\":%ld,\"open\":%ld,\"final\":%s,\"kinds\":{",
        now() - since, started, answers, events, bytes, problems, connections, in_flight,
        final ? "true" : "false");
    for (int kind = 0; kind < KINDS; kind++) {
        printf("%s\"%s\":%ld", kind ? "," : "", kinds[kind].name, done[kind]);
    }
    printf("}}\n");
    fflush(stdout);
}

static void on_signal(int number) {
    (void)number;
    stopped = 1;
}

static void turn(int wait) {
    struct epoll_event ready[256];
    int n = epoll_wait(epoll_fd, ready, 256, wait);
    for (int i = 0; i < n; i++) {
        struct slot *s = ready[i].data.ptr;
        if (s->fd >= 0 && ready[i].events & EPOLLOUT) {
            on_writable(s);
        }
        if (s->fd >= 0 && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            on_readable(s);
        }
        watch(s);
    }
}

/* Starts jobs at the rate asked for, while there are slots; what the machine cannot do is not owed.
 */
static void start_some(double rate, double at, double *owed, double *last) {
    *owed += (at - *last) * rate;
    *last = at;
    for (int i = 0; i < n_slots && *owed >= 1; i++) {
        struct slot *s = &slots[(started + i) % n_slots];
        if (!s->busy) {
            start(s);
            *owed -= 1;
        }
    }
    *owed = *owed > 50 ? 50 : *owed;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fputs("usage: client PORT SECONDS RATE SLOTS SEED\n", stderr);
        return 2;
    }
    port = atoi(argv[1]);
    double seconds = atof(argv[2]), rate = atof(argv[3]);
    n_slots = atoi(argv[4]);
    seed = strtoul(argv[5], NULL, 10);
    serial = content_mix(seed) & 0xffffffff000000u;
    epoll_fd = epoll_create1(0);
    if (n_slots < 1 || n_slots > MAX_SLOTS || epoll_fd < 0) {
        return 2;
    }
    for (int i = 0; i < n_slots; i++) {
        slots[i].fd = -1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    double begun = now(), end = begun + seconds, last = begun, told = begun, owed = 0;
    for (double at = begun; (at < end && !stopped) || in_flight > 0; at = now()) {
        if (at < end && !stopped) {
            start_some(rate, at, &owed, &last);
        }
        turn(2);
        for (int i = 0; i < n_slots; i++) {
            look_after(&slots[i], at);
        }
        if (at - told >= 1) {
            report(begun, false);
            told = at;
        }
    }
    for (int i = 0; i < n_slots; i++) {
        hang_up(&slots[i]);
    }
    report(begun, true);
    return problems > 0;
}
