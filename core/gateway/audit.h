/* SPDX-License-Identifier: MIT */
/*
 * The audit log: who changed what on a running gateway, when, and how it ended; refused changes
 * too. One JSON line each in state_dir/audit.log, or in the error log at level info when there is
 * no state_dir (loads of files apart, which the log tells anyway). Rotated once at MAX_AUDIT_FILE
 * to audit.log.1. Any thread; a write blocks on the disk.
 */
#ifndef GATEWAY_AUDIT_H
#define GATEWAY_AUDIT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"

struct audit {
    pthread_mutex_t lock; /* one writer at a time */
    const struct log *log;
    char *path;            /* owned; NULL: to the log */
    bool failed;           /* the file cannot be written: logged once until it works again */
    atomic_ulong failures; /* entries that the file did not take */
};

/* All texts are borrowed for the call; NULL is written as null. */
struct audit_entry {
    const char *who;            /* "admin 127.0.0.1:5000", "SIGHUP", "file watch" … */
    const char *why;            /* in the words of who did it; NULL or "" when none were given */
    const char *action;         /* "reload", "settings", "activate", "suspend", "resume" … */
    const char *object;         /* the route, target or generation that it is about */
    const char *before, *after; /* JSON texts without null */
    const char *result;         /* "applied", "unchanged", "refused", "conflict", "failed" … */
    unsigned generation;        /* in force afterwards */
    bool logged; /* the log tells as much already: without a file it is not repeated there */
};

/* Copies state_dir, which may be NULL. `log` is borrowed. */
int audit_init(struct audit *a, const struct log *log) __attribute__((warn_unused_result));
int audit_open(struct audit *a, const char *state_dir) __attribute__((warn_unused_result));
void audit_release(struct audit *a);
/* The secrets of `config` (may be NULL) are masked in every text. Cannot fail: what the file does
 * not take goes to the log. */
void audit_write(struct audit *a, const struct config *config, const struct audit_entry *entry);

#endif
