/* SPDX-License-Identifier: MIT */
/*
 * The file watch: tells when a source file of the configuration changed (gateway.lua, *.lua below
 * policies/ and lua/, what file() read), once for many quick edits. Watches folders, not files, so
 * that an editor's rename, a folder that appears later, and a swap file next to the source are
 * taken for what they are. For one event loop's thread.
 */
#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"

struct event_base;
struct watch;

struct watch_options {
    const char *const *library; /* NULL-terminated folders beside the configuration's own; borrowed
                                   for the watch's life */
    void (*changed)(void *ctx); /* on the loop's thread, from its own callback */
    void *ctx;
    const struct log *log; /* borrowed */
};

/* Watches nothing yet. NULL: memory. */
struct watch *watch_new(struct event_base *base, const struct watch_options *options);
void watch_free(struct watch *w); /* NULL is a no-op */
/* Watches what the configuration was read from, or nothing when it does not ask for a watch. What
 * cannot be watched is logged. The configuration is borrowed for the call. */
void watch_configure(struct watch *w, const struct config *config);

#endif
