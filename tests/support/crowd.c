/* SPDX-License-Identifier: MIT */
/*
 * Thousands of clients, each with an open stream, and the provider that feeds them, in one process:
 * so it knows of every byte whether it arrived, whole and in order. One thread, epoll. Clients come
 * from several addresses of the loopback, for the sake of ports. For tests alone: it trusts the
 * gateway to frame its answers in chunks and its requests with a length, and says when it does not.
 *
 * Prints the provider's port, then obeys lines on its standard input and answers each with one:
 *   open PORT N   N clients ask for a stream each and read its first event     "open N"
 *   send K        the provider sends K further events on each stream           "sent EVENTS"
 *   end           … and ends them                                              "ended N"
 * or with "failed REASON".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_STREAMS 20000
#define MAX_FDS 100000
#define CONNECTING_MAX 200 /* at once: fewer than fit in the gateway's backlog */
#define ADDRESSES 8
#define HEAD_MAX 4096
#define EVENT_MAX 512
#define PATIENCE_MS 60000 /* without a single event on any socket */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum kind { NOBODY, LISTENER, PROVIDER, CLIENT };
enum frame { HEAD, SIZE, DATA, DATA_END, LAST, OVER };

struct peer {
    enum kind kind;
    int stream; /* -1: not known yet */
    char head[HEAD_MAX + 1];
    size_t n_head;
};

struct stream {
    int client, provider; /* descriptors */
    enum frame frame;
    size_t left; /* of the chunk */
    int event;   /* the one that is awaited, from 0 */
    size_t at;   /* bytes of it that came */
};

static struct peer *peers[MAX_FDS];
static struct stream streams[MAX_STREAMS];
static int epoll, n_streams, opened, connecting, arrived, over, sent_events;
static bool ending;
static uint16_t gateway_port;

static void fail(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("failed ");
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    exit(1);
}

/* Event k of a stream, different from all others; the last one is what ends a stream. */
static size_t event_text(char *out, int stream, int k, bool last) {
    if (last) {
        return (size_t)sprintf(out,
                               "data: {\"id\":\"s%d\",\"choices\":[{\"index\":0,\"delta\":{},"
                               "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
                               stream);
    }
    return (size_t)sprintf(
        out,
        "data: {\"id\":\"s%d\",\"choices\":[{\"index\":0,\"delta\":{"
        "\"content\":\"%d of %d:%.*s\"},\"finish_reason\":null}]}\n\n",
        stream, k, stream, (stream * 7 + k * 13) % 150,
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrst"
        "uvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmn"
        "opqrstuvwxyz");
}

static void watch(int fd, enum kind kind, uint32_t events, int stream) {
    struct epoll_event ev = {.events = events, .data.fd = fd};
    if (fd >= MAX_FDS || !(peers[fd] = calloc(1, sizeof(struct peer))) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
        fail("descriptor %d: %s", fd, strerror(errno));
    }
    peers[fd]->kind = kind;
    peers[fd]->stream = stream;
}

static void drop(int fd) {
    free(peers[fd]);
    peers[fd] = NULL;
    close(fd);
}

static void put(int fd, const char *data, size_t n) {
    if (send(fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) {
        fail("a write of %zu bytes: %s", n, strerror(errno));
    }
}

/* ---- the provider ---- */

static void send_event(int i, int k, bool last) {
    char text[EVENT_MAX], out[EVENT_MAX + 256];
    size_t n = event_text(text, i, k, last);
    int used = sprintf(out, "%s%zx\r\n%s\r\n%s",
                       k == 0 ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n"
                              : "",
                       n, text, last ? "0\r\n\r\n" : "");
    put(streams[i].provider, out, (size_t)used);
}

static void on_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int on = 1;
    if (fd < 0) {
        fail("accept: %s", strerror(errno));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(fd, PROVIDER, EPOLLIN, -1);
}

static void on_request(int fd) {
    struct peer *p = peers[fd];
    ssize_t n = recv(fd, p->head + p->n_head, HEAD_MAX - p->n_head, 0);
    if (n <= 0 && p->stream >= 0 && streams[p->stream].frame != OVER && !ending) {
        fail("the gateway left stream %d", p->stream);
    }
    if (n <= 0) {
        drop(fd);
        return;
    }
    p->n_head += (size_t)n;
    p->head[p->n_head] = '\0';
    const char *mark = strstr(p->head, "\"user\":\"");
    if (!mark || !strchr(mark, '}')) {
        return;
    }
    p->stream = atoi(mark + strlen("\"user\":\""));
    streams[p->stream].provider = fd;
    send_event(p->stream, 0, false);
}

/* ---- the clients ---- */

static void connect_one(void) {
    int i = opened++, on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i % ADDRESSES)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(gateway_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
        fail("client %d: %s", i, strerror(errno));
    }
    streams[i] = (struct stream){.client = fd, .provider = -1};
    connecting++;
    watch(fd, CLIENT, EPOLLOUT, i);
}

