/* SPDX-License-Identifier: MIT */
/*
 * Gathers what is shared by all workers, and keeps suspensions in a file. The file is only ever
 * replaced whole: a crash leaves the old one or the new one. Blocks on the disk: for the control
 * thread only.
 */
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"

int state_init(struct state *s) {
    s->targets = targets_new(MAX_TARGETS);
    s->store = store_new();
    s->slots = slots_table_new();
    if (!s->targets || !s->store || !s->slots) {
        state_release(s);
        return -1;
    }
    return 0;
}

void state_release(struct state *s) {
    targets_free(s->targets);
    store_free(s->store);
    slots_table_free(s->slots);
    *s = (struct state){NULL, NULL, NULL};
}

struct paths {
    char file[PATH_MAX], temporary[PATH_MAX], damaged[PATH_MAX];
};

static int make_paths(struct paths *p, const char *dir, struct err *err) {
    static const char name[] = "suspensions.json";
    int n = snprintf(p->damaged, sizeof(p->damaged), "%s/%s.damaged", dir, name);
    if (n < 0 || (size_t)n >= sizeof(p->damaged)) {
        return err_set(err, "state_dir: the path is longer than %d bytes", PATH_MAX);
    }
    snprintf(p->file, sizeof(p->file), "%.*s", n - (int)strlen(".damaged"), p->damaged);
    snprintf(p->temporary, sizeof(p->temporary), "%.*s.tmp", n - (int)strlen(".damaged"),
             p->damaged);
    return 0;
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

static int replace_file(const struct paths *paths, const char *dir, struct str data,
                        struct err *err) {
    if (mkdir(dir, 0700) && errno != EEXIST) {
        return err_set(err, "%s: the folder cannot be made: %s", dir, strerror(errno));
    }
    if (write_file(paths->temporary, data, err)) {
        unlink(paths->temporary);
        return -1;
    }
    if (rename(paths->temporary, paths->file)) {
        err_set(err, "%s: cannot be replaced: %s", paths->file, strerror(errno));
        unlink(paths->temporary);
        return -1;
    }
    sync_dir(dir);
    return 0;
}

int state_save(struct state *s, const char *dir, struct err *err) {
    struct paths paths;
    struct buf text;
    if (make_paths(&paths, dir, err)) {
        return -1;
    }
    buf_init(&text, MAX_STATE_FILE);
    int rc = targets_save(s->targets, &text);
    if (rc) {
        err_set(err, "%s: not written: memory is short, or there is more than %zu bytes",
                paths.file, MAX_STATE_FILE);
    } else {
        rc = replace_file(&paths, dir, buf_str(&text), err);
    }
    buf_release(&text);
    return rc;
}

/* 0, -1 with err. The buffer's maximum is the file's. */
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

/* 1 = read, 0 = there is none, -1 with err. */
static int read_file(const char *path, struct buf *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0
                               : err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    }
    int rc = read_all(fd, path, out, err);
    close(fd);
    return rc ? -1 : 1;
}

int state_load(struct state *s, const char *dir, struct err *err) {
    struct paths paths;
    struct buf text;
    if (make_paths(&paths, dir, err)) {
        return -1;
    }
    buf_init(&text, MAX_STATE_FILE);
    int rc = read_file(paths.file, &text, err);
    if (rc == 1 && targets_load(s->targets, buf_str(&text))) {
        bool kept = rename(paths.file, paths.damaged) == 0;
        rc = err_set(err, "%s: damaged, suspensions are not restored%s", paths.file,
                     kept ? "; kept aside as .damaged" : "; it cannot be renamed");
    }
    buf_release(&text);
    return rc < 0 ? -1 : 0;
}
