/* SPDX-License-Identifier: MIT */
/*
 * The provider of the benchmark: as fast as it can be, so that what is measured is the proxy in
 * front of it. One thread, epoll, keep-alive. A request with "stream":true gets as many events as
 * its "max_tokens" says: the first at once, the others RATE times a second; any other request gets
 * a small JSON answer at once. A path that ends in /messages is answered in Anthropic's dialect,
 * any other in OpenAI's, with the same content. Prints its port. Not a server for anything else: it
 * trusts its input.
 *
 *   upstream RATE
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAX_CONNS 4096
#define HEAD_MAX 16384
#define KEEP_MAX 4096 /* of a body this much is kept, to find its settings in */
#define PHASES 20     /* streams are spread over the interval between two events */

struct conn {
    bool used;
    char in[HEAD_MAX + 1]; /* the head while it is read */
    size_t n_in;
    bool in_body;
    size_t body_left;
    char kept[KEEP_MAX + 1]; /* the body's last bytes: settings stand behind the prompt there */
    size_t n_kept;
    int events_left; /* of the stream under way */
    const struct speech *speech;
};

static struct conn conns[MAX_CONNS];

/* What is said, in one dialect. */
struct speech {
    const char *answer;
    const char *first; /* before a stream's first event, in one write with it */
    const char *event;
    const char *last; /* after the last one */
};

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#define SENTENCE                                                                                   \
    "The quick brown fox jumps over the lazy dog, again and again, until the benchmark is over "   \
    "and everybody may go home."

static const struct speech OPENAI = {
    .answer = "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
              "\"model\":\"bench\",\"choices\":[{\"index\":0,"
              "\"message\":{\"role\":\"assistant\",\"content\":\"" SENTENCE
              "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,"
              "\"completion_tokens\":24,\"total_tokens\":36}}",
    .first = "",
    .event = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
             "\"created\":1700000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\","
             "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,"
             "\"finish_reason\":null}]}\n\n",
    .last = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
            "\"created\":1700000000,\"model\":\"bench\","
            "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
            "data: [DONE]\n\n",
};

static const struct speech ANTHROPIC = {
    .answer =
        "{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench\","
        "\"content\":[{\"type\":\"text\",\"text\":\"" SENTENCE
        "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
        "\"usage\":{\"input_tokens\":12,\"output_tokens\":24}}",
    .first = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":"
             "\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench\","
             "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
             "\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n"
             "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
             "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    .event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
             "\"delta\":{\"type\":\"text_delta\",\"text\":\" token\"}}\n\n",
    .last = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
            "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":24}}\n\n"
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void conn_drop(int fd) {
    conns[fd].used = false;
    close(fd);
}

