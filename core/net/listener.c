/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: opening them by address, and accepting on an event loop. Sets nothing on the
 * accepted sockets but non-blocking and close-on-exec; how many there may be is the owner's affair.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/count.h"
#include "base/limits.h"
#include "base/str.h"

#define HOST_MAX 256
#define ACCEPTS_PER_TURN 64 /* then the connections that are there already have their turn */
#define ACCEPT_PAUSE (100 * 1000)
#define BACKLOG 1024

struct address {
    char host[HOST_MAX]; /* empty: any */
    char port[8];
};

static int bad_address(const char *text, struct err *err) {
    return err_set(err, "address \"%.200s\": expected \"host:port\", \"[v6]:port\" or \":port\"",
                   text);
}

static int split_address(const char *text, struct address *a, struct err *err) {
    const char *colon = strrchr(text, ':');
    if (!colon) {
        return bad_address(text, err);
    }
    struct str host = str_make(text, (size_t)(colon - text));
    struct str port = str_of(colon + 1);
    unsigned long long number;
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = str_make(host.p + 1, host.n - 2);
    } else if (memchr(host.p, ':', host.n)) {
        return bad_address(text, err);
    }
    if (host.n >= sizeof(a->host) || port.n >= sizeof(a->port) || !str_to_u64(port, &number) ||
        number > 65535) {
        return bad_address(text, err);
    }
    memcpy(a->host, host.p, host.n);
    a->host[host.n] = 0;
    memcpy(a->port, port.p, port.n + 1);
    return 0;
}

static int open_one(const struct addrinfo *ai, bool reuse_port) {
    int on = 1;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
        bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static struct addrinfo *resolve(const char *address, struct err *err) {
    struct address a;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    if (split_address(address, &a, err) != 0) {
        return NULL;
    }
    int r = getaddrinfo(a.host[0] ? a.host : NULL, a.port, &hints, &list);
    if (r != 0) {
        err_set(err, "address \"%s\": the host cannot be resolved: %s", address, gai_strerror(r));
        return NULL;
    }
    return list;
}

int listen_open(const char *address, bool reuse_port, struct err *err) {
    struct addrinfo *list = resolve(address, err);
    if (!list) {
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = open_one(ai, reuse_port);
    }
    int saved = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return err_set(err, "address \"%s\": cannot listen there: %s", address, strerror(saved));
    }
    return fd;
}

/* SO_REUSEADDR, as the real ones: it is refused beside a socket that listens, and nothing else. */
static int try_one(const struct addrinfo *ai) {
    int on = 1;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0) {
        return 0; /* opening the real one tells why */
    }
    bool taken = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                 bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno == EADDRINUSE;
    close(fd);
    return taken ? -1 : 0;
}

int listen_check_free(const char *address, struct err *err) {
    struct addrinfo *list = resolve(address, err);
    if (!list) {
        return -1;
    }
    int r = try_one(list); /* the first is the one that is opened */
    freeaddrinfo(list);
    return r == 0 ? 0
                  : err_set(err,
                            "address \"%s\": cannot listen there: Address already in use by "
                            "another process",
                            address);
}

int listen_adopt(int fd, struct err *err) {
    int listens = 0, protocol = 0;
    socklen_t a = sizeof(listens), b = sizeof(protocol);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &a) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &b) != 0 || !listens ||
        protocol != IPPROTO_TCP || listen_port(fd) < 0) {
        return err_set(err, "descriptor %d was passed, but it is no listening TCP socket", fd);
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return err_set(err, "descriptor %d: %s", fd, strerror(errno));
    }
    return 0;
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr *b) {
    if (a->ss_family != b->sa_family) {
        return false;
    }
    if (a->ss_family == AF_INET6) {
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
    }
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

static int port_of(const struct sockaddr *a) {
    return ntohs(a->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                          : ((const struct sockaddr_in *)a)->sin_port);
}

int listen_matches(int fd, const char *address, struct err *err) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addrinfo *list = resolve(address, err);
    if (!list) {
        return -1;
    }
    bool known = getsockname(fd, (struct sockaddr *)&ss, &len) == 0;
    bool same = false;
    for (const struct addrinfo *ai = list; known && ai && !same; ai = ai->ai_next) {
        int port = port_of(ai->ai_addr);
        same = same_host(&ss, ai->ai_addr) && (port == 0 || port == listen_port(fd));
    }
    freeaddrinfo(list);
    return same;
}

bool listen_is_shareable(int fd) {
    int on = 0;
    socklen_t len = sizeof(on);
    return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) == 0 && on;
}

int listen_port(int fd) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        return -1;
    }
    if (ss.ss_family == AF_INET) {
        return ntohs(((struct sockaddr_in *)&ss)->sin_port);
    }
    if (ss.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
    }
    return -1;
}

