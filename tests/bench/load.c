/* SPDX-License-Identifier: MIT */
/*
 * The client of the benchmark. One thread, epoll, keep-alive; loopback only, and it ends by itself.
 *
 *   load PORT plain   CONNS SECONDS BYTES [tls]
 *       each connection asks again as soon as it has its answer; BYTES of prompt
 *   load PORT stream  CONNS SECONDS EVENTS [tls]
 *       each connection asks for one stream of EVENTS events and reads it to its end
 *   load PORT streams CONNS SECONDS EVENTS [tls]
 *       ... and asks for the next one then
 *
 * With tls through TLS 1.2 or later, whatever the certificate. Prints one line of JSON: answers,
 * events and errors, and the time to an answer (plain) or to a stream's first event in µs.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS 2048
#define MAX_SAMPLES 2000000
#define HEAD_MAX 8192

struct conn {
    int fd;
    SSL *ssl; /* NULL = plain */
    char head[HEAD_MAX + 1];
    size_t n_head;
    bool in_body, chunked, seen_event;
    long left;    /* of a body with a length */
    char tail[7]; /* the last bytes of a chunked body: "\r\n0\r\n\r\n" ends it */
    char last;
    double asked_at;
};

static struct conn conns[MAX_CONNS];
static char *request;
static size_t request_length;
static bool streams, again;
static SSL_CTX *tls; /* NULL = plain */
static double *samples;
static long n_samples, answers, events, errors, open_conns;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sample(struct conn *c) {
    if (n_samples < MAX_SAMPLES) {
        samples[n_samples++] = (now() - c->asked_at) * 1e6;
    }
}

static ssize_t get(struct conn *c, void *data, size_t n) {
    if (!c->ssl) {
        return recv(c->fd, data, n, MSG_DONTWAIT);
    }
    int got = SSL_read(c->ssl, data, (int)n);
    if (got > 0) {
        return got;
    }
    int why = SSL_get_error(c->ssl, got);
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

/* Waits: the proxy reads. */
static ssize_t put(struct conn *c, const char *data, size_t n) {
    if (!c->ssl) {
        return send(c->fd, data, n, MSG_NOSIGNAL);
    }
    for (;;) {
        int sent = SSL_write(c->ssl, data, (int)n);
        if (sent > 0 || SSL_get_error(c->ssl, sent) != SSL_ERROR_WANT_WRITE) {
            return sent;
        }
        struct pollfd wait = {.fd = c->fd, .events = POLLOUT};
        poll(&wait, 1, 1000);
    }
}

static void drop(struct conn *c, bool failed) {
    errors += failed;
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->fd = -1;
    open_conns--;
}

static void ask(struct conn *c) {
    c->n_head = 0;
    c->in_body = c->seen_event = false;
    memset(c->tail, 0, sizeof(c->tail));
    c->asked_at = now();
    size_t sent = 0;
    while (sent < request_length) {
        ssize_t n = put(c, request + sent, request_length - sent);
        if (n <= 0) {
            drop(c, true);
            return;
        }
        sent += (size_t)n;
    }
}

static void done(struct conn *c) {
    answers++;
    if (!streams) {
        sample(c);
    }
    if (again) {
        ask(c);
    } else {
        drop(c, false);
    }
}

static bool ended(struct conn *c, const char *data, size_t n) {
    if (!c->chunked) {
        c->left -= (long)n;
        return c->left <= 0;
    }
    size_t keep = sizeof(c->tail);
    if (n >= keep) {
        memcpy(c->tail, data + n - keep, keep);
    } else {
        memmove(c->tail, c->tail + n, keep - n);
        memcpy(c->tail + keep - n, data, n);
    }
    return memcmp(c->tail, "\r\n0\r\n\r\n", keep) == 0;
}

static void body(struct conn *c, const char *data, size_t n) {
    long before = events;
    for (size_t i = 0; streams && i < n; i++) {
        events += data[i] == '\n' && c->last == '\n';
        c->last = data[i];
    }
    if (!c->seen_event && events > before) {
        c->seen_event = true;
        sample(c);
    }
    if (ended(c, data, n)) {
        done(c);
    }
}

static void read_some(struct conn *c) {
    static char data[65536];
    if (c->in_body) {
        ssize_t n = get(c, data, sizeof(data));
        if (n > 0) {
            body(c, data, (size_t)n);
        } else if (n == 0 || errno != EAGAIN) {
            drop(c, true);
        }
        return;
    }
    ssize_t n = get(c, c->head + c->n_head, HEAD_MAX - c->n_head);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            drop(c, true);
        }
        return;
    }
    c->n_head += (size_t)n;
    c->head[c->n_head] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        return;
    }
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "load: %.*s\n", (int)strcspn(c->head, "\r"), c->head);
        drop(c, true);
        return;
    }
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->chunked = !length || length > end;
    c->left = c->chunked ? 0 : atol(length + strlen("\r\ncontent-length:"));
    c->in_body = true;
    end += 4;
    size_t rest = c->n_head - (size_t)(end - c->head);
    if (rest > 0) {
        body(c, end, rest);
    }
}

