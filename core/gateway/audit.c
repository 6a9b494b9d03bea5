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
#include "base/json.h"

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

static void add_text(struct json *line, const char *name, const char *text) {
    if (text && *text) {
        json_add_str(line, name, str_of(text));
    } else {
        json_add_null(line, name);
    }
}

/* JSON, taken apart so that the mask sees texts as they are, not as JSON escapes them; what does
 * not fit is left out, and says so. */
static void add_json(struct json *line, const char *name, const char *json,
                     const struct json_texts *masks) {
    struct value v = {0};
    struct err err;
    char size[64];
    if (!json) {
        json_add_null(line, name);
    } else if (strlen(json) > MAX_AUDIT_LINE / 3 || value_from_json(&v, str_of(json), &err)) {
        snprintf(size, sizeof(size), "(%zu bytes)", strlen(json));
        json_add_str(line, name, str_of(size));
    } else {
        json_add_value(line, name, &v, masks);
    }
    value_release(&v);
}

static int write_line(struct buf *out, const struct audit_entry *e,
                      const struct json_texts *masks) {
    struct json *line = json_object();
    char now[32];
    clock_format(clock_wall(), now, sizeof(now));
    add_text(line, "time", now);
    add_text(line, "who", e->who);
    add_text(line, "why", e->why);
    add_text(line, "action", e->action);
    add_text(line, "object", e->object);
    add_json(line, "before", e->before, masks);
    add_json(line, "after", e->after, masks);
    add_text(line, "result", e->result);
    json_add_num(line, "generation", e->generation);
    int bad = masks ? json_change_texts(line, masks) : 0;
    bad = bad || json_print(line, out) || buf_addc(out, '\n') ? -1 : 0;
    json_free(line);
    return bad;
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
    if (n > 0 && n < (ssize_t)line.n) { /* lest the next entry stands behind half of this one */
        (void)!ftruncate(fd, lseek(fd, 0, SEEK_END) - n);
    }
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
    atomic_fetch_add(&a->failures, a->path != NULL);
    if (a->path && !a->failed) {
        a->failed = true;
        log_error(a->log, "%s: cannot be written: %s; entries go here", a->path, strerror(errno));
    }
    if (a->path || !logged) {
        to_log(a, line);
    }
}

void audit_write(struct audit *a, const struct config *config, const struct audit_entry *entry) {
    struct json_texts masks = config_masks(config);
    struct buf line;
    buf_init(&line, MAX_AUDIT_LINE);
    if (write_line(&line, entry, config ? &masks : NULL)) {
        log_error(a->log, "an audit entry is lost: memory is short, or it is too long");
    } else {
        pthread_mutex_lock(&a->lock);
        put(a, &line, entry->logged);
        pthread_mutex_unlock(&a->lock);
    }
    buf_release(&line);
}
