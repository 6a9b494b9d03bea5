/* SPDX-License-Identifier: MIT */
/*
 * Addresses of the hand-over's socket, and who is at its other end.
 */
#include "gateway/handover_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int handover_address(const char *dir, const char *name, struct sockaddr_un *out, struct err *err) {
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set(err, "state_dir %s: cannot be opened: %s", dir, strerror(errno));
    }
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", fd, name);
    return fd;
}

bool handover_peer(int fd, long *pid) {
    struct ucred who;
    socklen_t len = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        return false;
    }
    *pid = (long)who.pid;
    return who.uid == geteuid() || who.uid == 0;
}
