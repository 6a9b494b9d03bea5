/* SPDX-License-Identifier: MIT */
/*
 * Leveled lines to a sink. Formats on the stack, so it works when memory is short, and takes no
 * lock. Control characters become spaces: nobody forges a line with text that came from outside.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum { LEVELS = sizeof(level_names) / sizeof(level_names[0]) };

void log_init(struct log *log, log_sink sink, void *ctx, enum log_level level) {
    log->sink = sink;
    log->ctx = ctx;
    atomic_init(&log->level, (int)level);
}

bool log_on(const struct log *log, enum log_level level) {
    return log && log->sink &&
           (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void log_write(const struct log *log, enum log_level level, const char *fmt, ...) {
    char line[MAX_LOG_LINE];
    va_list ap;
    if (!log_on(log, level)) {
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    for (char *p = line; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = ' ';
        }
    }
    if ((size_t)n >= sizeof(line)) {
        memcpy(line + sizeof(line) - sizeof(" ..."), " ...", sizeof(" ..."));
    }
    log->sink(log->ctx, level, line);
}

const char *log_level_name(enum log_level level) {
    return (unsigned)level < LEVELS ? level_names[level] : "unknown";
}

int log_level_parse(const char *name) {
    for (int i = 0; name && i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}
