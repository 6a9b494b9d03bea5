/* SPDX-License-Identifier: MIT */
#include "gateway/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
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
    logfile_trouble told; /* with ctx; NULL: nobody is */
    void *ctx;
    /* The thread's own. */
    bool torn;               /* the last byte on the file is not the end of a line */
    bool failing;            /* and it was told */
    unsigned long told_lost; /* dropped, as it was told last */
    usec quiet_until;
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

/* Writes what it can; the bytes that are on the file. Fewer than n: errno says why, 0 = nobody
 * reads. */
static size_t put(struct logfile *f, const char *data, size_t n) {
    size_t done = 0;
    while (done < n) {
        /* A pipe that poll calls writable takes this much at once, whatever its mode. */
        bool room = may_go_on(f);
        ssize_t some = room ? write(f->fd, data + done, n - done < SLICE ? n - done : SLICE) : -1;
        if (some > 0) {
            done += (size_t)some;
        } else if (!room || (errno != EAGAIN && errno != EINTR)) {
            errno = room ? errno : 0;
            break;
        }
    }
    return done;
}

static void tell(struct logfile *f, const char *words) {
    f->quiet_until = clock_now() + LOG_TROUBLE_PERIOD;
    if (f->told) {
        f->told(f->ctx, words);
    }
}

static void tell_failing(struct logfile *f, int why) {
    char words[128];
    if (!f->failing && clock_now() >= f->quiet_until) {
        f->failing = true;
        snprintf(words, sizeof(words), "cannot be written: %s; lines are dropped and counted",
                 why ? strerror(why) : "nobody reads it");
        tell(f, words);
    }
}

static void tell_losses(struct logfile *f) {
    unsigned long dropped = atomic_load(&f->dropped), lost = dropped - f->told_lost;
    char words[128];
    if (lost && (f->failing || clock_now() >= f->quiet_until)) {
        f->failing = false;
        f->told_lost = dropped;
        snprintf(words, sizeof(words), "is written again; %lu line%s lost", lost,
                 lost == 1 ? " was" : "s were");
        tell(f, words);
    }
}

static void write_all(struct logfile *f) {
    struct buf *b = &f->writing;
    size_t done = 0;
    if (!f->torn || put(f, "\n", 1) == 1) {
        f->torn = false;
        done = put(f, b->data, b->len);
    }
    int why = errno;
    f->torn = f->torn || (done > 0 && b->data[done - 1] != '\n');
    if (done < b->len) {
        atomic_fetch_add(&f->dropped, count_lines(b->data + done, b->len - done));
        tell_failing(f, why);
    } else {
        tell_losses(f);
    }
    buf_clear(b);
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

void logfile_tell(struct logfile *f, logfile_trouble told, void *ctx) {
    f->told = told;
    f->ctx = ctx;
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
