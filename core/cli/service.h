/* SPDX-License-Identifier: MIT */
/*
 * The two conversations with a service manager (systemd's, or any that speaks as it does): which
 * listening sockets it passes, and what it is told. No library of it is needed: see
 * sd_listen_fds(3) and sd_notify(3).
 */
#ifndef CLI_SERVICE_H
#define CLI_SERVICE_H

#include <stddef.h>

#include "moongate.h"

#define SERVICE_SOCKETS 64 /* passed to one process; a unit file has a few */

struct service_sockets {
    struct moongate_socket list[SERVICE_SOCKETS];
    size_t n;
    char names[4096]; /* what the list's names are slices of */
};

/* Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES and takes them out of the environment, so that no
 * child takes them for its own. Variables meant for another process (LISTEN_PID) are none. 0, or -1
 * after a message on stderr. */
int service_take_sockets(struct service_sockets *out);

/* Sends "READY=1" and the like to NOTIFY_SOCKET; without it, or when nobody listens, does nothing.
 */
void service_notify(const char *state);
/* READY=1 with the number of this process, which may have followed another. */
void service_ready(void);
/* A reload begins: RELOADING=1; service_ready ends it. */
void service_reloading(void);

#endif
