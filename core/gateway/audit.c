/* SPDX-License-Identifier: MIT */
/*
 * Audit entries as JSON lines. The file is opened for each entry: changes are rare, and a file that
 * was rotated or moved away by others is followed without further ado.
 */
#include "gateway/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jscan.h"

int audit_init(struct audit *a, const struct log *log) {
    *a = (struct audit){.log = log};
    return pthread_mutex_init(&a->lock, NULL) ? -1 : 0;
}

int audit_open(struct audit *a, const char *state_dir) {
    char *path = NULL;
    if (state_dir && asprintf(&path, "%s/audit.log", state_dir) < 0) {
        return -1;
    }
    pthread_mutex_lock(&a->lock);
    free(a->path);
    a->path = path;
    pthread_mutex_unlock(&a->lock);
    return 0;
}

void audit_release(struct audit *a) {
    free(a->path);
    a->path = NULL;
    pthread_mutex_destroy(&a->lock);
}

/* ---- the line ---- */

static int add_text(struct buf *line, const char *name, const char *text) {
    int bad = buf_addf(line, ",\"%s\":", name);
    if (!bad) {
        bad = text && *text ? json_write_string(line, str_of(text)) : buf_adds(line, "null");
    }
    return bad;
}

/* JSON as it is; what does not fit is left out, and says so. */
static int add_json(struct buf *line, const char *name, const char *json) {
    if (json && strlen(json) > MAX_AUDIT_LINE / 3) {
        return buf_addf(line, ",\"%s\":\"(%zu bytes)\"", name, strlen(json));
    }
    return buf_addf(line, ",\"%s\":%s", name, json ? json : "null");
}

static int write_line(struct buf *line, const struct audit_entry *e) {
    char now[32];
    clock_format(clock_wall(), now, sizeof(now));
    int bad = buf_addf(line, "{\"time\":\"%s\"", now);
    bad = bad ? bad : add_text(line, "who", e->who);
    bad = bad ? bad : add_text(line, "why", e->why);
    bad = bad ? bad : add_text(line, "action", e->action);
    bad = bad ? bad : add_text(line, "object", e->object);
    bad = bad ? bad : add_json(line, "before", e->before);
    bad = bad ? bad : add_json(line, "after", e->after);
    bad = bad ? bad : add_text(line, "result", e->result);
    return bad ? bad : buf_addf(line, ",\"generation\":%u}\n", e->generation);
}

/* ---- the file ---- */

static int rotate(const char *path) {
    char old[PATH_MAX];
    int n = snprintf(old, sizeof(old), "%s.1", path);
    return n < 0 || (size_t)n >= sizeof(old) ? -1 : rename(path, old);
}

static int open_file(const char *path) {
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
}

static void make_folder(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path) : -1;
    if (n > 0 && (size_t)n < sizeof(dir)) {
        (void)mkdir(dir, 0700); /* when it fails, opening the file does, too, and tells why */
    }
}

/* Opened for one more line of n bytes; -1 with errno. */
static int ready_file(const char *path, size_t n) {
    struct stat st;
    int fd = open_file(path);
    if (fd < 0 && errno == ENOENT) {
        make_folder(path);
        fd = open_file(path);
    }
    if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size + n <= MAX_AUDIT_FILE || rotate(path)) {
        return fd;
    }
    close(fd);
    return open_file(path);
}

/* One write, so that lines never mix. */
static int append(const char *path, struct str line) {
    int fd = ready_file(path, line.n);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = write(fd, line.p, line.n);
    int failed = n < 0 ? errno : ENOSPC;
    bool whole = n == (ssize_t)line.n && fdatasync(fd) == 0;
    close(fd);
    errno = failed;
    return whole ? 0 : -1;
}

static void to_log(struct audit *a, struct buf *line) {
    buf_truncate(line, line->len - 1);
    log_info(a->log, "audit: %s", line->data);
}

/* Under the lock. */
static void put(struct audit *a, struct buf *line, bool logged) {
    if (a->path && append(a->path, buf_str(line)) == 0) {
        a->failed = false;
        return;
    }
    if (a->path && !a->failed) {
        a->failed = true;
        log_error(a->log, "%s: cannot be written: %s; entries go here", a->path, strerror(errno));
    }
    if (a->path || !logged) {
        to_log(a, line);
    }
}

void audit_write(struct audit *a, const struct config *config, const struct audit_entry *entry) {
    struct buf line;
    buf_init(&line, MAX_AUDIT_LINE);
    if (write_line(&line, entry)) {
        log_error(a->log, "an audit entry is lost: memory is short, or it is too long");
    } else {
        if (config) {
            config_mask(config, &line);
        }
        pthread_mutex_lock(&a->lock);
        put(a, &line, entry->logged);
        pthread_mutex_unlock(&a->lock);
    }
    buf_release(&line);
}