static void on_connected(int fd) {
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    char body[256], request[1024];
    int length = sprintf(body, "{\"model\":\"m\",\"stream\":true,\"messages\":[],\"user\":\"%d\"}",
                         peers[fd]->stream);
    int n = sprintf(request,
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: "
                    "application/json\r\nContent-Length: %d\r\n\r\n%s",
                    length, body);
    put(fd, request, (size_t)n);
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &ev);
}

/* The stream's bytes, their framing taken off, against what was sent. */
static void check(struct stream *s, int i, const char *data, size_t n) {
    char want[EVENT_MAX];
    while (n > 0) {
        bool last = ending && s->event > sent_events;
        size_t whole = event_text(want, i, s->event, last), part = whole - s->at;
        part = part < n ? part : n;
        if (s->event > sent_events + ending || memcmp(data, want + s->at, part) != 0) {
            fail("stream %d: event %d: \"%.*s\"", i, s->event, (int)(n < 200 ? n : 200), data);
        }
        s->at += part;
        data += part;
        n -= part;
        if (s->at == whole) {
            s->at = 0;
            s->event++;
            arrived++;
        }
    }
}

static void take_line(struct stream *s, struct peer *p, int i, char c) {
    if (p->n_head == HEAD_MAX) {
        fail("stream %d: a line without end", i);
    }
    p->head[p->n_head++] = c;
    p->head[p->n_head] = '\0';
    if (s->frame == HEAD && c == '\n' && strstr(p->head, "\r\n\r\n")) {
        if (strncmp(p->head, "HTTP/1.1 200 ", 13) != 0 ||
            !strcasestr(p->head, "transfer-encoding: chunked")) {
            fail("stream %d: %.200s", i, p->head);
        }
        connecting--;
        s->frame = SIZE;
    } else if (s->frame != HEAD && c == '\n') {
        s->left = s->frame == SIZE ? strtoul(p->head, NULL, 16) : 0;
        over += s->frame == LAST;
        s->frame = s->frame == LAST ? OVER : s->frame == DATA_END ? SIZE : s->left ? DATA : LAST;
    } else {
        return;
    }
    p->n_head = 0;
}

static void on_answer(int fd) {
    static char data[65536];
    struct peer *p = peers[fd];
    struct stream *s = &streams[p->stream];
    ssize_t n = recv(fd, data, sizeof(data), 0);
    if (n <= 0) {
        fail("stream %d ended after event %d: %s", p->stream, s->event,
             n ? strerror(errno) : "EOF");
    }
    for (size_t at = 0; at < (size_t)n;) {
        if (s->frame == OVER) {
            fail("stream %d: bytes behind its end", p->stream);
        }
        if (s->frame != DATA) {
            take_line(s, p, p->stream, data[at++]);
            continue;
        }
        size_t part = (size_t)n - at < s->left ? (size_t)n - at : s->left;
        check(s, p->stream, data + at, part);
        at += part;
        s->left -= part;
        s->frame = s->left ? DATA : DATA_END;
    }
}

/* ---- both ---- */

static void handle(int fd, uint32_t events) {
    struct peer *p = peers[fd];
    if (!p) {
        return;
    }
    if (p->kind == LISTENER) {
        on_accept(fd);
    } else if (p->kind == PROVIDER) {
        on_request(fd);
    } else if (events & EPOLLOUT) {
        on_connected(fd);
    } else {
        on_answer(fd);
    }
}

static void run_until(const int *count, int wanted) {
    while (*count < wanted) {
        struct epoll_event ready[256];
        while (opened < n_streams && connecting < CONNECTING_MAX) {
            connect_one();
        }
        int n = epoll_wait(epoll, ready, 256, PATIENCE_MS);
        if (n <= 0) {
            fail("nothing came for %d s: %d of %d", PATIENCE_MS / 1000, *count, wanted);
        }
        for (int i = 0; i < n; i++) {
            handle(ready[i].data.fd, ready[i].events);
        }
    }
}

static void send_to_all(int k, bool last) {
    for (int i = 0; i < n_streams; i++) {
        send_event(i, k, last);
    }
}

static void obey(const char *line) {
    int port = 0, n = 0;
    if (sscanf(line, "open %d %d", &port, &n) == 2 && n <= MAX_STREAMS) {
        gateway_port = (uint16_t)port;
        n_streams = n;
        run_until(&arrived, n);
        printf("open %d\n", arrived);
    } else if (sscanf(line, "send %d", &n) == 1) {
        for (int k = 0; k < n; k++) {
            send_to_all(++sent_events, false);
        }
        run_until(&arrived, n_streams * (sent_events + 1));
        printf("sent %d\n", arrived);
    } else if (strcmp(line, "end\n") == 0) {
        ending = true;
        send_to_all(sent_events + 1, true);
        run_until(&over, n_streams);
        printf("ended %d\n", over);
    } else {
        fail("no such command: %s", line);
    }
    fflush(stdout);
}

int main(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(a);
    struct rlimit files;
    char line[64];
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (epoll < 0 || listener < 0 || bind(listener, (struct sockaddr *)&a, length) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&a, &length) != 0) {
        fail("provider: %s", strerror(errno));
    }
    watch(listener, LISTENER, EPOLLIN, -1);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        obey(line);
    }
    return 0;
}
