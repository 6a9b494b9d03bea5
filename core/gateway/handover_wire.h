/* SPDX-License-Identifier: MIT */
/*
 * What two gateways say to each other over DIR/handover.sock (a Unix socket that keeps packets
 * apart) when one takes over from the other. Shared by handover.c (the running gateway) and
 * takeover.c (the one that starts).
 *
 *     starting                              running
 *     "moongate 1 hello"            ->      loads nothing any more: settings.json stays as it is
 *                                   <-      "sockets PID" + one letter pair for each descriptor, as
 *                                           often as needed, then "end"
 *     (loads and checks all)
 *     "take"                        ->      saves its state, lets go of the lock on state_dir,
 *                                           asks after no provider's health any more
 *                                   <-      "yours"
 *     (takes the lock, reads the state, starts to accept)
 *     "done" + 0 or 1 per socket    ->      leaves those with 1 to the other, drains, ends
 *                                   <-      "bye"
 *
 * Both accept until "done"; no listening socket is ever closed in between. When the connection ends
 * before "done", the running gateway takes back what it gave and goes on as if nothing had been. An
 * answer that begins with "no " says why not.
 *
 * What goes over: listening sockets, and by way of state_dir suspensions and settings. What does
 * not: counts (limits.connections, limits.memory, max_inflight, the policies' store, windows and
 * buckets), which each of the two keeps for itself while both have clients; probes' verdicts, which
 * the other finds out anew; and suspensions that requests of the running one cause after "take": it
 * still heeds them, and nobody else learns of them.
 */
#ifndef GATEWAY_HANDOVER_WIRE_H
#define GATEWAY_HANDOVER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

#define HANDOVER_HELLO "moongate 1 hello"
#define HANDOVER_SOCKETS "sockets "
#define HANDOVER_END "end"
#define HANDOVER_TAKE "take"
#define HANDOVER_YOURS "yours"
#define HANDOVER_DONE "done "
#define HANDOVER_BYE "bye"
#define HANDOVER_NO "no "
#define HANDOVER_FDS 128     /* in one packet; the kernel allows 253 */
#define HANDOVER_PACKET 2048 /* "done " and MAX_SOCKETS digits are the longest */
#define HANDOVER_PATIENCE                                                                          \
    30                     /* seconds: the running one waits for the other, which may run tests    \
                            */
#define HANDOVER_ANSWER 10 /* seconds: the starting one waits for an answer */
#define HANDOVER_NAME "handover.sock"

/* The address of NAME in the folder, however long its path is: by way of the returned descriptor,
 * which the caller closes after bind or connect. -1 with err. */
int handover_address(const char *dir, const char *name, struct sockaddr_un *out, struct err *err)
    __attribute__((warn_unused_result));

/* Is the process at the other end of the same user (or root)? *pid gets its number. */
bool handover_peer(int fd, long *pid);

#endif
