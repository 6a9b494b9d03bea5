/* SPDX-License-Identifier: MIT */
#include "upstream/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/count.h"

#define IDLE_TIME (60 * USEC_PER_SEC)
#define DEFAULT_PORT 80

struct link {
    struct links *owner;
    TAILQ_ENTRY(link) place; /* in owner->idle while idle */
    struct origin to;        /* its slices are not used */
    size_t address;          /* which of them */
    int fd;
    void *user; /* NULL: idle */
    struct event readable, writable;
    bool connecting, reading;
    usec idle_since;
};

TAILQ_HEAD(link_list, link);

struct links {
    struct event_base *base;
    const struct link_ops *ops;
    struct link_list idle; /* youngest first */
    size_t n_idle, idle_max;
    atomic_size_t n;
    atomic_ulong opened;
};

/* ---- origins ---- */

static bool plain_byte(unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>';
}

static void add_address(struct origin *o, int family, const void *host, unsigned port) {
    struct sockaddr_storage *to = &o->address[o->n_addresses++];
    memset(to, 0, sizeof(*to));
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)to;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        memcpy(&in->sin_addr, host, sizeof(in->sin_addr));
    } else {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)to;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons((uint16_t)port);
        memcpy(&in->sin6_addr, host, sizeof(in->sin6_addr));
    }
}

/* Fills the addresses of a host without its brackets. */
static bool read_host(struct origin *o, struct str host, bool six, unsigned port) {
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    if (!six && str_case_is(host, "localhost")) {
        v4.s_addr = htonl(INADDR_LOOPBACK);
        add_address(o, AF_INET, &v4, port);
        add_address(o, AF_INET6, &in6addr_loopback, port);
        return true;
    }
    if (host.n == 0 || host.n >= sizeof(text)) {
        return false;
    }
    str_copy(text, sizeof(text), host);
    if (six ? inet_pton(AF_INET6, text, &v6) != 1 : inet_pton(AF_INET, text, &v4) != 1) {
        return false;
    }
    add_address(o, six ? AF_INET6 : AF_INET, six ? (void *)&v6 : (void *)&v4, port);
    return true;
}

/* "host", "host:8000", "[::1]:8000". */
static bool read_authority(struct origin *o, struct str a) {
    bool six = a.n > 0 && a.p[0] == '[';
    const char *close = six ? memchr(a.p, ']', a.n) : NULL;
    size_t host_end = close ? (size_t)(close + 1 - a.p) : 0;
    unsigned long long port = DEFAULT_PORT;
    if (six && !close) {
        return false;
    }
    while (!six && host_end < a.n && a.p[host_end] != ':') {
        host_end++;
    }
    struct str digits = str_make(a.p + host_end, a.n - host_end);
    if (digits.n > 0) {
        digits = str_make(digits.p + 1, digits.n - 1);
        if (a.p[host_end] != ':' || digits.n > 5 || !str_to_u64(digits, &port) || port == 0 ||
            port > 65535) {
            return false;
        }
    }
    o->authority = str_make(a.p, port == DEFAULT_PORT ? host_end : a.n);
    struct str host = six ? str_make(a.p + 1, host_end - 2) : str_make(a.p, host_end);
    return read_host(o, host, six, (unsigned)port);
}

bool origin_parse(const char *url, struct origin *o) {
    struct str rest = str_of(url);
    o->n_addresses = 0;
    if (!str_starts(rest, "http://")) {
        return false;
    }
    rest = str_make(rest.p + 7, rest.n - 7);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?') {
        end++;
    }
    for (size_t i = 0; i < rest.n; i++) {
        if (!plain_byte((unsigned char)rest.p[i])) {
            return false;
        }
    }
    o->path = end < rest.n ? str_make(rest.p + end, rest.n - end) : STR("");
    o->prefix = o->path.n == 0 || o->path.p[0] != '/' ? "/" : "";
    return read_authority(o, str_make(rest.p, end));
}

static bool same_place(const struct origin *a, const struct origin *b) {
    return a->n_addresses == b->n_addresses &&
           memcmp(&a->address[0], &b->address[0], sizeof(a->address[0])) == 0;
}

/* ---- one connection ---- */

int link_fd(const struct link *link) {
    return link->fd;
}

static void unlist(struct link *link) {
    TAILQ_REMOVE(&link->owner->idle, link, place);
    link->owner->n_idle--;
}

static void drop_socket(struct link *link) {
    event_del(&link->readable);
    event_del(&link->writable);
    close(link->fd);
    link->fd = -1;
    link->reading = false;
}

