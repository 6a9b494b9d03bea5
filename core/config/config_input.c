/* SPDX-License-Identifier: MIT */
#include "config/config_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"

void input_mix(struct load *l, char kind, struct str name, struct str content) {
    unsigned char input[1 + 2 * HASH_SIZE];
    input[0] = (unsigned char)kind;
    hash_sha256(name, input + 1);
    hash_sha256(content, input + 1 + HASH_SIZE);
    snapshot_mix(l->snapshot, str_make((const char *)input, sizeof(input)));
}

const char *input_find(struct load *l, struct str name, char path[PATH_MAX], struct stat *st) {
    const char *dir = str_starts(name, "/") ? "" : snapshot_dir(l->snapshot);
    int len = snprintf(path, PATH_MAX, "%s%s%.*s", dir, *dir ? "/" : "", (int)name.n, name.p);
    if (len < 0 || len >= PATH_MAX || name.n == 0 || name.n >= PATH_MAX ||
        memchr(name.p, 0, name.n)) {
        return "no path that a file can have";
    }
    if (snapshot_note_input(l->snapshot, path)) {
        return "memory is short";
    }
    if (stat(path, st)) {
        return strerror(errno);
    }
    if (!S_ISREG(st->st_mode)) {
        return "is no regular file";
    }
    if (st->st_size > (off_t)MAX_CONFIG_FILE) {
        return "is larger than the 1 MiB that are allowed";
    }
    return NULL;
}

/* Reads up to `size` bytes; the count, or -1 with errno. */
static ssize_t read_some(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t n = 0;
    if (fd < 0) {
        return -1;
    }
    while (n < size) {
        ssize_t got = read(fd, out + n, size - n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            int saved = errno;
            close(fd);
            errno = saved;
            return got < 0 ? -1 : (ssize_t)n;
        }
        n += (size_t)got;
    }
    close(fd);
    return (ssize_t)n;
}

const char *input_read(const char *path, const struct stat *st, char *out) {
    size_t size = (size_t)st->st_size;
    ssize_t got = read_some(path, out, size + 1); /* one more than expected tells that it grew */
    if (got < 0) {
        return strerror(errno);
    }
    return (size_t)got == size ? NULL : "changed while it was read";
}
