/* SPDX-License-Identifier: MIT */
/*
 * Matching given sockets with configured addresses, and opening the rest. A configured port 0
 * matches any port of that host; all further sockets of the same bound address belong to it, so two
 * addresses with port 0 stay apart.
 */
#include "gateway/listeners.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/worker.h"
#include "net/listener.h"

#define NAME_SIZE 128

void listeners_init(struct listeners *l) {
    l->n_given = l->n_open = 0;
    memset(l->taken, 0, sizeof(l->taken));
}

void listeners_release(struct listeners *l) {
    for (size_t i = 0; i < l->n_given; i++) {
        if (l->given[i].fd >= 0) {
            close(l->given[i].fd);
        }
    }
    listeners_init(l);
}

int listeners_give(struct listeners *l, const struct given_socket *given, struct err *err) {
    if (l->n_given == MAX_SOCKETS) {
        close(given->fd);
        return err_set(err, "more than %d sockets were passed", MAX_SOCKETS);
    }
    if (listen_adopt(given->fd, err) != 0) {
        close(given->fd);
        return -1;
    }
    l->given[l->n_given++] = *given;
    if (given->number >= 0) {
        l->taken[given->number] = '0';
    }
    return 0;
}

/* The next unused one that is bound at `address`. NULL: there is none, or *bad: err says why it
 * cannot be known. */
static struct given_socket *find(struct listeners *l, const char *address, enum socket_role role,
                                 bool *bad, struct err *err) {
    *bad = false;
    for (size_t i = 0; i < l->n_given; i++) {
        struct given_socket *s = &l->given[i];
        bool fits = s->role == SOCKET_ANY || s->role == role;
        int same = s->fd >= 0 && fits ? listen_matches(s->fd, address, err) : 0;
        *bad = same < 0;
        if (same != 0) {
            return same > 0 ? s : NULL;
        }
    }
    return NULL;
}

static int use(struct listeners *l, struct given_socket *s) {
    int fd = s->fd;
    s->fd = -1;
    if (s->number >= 0) {
        l->taken[s->number] = '1';
    }
    return fd;
}

/* The `i`th socket of an address; its fd is taken. */
static int add(struct listeners *l, const struct bind_plan *plan, size_t i,
               const struct given_socket *s, struct err *err) {
    struct worker *w = plan->workers[i % plan->n_workers];
    if (l->n_open == MAX_SOCKETS) {
        close(s->fd);
        return err_set(err, "more than %d listening sockets", MAX_SOCKETS);
    }
    if (worker_listen(w, plan->index, s->fd) != 0) {
        return err_set(err, "out of memory");
    }
    struct listener *made = w->listeners[w->n_listeners - 1];
    if (s->kept) {
        listener_keep(made);
    }
    l->open[l->n_open++] = (struct open_listener){.listener = made, .handed = s->number >= 0};
    return 0;
}

/* How many given sockets of the address there were, -1 with err. *last is one of them. */
static int bind_given(struct listeners *l, const struct bind_plan *plan,
                      const struct open_listener **last, struct err *err) {
    bool bad = false;
    size_t count = 0;
    struct given_socket *s = find(l, plan->address, SOCKET_TRAFFIC, &bad, err);
    if (s) {
        listen_name(s->fd, plan->bound, NAME_SIZE);
    }
    while (s) {
        struct given_socket used = *s;
        (void)use(l, s);
        if (add(l, plan, count, &used, err) != 0) {
            return -1;
        }
        *last = &l->open[l->n_open - 1];
        count++;
        s = find(l, plan->bound, SOCKET_TRAFFIC, &bad, err);
    }
    return bad ? -1 : (int)count;
}

/* One more socket at the address: of its own, or another descriptor of a given one. */
static int one_more(const char *bound, const struct open_listener *given, struct given_socket *out,
                    struct err *err) {
    *out = (struct given_socket){.number = -1};
    if (!given || listen_is_shareable(listener_fd(given->listener))) {
        out->fd = listen_open(bound, true, err);
        return out->fd < 0 ? -1 : 0;
    }
    out->kept = listener_kept(given->listener);
    out->number = given->handed ? 0 : -1;
    out->fd = fcntl(listener_fd(given->listener), F_DUPFD_CLOEXEC, 0);
    return out->fd >= 0 ? 0 : err_set(err, "address \"%s\": no more file descriptors", bound);
}

int listeners_check_free(const struct listeners *l, const char *const *addresses, struct err *err) {
    if (l->n_given > 0) {
        return 0;
    }
    for (size_t i = 0; addresses[i]; i++) {
        if (listen_check_free(addresses[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

int listeners_bind(struct listeners *l, const struct bind_plan *plan, struct err *err) {
    const struct open_listener *last = NULL;
    snprintf(plan->bound, NAME_SIZE, "%s", plan->address);
    int have = bind_given(l, plan, &last, err);
    for (size_t i = (size_t)have; have >= 0 && i < plan->n_workers; i++) {
        struct given_socket made;
        if (one_more(plan->bound, last, &made, err) != 0) {
            return -1;
        }
        listen_name(made.fd, plan->bound, NAME_SIZE); /* all workers share what port 0 became */
        if (add(l, plan, i, &made, err) != 0) {
            return -1;
        }
    }
    return have < 0 ? -1 : 0;
}

int listeners_admin(struct listeners *l, const char *address, bool shared, bool *kept,
                    struct err *err) {
    bool bad = false;
    struct given_socket *s = find(l, address, SOCKET_ADMIN, &bad, err);
    *kept = s && s->kept;
    if (bad) {
        return -1;
    }
    if (s) {
        return use(l, s);
    }
    if (!shared && listen_check_free(address, err) != 0) {
        return -1;
    }
    return listen_open(address, true, err);
}

void listeners_note_admin(struct listeners *l, struct listener *listener) {
    if (l->n_open < MAX_SOCKETS) {
        l->open[l->n_open++] = (struct open_listener){.listener = listener, .admin = true};
    }
}

void listeners_give_back(struct listeners *l) {
    for (size_t i = 0; i < l->n_open; i++) {
        if (l->open[i].handed) {
            listener_keep(l->open[i].listener);
        }
    }
}

int listeners_check_all_used(const struct listeners *l, struct err *err) {
    for (size_t i = 0; i < l->n_given; i++) {
        const struct given_socket *s = &l->given[i];
        char name[NAME_SIZE];
        if (s->fd >= 0 && s->number < 0) {
            listen_name(s->fd, name, sizeof(name));
            return err_set(err, "a listening socket at %s was passed, which %s: make the two agree",
                           name,
                           s->role == SOCKET_ADMIN     ? "admin.listen does not name"
                           : s->role == SOCKET_TRAFFIC ? "listen does not name"
                                                       : "neither listen nor admin.listen names");
        }
    }
    return 0;
}