void link_close(struct link *link) {
    if (!link) {
        return;
    }
    if (!link->user) {
        unlist(link);
    }
    if (link->fd >= 0) {
        drop_socket(link);
    }
    count_add(link->owner->n, -1);
    free(link);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct link *link = arg;
    (void)fd;
    (void)what;
    if (link->user) {
        link->owner->ops->readable(link->user);
    } else {
        link_close(link); /* closed by the other side, or it talks out of turn */
    }
}

void link_watch(struct link *link, bool reading) {
    if (reading == link->reading) {
        return;
    }
    int r = reading ? event_add(&link->readable, NULL) : event_del(&link->readable);
    link->reading = reading && r == 0;
}

int link_want_write(struct link *link) {
    return event_add(&link->writable, NULL);
}

static int begin(struct link *link);

/* The connection attempt has ended one way or the other. */
static void on_connected(struct link *link, int error) {
    while (error && link->address + 1 < link->to.n_addresses) {
        drop_socket(link);
        link->address++;
        if (begin(link) == 0) {
            return;
        }
        error = errno;
    }
    link->connecting = false;
    if (!error) {
        count_add(link->owner->opened, 1);
        link_watch(link, true);
        error = link->reading ? 0 : ENOMEM;
    }
    link->owner->ops->connected(link->user, error);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct link *link = arg;
    int error = 0;
    socklen_t n = sizeof(error);
    (void)what;
    if (!link->connecting) {
        link->owner->ops->writable(link->user);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0) {
        error = errno;
    }
    on_connected(link, error);
}

/* Makes the socket and begins to connect. 0, or -1 with errno and no socket. */
static int begin(struct link *link) {
    const struct sockaddr_storage *to = &link->to.address[link->address];
    socklen_t n =
        to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int on = 1, error;
    link->fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        return -1;
    }
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    event_assign(&link->readable, link->owner->base, link->fd, EV_READ | EV_PERSIST, on_readable,
                 link);
    event_assign(&link->writable, link->owner->base, link->fd, EV_WRITE, on_writable, link);
    if ((connect(link->fd, (const struct sockaddr *)to, n) == 0 || errno == EINPROGRESS) &&
        event_add(&link->writable, NULL) == 0) {
        return 0;
    }
    error = errno;
    close(link->fd);
    link->fd = -1;
    errno = error;
    return -1;
}

/* ---- all of them ---- */

struct links *links_new(struct event_base *base, size_t idle_max, const struct link_ops *ops) {
    struct links *all = calloc(1, sizeof(*all));
    if (all) {
        all->base = base;
        all->idle_max = idle_max;
        all->ops = ops;
        TAILQ_INIT(&all->idle);
    }
    return all;
}

void links_free(struct links *all) {
    struct link *link;
    while ((link = TAILQ_FIRST(&all->idle))) {
        link_close(link);
    }
    free(all);
}

void links_stats(const struct links *all, struct links_stats *out) {
    *out = (struct links_stats){count_get(all->n), count_get(all->opened)};
}

static void drop_old(struct links *all) {
    usec limit = clock_now() - IDLE_TIME;
    struct link *link = TAILQ_LAST(&all->idle, link_list);
    while (link && link->idle_since < limit) {
        link_close(link);
        link = TAILQ_LAST(&all->idle, link_list);
    }
}

/* Nothing came in since the loop last looked: what came would be taken for the next answer. */
static bool is_quiet(const struct link *link) {
    char byte;
    return recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct link *links_take(struct links *all, const struct origin *to, void *user) {
    struct link *link, *next;
    drop_old(all);
    for (link = TAILQ_FIRST(&all->idle); link; link = next) {
        next = TAILQ_NEXT(link, place);
        if (!same_place(&link->to, to)) {
            continue;
        }
        if (is_quiet(link)) {
            unlist(link);
            link->user = user;
            return link;
        }
        link_close(link);
    }
    return NULL;
}

struct link *links_open(struct links *all, const struct origin *to, void *user) {
    struct link *link = calloc(1, sizeof(*link));
    if (!link) {
        errno = ENOMEM;
        return NULL;
    }
    link->owner = all;
    link->to = *to;
    link->user = user;
    link->connecting = true;
    int failed = begin(link);
    while (failed && link->address + 1 < to->n_addresses) {
        link->address++;
        failed = begin(link);
    }
    if (failed) {
        int error = errno;
        free(link);
        errno = error;
        return NULL;
    }
    count_add(all->n, 1);
    return link;
}

void link_keep(struct link *link) {
    struct links *all = link->owner;
    link->user = NULL;
    link->idle_since = clock_now();
    TAILQ_INSERT_HEAD(&all->idle, link, place);
    all->n_idle++;
    link_watch(link, true);
    if (!link->reading) {
        link_close(link); /* nobody would see it close */
    } else if (all->n_idle > all->idle_max) {
        link_close(TAILQ_LAST(&all->idle, link_list));
    }
}
