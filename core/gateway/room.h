/* SPDX-License-Identifier: MIT */
/*
 * How many clients there is room for. A client may need two descriptors, its own and one towards a
 * provider, so what the process may open bounds them before limits.connections does.
 */
#ifndef GATEWAY_ROOM_H
#define GATEWAY_ROOM_H

#include <stddef.h>

#include "base/log.h"
#include "config/config.h"

/* What RLIMIT_NOFILE allows now, as it stood at the start. */
struct room {
    size_t connections; /* clients of all workers together, at least 1; 0 = not bounded */
    size_t idle;        /* connections to providers that each worker may keep */
};

struct room room_by_descriptors(size_t workers);
/* limits.connections, or what descriptors allow. */
size_t room_for(const struct room *room, const struct config *config);
/* Says when descriptors allow less than was configured: a warning when somebody set it. */
void room_announce(const struct room *room, const struct config *config, const struct log *log);

#endif
