/* SPDX-License-Identifier: MIT */
/* Where the gateway's lines go: to the program's functions, or to files. */
#include <stdio.h>

#include "gateway/logfile.h"
#include "moongate_internal.h"

void gw_log(void *ctx, enum log_level level, const char *line) {
    struct moongate *gw = ctx;
    if (gw->options.log) {
        gw->options.log(gw->options.log_ctx, (enum moongate_level)level, line);
    } else if (gw->error_log) {
        char text[KIB(4)], now[32];
        clock_format(clock_wall(), now, sizeof(now));
        int n = snprintf(text, sizeof(text), "%s %-5s %s", now, log_level_name(level), line);
        logfile_line(gw->error_log, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
    }
}

static void on_access(void *ctx, const char *line, size_t n) {
    struct moongate *gw = ctx;
    if (gw->options.access) {
        gw->options.access(gw->options.log_ctx, MOONGATE_INFO, line);
    } else {
        logfile_line(gw->access_log, line, n);
    }
}

unsigned long gw_log_dropped(void *ctx) {
    struct moongate *gw = ctx;
    return logfile_dropped(gw->error_log) + logfile_dropped(gw->access_log);
}

static void access_trouble(void *ctx, const char *words) {
    struct moongate *gw = ctx;
    log_error(&gw->gateway.log, "the access log %s", words);
}

static void error_trouble(void *ctx, const char *words) {
    struct moongate *gw = ctx;
    log_error(&gw->gateway.log, "the error log %s", words);
}

int gw_open_logs(struct moongate *gw, const struct config *c, struct err *err) {
    if (!gw->options.log && strcmp(c->log.error, "off") != 0) {
        gw->error_log = logfile_open(c->log.error, err);
        if (!gw->error_log) {
            return -1;
        }
        logfile_tell(gw->error_log, error_trouble, gw);
    }
    bool off = strcmp(c->log.access, "off") == 0;
    if (!gw->options.access && !off) {
        gw->access_log = logfile_open(c->log.access, err);
        if (!gw->access_log) {
            return -1;
        }
        logfile_tell(gw->access_log, access_trouble, gw);
    }
    gw->gateway.access = gw->options.access || gw->access_log ? on_access : NULL;
    gw->gateway.access_ctx = gw;
    return 0;
}