/* What is sent is small and the peer reads: a short write is the end of the connection. */
static void put(int fd, const char *data, size_t n) {
    if (send(fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) {
        conn_drop(fd);
    }
}

static size_t add_chunk(char *out, const char *data, size_t n) {
    return (size_t)sprintf(out, "%zx\r\n%.*s\r\n", n, (int)n, data);
}

static void send_event(int fd, bool with_head) {
    struct conn *c = &conns[fd];
    const struct speech *s = c->speech;
    char out[4096];
    size_t n = 0;
    if (with_head) {
        n = (size_t)sprintf(out, "%s", STREAM_HEAD);
        n += *s->first ? add_chunk(out + n, s->first, strlen(s->first)) : 0;
    }
    n += add_chunk(out + n, s->event, strlen(s->event));
    if (--c->events_left <= 0) {
        n += add_chunk(out + n, s->last, strlen(s->last));
        n += (size_t)sprintf(out + n, "0\r\n\r\n");
    }
    put(fd, out, n);
}

static void answer(int fd) {
    struct conn *c = &conns[fd];
    c->kept[c->n_kept] = '\0';
    if (strstr(c->kept, "\"stream\":true")) {
        const char *tokens = strstr(c->kept, "\"max_tokens\":");
        c->events_left = tokens ? atoi(tokens + strlen("\"max_tokens\":")) : 1;
        send_event(fd, true);
        return;
    }
    char out[2048];
    int n = sprintf(
        out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(c->speech->answer), c->speech->answer);
    put(fd, out, (size_t)n);
}

static void keep(struct conn *c, const char *data, size_t n) {
    if (n >= KEEP_MAX) {
        memcpy(c->kept, data + n - KEEP_MAX, KEEP_MAX);
        c->n_kept = KEEP_MAX;
        return;
    }
    if (c->n_kept + n > KEEP_MAX) {
        size_t over = c->n_kept + n - KEEP_MAX;
        memmove(c->kept, c->kept + over, c->n_kept - over);
        c->n_kept -= over;
    }
    memcpy(c->kept + c->n_kept, data, n);
    c->n_kept += n;
}

static void take_body(int fd, const char *data, size_t n) {
    struct conn *c = &conns[fd];
    n = n < c->body_left ? n : c->body_left;
    keep(c, data, n);
    c->body_left -= n;
    if (c->body_left == 0) {
        c->in_body = false;
        c->n_in = 0;
        answer(fd);
    }
}

static void on_readable(int fd) {
    static char data[262144];
    struct conn *c = &conns[fd];
    if (c->in_body) {
        ssize_t n = recv(fd, data, sizeof(data), 0);
        if (n <= 0) {
            conn_drop(fd);
        } else {
            take_body(fd, data, (size_t)n);
        }
        return;
    }
    ssize_t n = recv(fd, c->in + c->n_in, HEAD_MAX - c->n_in, 0);
    if (n <= 0) {
        conn_drop(fd);
        return;
    }
    c->n_in += (size_t)n;
    c->in[c->n_in] = '\0';
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) {
        return;
    }
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    c->body_left =
        length && length < end ? strtoul(length + strlen("\r\ncontent-length:"), NULL, 10) : 0;
    const char *line = strstr(c->in, "\r\n");
    const char *messages = strstr(c->in, "/messages ");
    c->speech = messages && messages < line ? &ANTHROPIC : &OPENAI;
    c->in_body = true;
    c->n_kept = 0;
    size_t head = (size_t)(end + 4 - c->in);
    take_body(fd, end + 4, c->n_in - head);
}

static void on_tick(int timer, int *phase) {
    uint64_t times;
    if (read(timer, &times, sizeof(times)) != sizeof(times)) {
        return;
    }
    for (times = times > PHASES ? PHASES : times; times > 0; times--) {
        for (int fd = *phase; fd < MAX_CONNS; fd += PHASES) {
            if (conns[fd].used && conns[fd].events_left > 0) {
                send_event(fd, false);
            }
        }
        *phase = (*phase + 1) % PHASES;
    }
}

static void on_accept(int epoll, int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return;
    }
    if (fd >= MAX_CONNS) {
        close(fd);
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conns[fd] = (struct conn){.used = true};
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        conn_drop(fd);
    }
}

int main(int argc, char **argv) {
    int rate = argc > 1 ? atoi(argv[1]) : 100;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (rate < 1 || listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 ||
        listen(listener, 4096) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        die("upstream");
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long every = 1000000000L / rate / PHASES;
    struct itimerspec spec = {.it_interval = {.tv_nsec = every}, .it_value = {.tv_nsec = every}};
    int epoll = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event tick = {.events = EPOLLIN, .data.fd = timer};
    if (timer < 0 || timerfd_settime(timer, 0, &spec, NULL) < 0 || epoll < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &tick) < 0) {
        die("upstream");
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int phase = 0;;) {
        struct epoll_event ready[256];
        int n = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                on_accept(epoll, listener);
            } else if (fd == timer) {
                on_tick(timer, &phase);
            } else if (conns[fd].used) {
                on_readable(fd);
            }
        }
    }
}