int listen_name(int fd, char *out, size_t size) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char host[INET6_ADDRSTRLEN + 20], port[8];
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0 ||
        getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return -1;
    }
    int n = snprintf(out, size, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return n > 0 && (size_t)n < size ? 0 : -1;
}

struct listener {
    struct event_base *base;    /* borrowed */
    listener_accepted accepted; /* with ctx */
    void *ctx;
    int fd;                /* -1 once stopped */
    struct event readable; /* pending unless paused or stopped */
    struct event resume;   /* pending while paused */
    struct event last;     /* pending while draining */
    void (*drained)(void *ctx);
    atomic_bool kept; /* the socket lives on elsewhere */
    atomic_ulong pauses;
};

static void pause_accepting(struct listener *l) {
    struct timeval tv = usec_to_timeval(ACCEPT_PAUSE);
    count_add(l->pauses, 1);
    if (event_add(&l->resume, &tv) == 0) {
        event_del(&l->readable);
    } /* else: memory is short, and it is tried again in the loop's next turn */
}

static void on_resume(evutil_socket_t fd, short what, void *arg) {
    struct listener *l = arg;
    (void)fd;
    (void)what;
    if (event_add(&l->readable, NULL) != 0) {
        event_active(&l->resume, EV_TIMEOUT, 0); /* busy rather than deaf */
    }
}

/* False when there is no more to accept now. */
static bool accept_one(struct listener *l) {
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->accepted(l->ctx, fd);
        return l->fd >= 0;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        pause_accepting(l);
        return false;
    case EAGAIN:
        return false;
    default: /* accept(2): errors of the connection itself are reported here; the next may be fine
              */
        return true;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct listener *l = arg;
    (void)fd;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(l)) {
            return;
        }
    }
}

/* Drops segments with SYN set that come for the socket, by the flags' byte of the TCP header; all
 * else of a handshake goes on. -1: this kernel cannot. */
static int drop_new(int fd) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static bool is_local(int fd) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        return false;
    }
    if (ss.ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&ss)->sin6_addr);
    }
    return ntohl(((struct sockaddr_in *)&ss)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static void accept_all(struct listener *l) {
    while (l->fd >= 0 && accept_one(l)) {
    }
}

static void end_drain(struct listener *l) {
    accept_all(l);
    if (l->fd >= 0) {
        listener_stop(l);
        l->drained(l->ctx);
    }
}

/* While accepting pauses for want of descriptors the queue waits, too. */
static void on_last(evutil_socket_t fd, short what, void *arg) {
    struct listener *l = arg;
    struct timeval tv = usec_to_timeval(ACCEPT_PAUSE);
    (void)fd;
    (void)what;
    if (!event_pending(&l->resume, EV_TIMEOUT, NULL) || event_add(&l->last, &tv) != 0) {
        end_drain(l);
    }
}

void listener_drain(struct listener *l, void (*drained)(void *ctx)) {
    if (l->fd < 0 || l->drained) {
        return;
    }
    l->drained = drained;
    if (l->kept) {
        event_del(&l->readable);
        event_del(&l->resume);
        drained(l->ctx);
        return;
    }
    struct timeval tv = usec_to_timeval(is_local(l->fd) ? LISTEN_LINGER_LOCAL : LISTEN_LINGER);
    bool dropped = drop_new(l->fd) == 0;
    accept_all(l);
    if (l->fd >= 0 && (!dropped || event_add(&l->last, &tv) != 0)) {
        end_drain(l);
    }
}

void listener_keep(struct listener *l) {
    l->kept = true;
}

bool listener_kept(const struct listener *l) {
    return l->kept;
}

int listener_fd(const struct listener *l) {
    return l->fd;
}

struct listener *listener_new(struct event_base *base, int fd, listener_accepted accepted,
                              void *ctx) {
    struct listener *l = calloc(1, sizeof(*l));
    if (!l) {
        close(fd);
        return NULL;
    }
    *l = (struct listener){.base = base, .accepted = accepted, .ctx = ctx, .fd = fd};
    if (event_assign(&l->readable, base, fd, EV_READ | EV_PERSIST, on_readable, l) == 0 &&
        event_assign(&l->resume, base, -1, 0, on_resume, l) == 0 &&
        event_assign(&l->last, base, -1, 0, on_last, l) == 0 &&
        event_add(&l->readable, NULL) == 0) {
        return l;
    }
    close(fd);
    free(l);
    return NULL;
}

void listener_stop(struct listener *l) {
    if (l->fd < 0) {
        return;
    }
    event_del(&l->readable);
    event_del(&l->resume);
    event_del(&l->last);
    close(l->fd);
    l->fd = -1;
}

void listener_free(struct listener *l) {
    if (!l) {
        return;
    }
    listener_stop(l);
    free(l);
}

unsigned long listener_pauses(const struct listener *l) {
    return count_get(l->pauses);
}
