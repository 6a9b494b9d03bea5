/* SPDX-License-Identifier: MIT */
/*
 * Which sockets a gateway listens on: those it was given (by a service manager, an embedding
 * program, or the gateway it takes over from), and for addresses that nobody gave it its own. Used
 * by the thread that starts the gateway; once it runs, the list of listeners is only read.
 */
#ifndef GATEWAY_LISTENERS_H
#define GATEWAY_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/limits.h"

struct listener;
struct worker;

enum socket_role { SOCKET_ANY, SOCKET_TRAFFIC, SOCKET_ADMIN };

/* A listening socket that came from elsewhere. */
struct given_socket {
    int fd; /* -1: it is in use */
    enum socket_role role;
    bool kept;  /* who gave it keeps it: it is never drained, only left */
    int number; /* its place in a hand-over; -1: it came another way */
};

struct open_listener {
    struct listener *listener; /* borrowed */
    bool admin;
    bool handed; /* the gateway that is taken over from listens on the same socket */
};

#define MAX_SOCKETS (MAX_WORKERS * MAX_LISTENERS + 1) /* each worker's of each address, admin's */

struct listeners {
    struct given_socket given[MAX_SOCKETS];
    size_t n_given;
    struct open_listener open[MAX_SOCKETS];
    size_t n_open;
    char taken[MAX_SOCKETS + 1]; /* '1' for each number of a hand-over that is in use, else '0' */
};

void listeners_init(struct listeners *l);
/* Closes given sockets that are not in use, and forgets all. */
void listeners_release(struct listeners *l);

/* Adds a given socket; its fd is taken, also on -1. -1 with err: it is no listening TCP socket, or
 * there are too many. */
int listeners_give(struct listeners *l, const struct given_socket *socket, struct err *err)
    __attribute__((warn_unused_result));

/*
 * Before the first listeners_bind: does nobody else listen at the addresses, which end with NULL?
 * Not asked where sockets were given: who gave them may listen beside the new addresses. -1 with
 * err.
 */
int listeners_check_free(const struct listeners *l, const char *const *addresses, struct err *err)
    __attribute__((warn_unused_result));

struct bind_plan {
    const char *address;
    size_t index; /* its place in the configuration */
    struct worker **workers;
    size_t n_workers;
    char *bound; /* 128 bytes: gets the address with its real port */
};

/*
 * Makes all workers listen at an address: on given sockets that are bound there, else on new ones,
 * SO_REUSEPORT so that each worker has its own. Given ones are spread over the workers; when there
 * are fewer than workers, more are opened beside them, or, where their owner did not allow that (no
 * SO_REUSEPORT), workers share. Before the workers start. -1 with err.
 */
int listeners_bind(struct listeners *l, const struct bind_plan *plan, struct err *err)
    __attribute__((warn_unused_result));

/* The socket of the admin listener: a given one, or a new one; with `shared` another process may
 * have the address, too. The fd (the caller's), or -1 with err. *kept says whether its owner keeps
 * it. */
int listeners_admin(struct listeners *l, const char *address, bool shared, bool *kept,
                    struct err *err) __attribute__((warn_unused_result));
void listeners_note_admin(struct listeners *l, struct listener *listener); /* borrowed */

/* The hand-over failed: the other gateway goes on listening on the sockets it handed over, so a
 * stop of this one leaves them as they are. */
void listeners_give_back(struct listeners *l);

/* After all addresses: -1 with err when a socket was given, by anybody but a hand-over, whose
 * address is not configured. */
int listeners_check_all_used(const struct listeners *l, struct err *err)
    __attribute__((warn_unused_result));

#endif
