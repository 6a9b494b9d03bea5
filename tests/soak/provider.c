/* SPDX-License-Identifier: MIT */
/*
 * The provider of the soak: several in one process, told apart by the first part of the path. It
 * checks every request byte for byte, answers what the job in the prompt says, and misbehaves as
 * the job says. One thread, epoll. Loopback only.
 *
 *   provider [--double N] [--lose N]     spoils every Nth answer in chunks, by a byte that comes
 * twice or a chunk that does not come: the soak has to find it
 *
 * Prints three ports: the provider's, one that comes and goes every second, one that nobody listens
 * on. On standard input a line asks for its counters, as one line of JSON; its end ends the
 * program.
 *
 * Faults before content, at the targets a, c and r only (b, q and s never have any):
 *   4 429 with Retry-After   3 503 with Retry-After   5 500   c closes   l half an answer, then
 * closes g two lengths   h never answers   e an error event, no content   m a stream without
 * content w waits 150 ms, then answers   1 503 the first time, then answers Breaks of streams: c
 * closes within an event   r resets   t falls silent   x an error event n ends its framing without
 * an end marker
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "content.h"

#define MAX_CONNS 8192
#define HEAD_MAX 8192
#define OUT_MAX 65536
#define SEEN_SLOTS (1u << 21)
#define RETRY_AFTER "Retry-After: 1\r\n"
#define OF_FLAP 1

enum state { READING, WAITING, SENDING, DEAF };

struct conn {
    int fd;
    enum state state;
    int origin; /* OF_FLAP: came through the listener that comes and goes */
    char head[HEAD_MAX + 1];
    size_t n_head, need; /* need: bytes of the body */
    char *body;
    size_t n_body;
    struct job job;
    char target;
    double due; /* WAITING: not before; SENDING: the next event */
    char out[OUT_MAX + 3 * PIECE_MAX];
    size_t n_out, sent;
    unsigned piece;
    bool chunked, last, close_after, reset_after;
    uint64_t odd; /* decides where chunks begin */
};

struct seen {
    uint64_t key;
    unsigned times;
};

static struct conn *conns[MAX_CONNS];
static struct seen *seen;
static unsigned n_seen;
static int epoll_fd, flap_fd = -1, flap_port;
static long requests, wrong, doubled, double_each, lose_each;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* How often this job has come to this target; forgets everything when half full. */
static unsigned times_seen(const struct conn *c) {
    uint64_t key = content_mix(c->job.nonce * 31 + (unsigned char)c->target) | 1;
    if (n_seen > SEEN_SLOTS / 2) {
        memset(seen, 0, sizeof(*seen) * SEEN_SLOTS);
        n_seen = 0;
    }
    for (size_t i = key % SEEN_SLOTS;; i = (i + 1) % SEEN_SLOTS) {
        if (!seen[i].key) {
            seen[i].key = key;
            n_seen++;
        }
        if (seen[i].key == key) {
            return ++seen[i].times;
        }
    }
}

static void drop(struct conn *c) {
    if (c->reset_after) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    }
    close(c->fd);
    conns[c->fd] = NULL;
    free(c->body);
    free(c);
}