/* What is decrypted already no epoll tells of. */
static void on_readable(struct conn *c) {
    do {
        read_some(c);
    } while (c->ssl && SSL_pending(c->ssl) > 0);
}

static bool shake_hands(struct conn *c) {
    c->ssl = tls ? SSL_new(tls) : NULL;
    return !tls || (c->ssl && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1 &&
                    fcntl(c->fd, F_SETFL, O_NONBLOCK) == 0);
}

static void make_request(int port, long amount) {
    size_t prompt = streams ? 64 : (size_t)amount;
    request = malloc(prompt + 2048);
    char *text = malloc(prompt + 1);
    if (!request || !text) {
        exit(1);
    }
    for (size_t i = 0; i < prompt; i++) {
        text[i] = "the quick brown fox "[i % 20];
    }
    text[prompt] = '\0';
    char *json = malloc(prompt + 512);
    if (!json) {
        exit(1);
    }
    int n = streams ? sprintf(json,
                              "{\"model\":\"client-model\",\"messages\":[{\"role\":\"user\","
                              "\"content\":\"%s\"}],"
                              "\"stream\":true,\"max_tokens\":%ld}",
                              text, amount)
                    : sprintf(json,
                              "{\"model\":\"client-model\",\"messages\":[{\"role\":\"user\","
                              "\"content\":\"%s\"}]}",
                              text);
    request_length =
        (size_t)sprintf(request,
                        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: "
                        "application/json\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
                        "Content-Length: %d\r\n\r\n%s",
                        port, n, json);
    free(json);
    free(text);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double p) {
    return n_samples ? samples[(long)((double)(n_samples - 1) * p)] : 0;
}

static void open_conn(int epoll, int port, struct conn *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        !shake_hands(c) || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
        perror("load: connect");
        exit(1);
    }
    open_conns++;
    ask(c);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fputs("usage: load PORT plain|stream|streams CONNS SECONDS BYTES|EVENTS [tls]\n", stderr);
        return 2;
    }
    int port = atoi(argv[1]), n_conns = atoi(argv[3]);
    double seconds = atof(argv[4]);
    streams = strncmp(argv[2], "stream", 6) == 0;
    again = strcmp(argv[2], "stream") != 0;
    samples = malloc(sizeof(*samples) * MAX_SAMPLES);
    tls = argc > 6 && strcmp(argv[6], "tls") == 0 ? SSL_CTX_new(TLS_client_method()) : NULL;
    int epoll = epoll_create1(0);
    if (n_conns < 1 || n_conns > MAX_CONNS || !samples || epoll < 0) {
        fputs("load: bad arguments\n", stderr);
        return 2;
    }
    make_request(port, atol(argv[5]));
    double start = now(), end = start + seconds;
    for (int i = 0; i < n_conns; i++) {
        open_conn(epoll, port, &conns[i]);
    }
    while (open_conns > 0 && now() < end) {
        struct epoll_event ready[256];
        int n = epoll_wait(epoll, ready, 256, 50);
        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;
            if (c->fd >= 0) {
                on_readable(c);
            }
        }
    }
    double took = now() - start;
    qsort(samples, (size_t)n_samples, sizeof(*samples), by_size);
    printf("{\"seconds\":%.3f,\"answers\":%ld,\"events\":%ld,\"errors\":%ld,\"p50\":%.1f,\"p99\":%."
           "1f}\n",
           took, answers, events, errors, percentile(0.5), percentile(0.99));
    return 0;
}
