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

#include "provider.h"

#define MAX_CONNS 8192
#define SEEN_SLOTS (1u << 21)

struct seen {
    uint64_t key;
    unsigned times;
};

static struct conn *conns[MAX_CONNS];
static struct seen *seen;
static unsigned n_seen;
static int epoll_fd, flap_fd = -1, flap_port;
static long requests, wrong, doubled;
static struct plant plant;

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
        play_whole(c, 400, "", "{\"error\":{\"message\":\"soak: another body than was sent\"}}");
        return;
    }
    unsigned times = times_seen(c);
    if (times > allowed(c)) {
        doubled++;
        fprintf(stderr, "provider: %016" PRIx64 " came %u times to %c, fault %c\n", c->job.nonce,
                times, c->target, c->job.fault);
    }
    if (!strchr("acr", c->target) || !play_fault(c, times, now())) {
        play_begin(c);
    }
}

/* True: the connection is still there. */
static bool go_on(struct conn *c) {
    double at = now();
    if (c->state == WAITING && c->due <= at) {
        play_begin(c);
    }
    while (c->state == SENDING || (c->state == DEAF && c->n_out)) {
        play_on(c, at, &plant);
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
        n = recv(c->fd, c->head + c->n_head, REQUEST_HEAD_MAX - c->n_head, 0);
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
        *(strcmp(argv[i], "--double") == 0 ? &plant.double_each : &plant.lose_each) =
            atol(argv[i + 1]);
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
