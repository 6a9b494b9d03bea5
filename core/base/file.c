/* SPDX-License-Identifier: MIT */
/*
 * Reading and replacing of small files. Owns nothing between two calls.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, const char *path, struct buf *out, struct err *err) {
    char part[8192];
    for (;;) {
        ssize_t n = read(fd, part, sizeof(part));
        if (n == 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return err_set(err, "%s: cannot be read: %s", path, strerror(errno));
        }
        if (n > 0 && buf_add(out, part, (size_t)n) != BUF_OK) {
            return err_set(err, "%s: not read: memory is short, or it has more than %zu bytes",
                           path, out->max);
        }
    }
}

/* O_NONBLOCK: a named pipe of that name must not stop the caller. */
int file_read(const char *path, struct buf *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? 0
                               : err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    }
    int rc = read_all(fd, path, out, err);
    close(fd);
    return rc ? -1 : 1;
}

static int write_all(int fd, struct str data) {
    while (data.n > 0) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            data = str_make(data.p + n, data.n - (size_t)n);
        }
    }
    return 0;
}

static int write_file(const char *path, struct str data, struct err *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set(err, "%s: cannot be made: %s", path, strerror(errno));
    }
    int rc = write_all(fd, data) || fsync(fd) ? -1 : 0;
    int failed = errno;
    if (close(fd) && rc == 0) {
        rc = -1;
        failed = errno;
    }
    return rc ? err_set(err, "%s: cannot be written: %s", path, strerror(failed)) : 0;
}

/* The rename itself must reach the disk too. Some file systems cannot sync a folder: then it is as
 * safe as it gets. */
static void sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

int file_replace(const char *dir, const char *name, struct str data, struct err *err) {
    char path[PATH_MAX], temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s/%s.tmp", dir, name);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        return err_set(err, "%s: the path is longer than %d bytes", name, PATH_MAX);
    }
    snprintf(path, sizeof(path), "%.*s", n - (int)strlen(".tmp"), temporary);
    if (mkdir(dir, 0700) && errno != EEXIST) {
        return err_set(err, "%s: the folder cannot be made: %s", dir, strerror(errno));
    }
    if (write_file(temporary, data, err)) {
        unlink(temporary);
        return -1;
    }
    if (rename(temporary, path)) {
        err_set(err, "%s: cannot be replaced: %s", path, strerror(errno));
        unlink(temporary);
        return -1;
    }
    sync_dir(dir);
    return 0;
}
