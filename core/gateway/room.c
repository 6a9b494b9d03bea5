/* SPDX-License-Identifier: MIT */
#include "gateway/room.h"

#include <sys/resource.h>

#include "base/limits.h"

static size_t descriptors(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY ||
        r.rlim_cur > MAX_CONNECTIONS * 4) {
        return MAX_CONNECTIONS * 4;
    }
    return (size_t)r.rlim_cur;
}

struct room room_by_descriptors(size_t workers) {
    size_t all = descriptors();
    size_t apart = all / 2 < DESCRIPTORS_APART ? all / 2 : DESCRIPTORS_APART;
    size_t idle = all / 8 / workers;
    idle = idle < 1 ? 1 : idle < MAX_IDLE_UPSTREAM ? idle : MAX_IDLE_UPSTREAM;
    size_t left = all - apart > idle * workers ? all - apart - idle * workers : 0;
    return (struct room){.connections = left / 2 > 0 ? left / 2 : 1, .idle = idle};
}

size_t room_for(const struct room *room, const struct config *config) {
    size_t asked = (size_t)config->connections;
    return room->connections && room->connections < asked ? room->connections : asked;
}

void room_announce(const struct room *room, const struct config *config, const struct log *log) {
    size_t fits = room_for(room, config);
    if (fits >= (size_t)config->connections) {
        return;
    }
    log_write(log, config->connections == DEFAULT_CONNECTIONS ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
              "%zu client connections at most, not %d (limits.connections): the process may open "
              "%zu descriptors (ulimit -n)",
              fits, config->connections, descriptors());
}