static void watch(struct conn *c, unsigned events) {
    struct epoll_event ev = {.events = events, .data.fd = c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

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

static void whole(struct conn *c, int status, const char *more, const char *body) {
    c->n_out += (size_t)sprintf(c->out + c->n_out,
                                "HTTP/1.1 %d Soak\r\nContent-Type: application/json\r\n%s"
                                "Content-Length: %zu\r\n\r\n%s",
                                status, more, strlen(body), body);
    c->last = true;
    c->state = SENDING;
}

static void begin_answer(struct conn *c) {
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
    begin_answer(c);
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
static bool misbehave(struct conn *c, unsigned times) {
    switch (c->job.fault) {
    case '4':
        whole(c, 429, RETRY_AFTER, ERROR("slow down"));
        return true;
    case '3':
        whole(c, 503, RETRY_AFTER, ERROR("overloaded"));
        return true;
    case '5':
        whole(c, 500, "", ERROR("broken"));
        return true;
    case '1':
        if (times == 1) {
            whole(c, 503, "", ERROR("not now"));
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
        c->due = now() + 0.15;
        return true;
    default:
        return false;
    }
}

/* A job may come twice to a target that closed on it, or that it is to be tried at again. */
static unsigned allowed(const struct conn *c) {
    return c->job.fault == 'c' || c->job.fault == '1' || c->origin == OF_FLAP ? 2 : 1;
}

static const char *expected_body(const struct job *job, size_t *n) {
    static char body[BODY_MAX];
    *n = job_body(job, "x", body);
    return body;
}

static bool job_of(struct conn *c) {
    char prefix[256];
    bool upload = strcasestr(c->head, "multipart/form-data") != NULL;
    size_t skip = body_prefix(upload ? 'u' : 'j', "x", prefix), n;
    c->body[c->n_body] = '\0';
    if (c->n_body < skip || memcmp(c->body, prefix, skip) != 0 ||
        !job_read(c->body + skip, &c->job)) {
        return false;
    }
    const char *expected = expected_body(&c->job, &n);
    return n == c->n_body && memcmp(c->body, expected, n) == 0;
}

static void on_request(struct conn *c) {
    requests++;
    c->n_out = c->sent = 0;
    c->piece = 0;
    c->last = c->close_after = c->reset_after = false;
    c->n_head = 0;
    c->odd = (uint64_t)requests;
    if (!job_of(c)) {
        wrong++;
        fprintf(stderr, "provider: a request is not what the client sent: %.300s\n", c->body);
        whole(c, 400, "", "{\"error\":{\"message\":\"soak: another body than was sent\"}}");
        return;
    }
    unsigned times = times_seen(c);
    if (times > allowed(c)) {
        doubled++;
        fprintf(stderr, "provider: %016" PRIx64 " came %u times to %c, fault %c\n", c->job.nonce,
                times, c->target, c->job.fault);
    }
    if (!strchr("acr", c->target) || !misbehave(c, times)) {
        begin_answer(c);
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
static size_t spoil(const struct conn *c, char *piece, size_t n) {
    static long candidates;
    if (c->piece != 1 || n < 2 || n + 1 >= PIECE_MAX || !c->chunked) {
        return n;
    }
    candidates++;
    if (double_each && candidates % double_each == 0) {
        memmove(piece + n / 2 + 1, piece + n / 2, n - n / 2);
        return n + 1;
    }
    return lose_each && candidates % lose_each == 0 ? 0 : n;
}

/* Fills the output with what is due. */
static void produce(struct conn *c, double at) {
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
        put_body(c, piece, spoil(c, piece, n));
        c->piece++;
        if (c->job.reply == 's' && c->job.gap && c->piece > 1) {
            c->due = at + c->job.gap / 1000.0;
        }
    }
}

/* True: the connection is still there. */
static bool go_on(struct conn *c) {
    double at = now();
    if (c->state == WAITING && c->due <= at) {
        begin_answer(c);
    }
    while (c->state == SENDING || (c->state == DEAF && c->n_out)) {
        produce(c, at);
        while (c->sent < c->n_out) {
            ssize_t n = send(c->fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) {
                watch(c, EPOLLIN | EPOLLOUT);
                return true;
            }
            if (n < 0) {
                drop(c);
                return false;
            }
            c->sent += (size_t)n;
        }
        c->n_out = c->sent = 0;
        if (c->last && c->close_after) {
            drop(c);
            return false;
        }
        if (c->last && c->state == SENDING) {
            c->state = READING;
            free(c->body);
            c->body = NULL;
        }
        if (c->due > at || c->state != SENDING) {
            break;
        }
    }
    watch(c, EPOLLIN);
    return true;
}

static void on_head(struct conn *c, const char *end) {
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    const char *path = strchr(c->head, ' ');
    c->need = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    c->target = path && path[1] == '/' ? path[2] : '?';
    if (c->need >= BODY_MAX) {
        c->need = BODY_MAX - 1;
    }
    size_t used = (size_t)(end + 4 - c->head), rest = c->n_head - used;
    c->body = malloc(c->need + 1);
    if (!c->body) {
        die("malloc");
    }
    c->n_body = rest < c->need ? rest : c->need;
    memcpy(c->body, end + 4, c->n_body);
}

static void on_readable(struct conn *c) {
    ssize_t n;
    if (c->state != READING) { /* only an end can come: one request at a time */
        char byte[256];
        n = recv(c->fd, byte, sizeof(byte), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            drop(c);
        } else if (n > 0) {
            wrong++;
            fprintf(stderr, "provider: bytes while an answer was under way\n");
        }
        return;
    }
    if (c->body) {
        n = recv(c->fd, c->body + c->n_body, c->need - c->n_body, 0);
    } else {
        n = recv(c->fd, c->head + c->n_head, HEAD_MAX - c->n_head, 0);
    }
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            drop(c);
        }
        return;
    }
    if (c->body) {
        c->n_body += (size_t)n;
    } else {
        c->n_head += (size_t)n;
        c->head[c->n_head] = '\0';
        char *end = strstr(c->head, "\r\n\r\n");
        if (end) {
            on_head(c, end);
        }
    }
    if (c->body && c->n_body == c->need) {
        on_request(c);
        go_on(c);
    }
}

static int open_listener(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void listen_on(int fd) {
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || listen(fd, 1024) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        die("provider: listen");
    }
}

/* Goes away with all its connections, or comes back on the same port. */
static void flap(void) {
    if (flap_fd < 0) {
        flap_fd = open_listener(&flap_port);
        if (flap_fd >= 0) {
            listen_on(flap_fd);
        }
        return;
    }
    close(flap_fd);
    flap_fd = -1;
    for (int fd = 0; fd < MAX_CONNS; fd++) {
        if (conns[fd] && conns[fd]->origin == OF_FLAP) {
            drop(conns[fd]);
        }
    }
}

static void on_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), one = 1;
    if (fd < 0 || fd >= MAX_CONNS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conns[fd] = calloc(1, sizeof(struct conn));
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (!conns[fd] || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        die("provider: accept");
    }
    conns[fd]->fd = fd;
    conns[fd]->origin = listener == flap_fd ? OF_FLAP : 0;
}

static void on_ask(void) {
    char line[64];
    if (read(STDIN_FILENO, line, sizeof(line)) <= 0) {
        exit(0);
    }
    printf("{\"requests\":%ld,\"wrong\":%ld,\"doubled\":%ld}\n", requests, wrong, doubled);
    fflush(stdout);
}

static void tick(double at) {
    for (int fd = 0; fd < MAX_CONNS; fd++) {
        struct conn *c = conns[fd];
        if (c && c->state != READING && c->state != DEAF && c->due && c->due <= at &&
            c->n_out == 0) {
            go_on(c);
        }
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        *(strcmp(argv[i], "--double") == 0 ? &double_each : &lose_each) = atol(argv[i + 1]);
    }
    int port = 0, dead_port = 0, listener = open_listener(&port);
    seen = calloc(SEEN_SLOTS, sizeof(*seen));
    epoll_fd = epoll_create1(0);
    flap_fd = open_listener(&flap_port);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    if (!seen || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &ev) < 0 ||
        open_listener(&dead_port) < 0) {
        die("provider");
    }
    listen_on(listener);
    listen_on(flap_fd);
    printf("%d %d %d\n", port, flap_port, dead_port);
    fflush(stdout);
    for (double next_flap = now() + 1, next_tick = 0;;) {
        struct epoll_event ready[256];
        int n = epoll_wait(epoll_fd, ready, 256, 3);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == STDIN_FILENO) {
                on_ask();
            } else if (fd == listener || fd == flap_fd) {
                on_accept(fd);
            } else if (conns[fd] && (!(ready[i].events & EPOLLOUT) || go_on(conns[fd])) &&
                       ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                on_readable(conns[fd]);
            }
        }
        double at = now();
        if (at >= next_tick) {
            tick(at);
            next_tick = at + 0.003;
        }
        if (at >= next_flap) {
            flap();
            next_flap = at + 1;
        }
    }
}
