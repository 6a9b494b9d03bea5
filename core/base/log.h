/* SPDX-License-Identifier: MIT */
/*
 * Leveled log. A line goes to the sink that the owner of the gateway gave, from whichever thread
 * wrote it; the sink must be thread-safe. Never give it a secret, a prompt or an answer.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

typedef void (*log_sink)(void *ctx, enum log_level level,
                         const char *line); /* one line, no newline */

struct log {
    log_sink sink; /* NULL: nothing is written */
    void *ctx;
    _Atomic int level; /* lines below it are dropped before they are formatted */
};

void log_init(struct log *log, log_sink sink, void *ctx, enum log_level level);
bool log_on(const struct log *log, enum log_level level);
void log_write(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const char *log_level_name(enum log_level level);
int log_level_parse(const char *name); /* -1 when it is none */

#define log_debug(log, ...) log_write((log), LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(log, ...) log_write((log), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(log, ...) log_write((log), LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(log, ...) log_write((log), LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
