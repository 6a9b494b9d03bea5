/* SPDX-License-Identifier: MIT */
/*
 * The lock file. It holds the number of the process that took it last, for messages only: what
 * counts is the lock. It is never removed: who would lock a removed file locks nothing.
 */
#include "state/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int held(int fd, const char *dir, struct err *err) {
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    close(fd);
    err_set(err, "state_dir %s is in use by another gateway (process %s)", dir,
            *pid ? pid : "unknown");
    return STATE_LOCK_HELD;
}

static void note_owner(int fd) {
    char pid[24];
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
        return; /* a full disk: messages name nobody then */
    }
}

int state_lock(const char *dir, struct err *err) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/lock", dir);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        err_set(err, "state_dir: the path is longer than %d bytes", PATH_MAX);
        return STATE_LOCK_FAILED;
    }
    (void)mkdir(dir, 0700); /* open tells */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
        return STATE_LOCK_FAILED;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        note_owner(fd);
        return fd;
    }
    if (errno == EWOULDBLOCK) {
        return held(fd, dir, err);
    }
    err_set(err, "%s: cannot be locked: %s", path, strerror(errno));
    close(fd);
    return STATE_LOCK_FAILED;
}

void state_unlock(int lock) {
    if (lock >= 0) {
        close(lock);
    }
}
