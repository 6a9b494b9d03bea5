/* SPDX-License-Identifier: MIT */
#include "gateway/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/thread.h"

#define SLICE 4096             /* PIPE_BUF */
#define CLOSE_PATIENCE_MS 2000 /* for a reader that never reads, when the program ends */

struct logfile {
    int fd;
    bool own_fd;
    bool closing;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct buf waiting; /* lines not yet taken by the thread */
    struct buf writing; /* the thread's own */
    atomic_ulong dropped;
};

static unsigned long count_lines(const char *data, size_t n) {
    unsigned long lines = 0;
    for (size_t i = 0; i < n; i++) {
        lines += data[i] == '\n';
    }
    return lines;
}

static bool may_go_on(struct logfile *f) {
    struct pollfd p = {.fd = f->fd, .events = POLLOUT};
    bool closing = false;
    for (;;) {
        if (poll(&p, 1, closing ? CLOSE_PATIENCE_MS : 1000) > 0) {
            return true;
        }
        if (closing) {
            return false;
        }
        pthread_mutex_lock(&f->lock);
        closing = f->closing;
        pthread_mutex_unlock(&f->lock);
    }
}

static void write_all(struct logfile *f) {
    size_t done = 0;
    while (done < f->writing.len) {
        /* A pipe that poll calls writable takes this much at once, whatever its mode. */
        size_t left = f->writing.len - done;
        bool room = may_go_on(f);
        ssize_t put = room ? write(f->fd, f->writing.data + done, left < SLICE ? left : SLICE) : -1;
        if (put > 0) {
            done += (size_t)put;
        } else if (!room || (errno != EAGAIN && errno != EINTR)) {
            unsigned long lost = count_lines(f->writing.data + done, f->writing.len - done);
            atomic_fetch_add(&f->dropped, lost);
            break;
        }
    }
    buf_clear(&f->writing);
}

static void *writer(void *arg) {
    struct logfile *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (f->waiting.len == 0 && !f->closing) {
            pthread_cond_wait(&f->wake, &f->lock);
        }
        if (f->waiting.len == 0) {
            break;
        }
        struct buf taken = f->waiting;
        f->waiting = f->writing;
        f->writing = taken;
        pthread_mutex_unlock(&f->lock);
        write_all(f);
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static int open_fd(struct logfile *f, const char *where, struct err *err) {
    if (strcmp(where, "stdout") == 0 || strcmp(where, "stderr") == 0) {
        f->fd = strcmp(where, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO;
        return 0;
    }
    f->fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    f->own_fd = true;
    if (f->fd < 0) {
        return err_set(err, "log file %s cannot be opened: %s", where, strerror(errno));
    }
    return 0;
}

struct logfile *logfile_open(const char *where, struct err *err) {
    struct logfile *f = calloc(1, sizeof(*f));
    if (!f) {
        err_set(err, "out of memory for a log file");
        return NULL;
    }
    buf_init(&f->waiting, MAX_LOG_WAITING);
    buf_init(&f->writing, MAX_LOG_WAITING);
    if (open_fd(f, where, err) != 0) {
        free(f);
        return NULL;
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    if (thread_start(&f->thread, writer, f) != 0) {
        err_set(err, "no thread for log file %s", where);
        if (f->own_fd) {
            close(f->fd);
        }
        free(f);
        return NULL;
    }
    return f;
}

void logfile_close(struct logfile *f) {
    if (!f) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    if (f->own_fd) {
        close(f->fd);
    }
    buf_release(&f->waiting);
    buf_release(&f->writing);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    free(f);
}

void logfile_line(struct logfile *f, const char *line, size_t n) {
    pthread_mutex_lock(&f->lock);
    size_t before = f->waiting.len;
    if (buf_add(&f->waiting, line, n) != BUF_OK || buf_addc(&f->waiting, '\n') != BUF_OK) {
        buf_truncate(&f->waiting, before);
        atomic_fetch_add(&f->dropped, 1);
    }
    if (before == 0) {
        pthread_cond_signal(&f->wake);
    }
    pthread_mutex_unlock(&f->lock);
}

unsigned long logfile_dropped(const struct logfile *f) {
    return f ? atomic_load(&((struct logfile *)(size_t)f)->dropped) : 0;
}
