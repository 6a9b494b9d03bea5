/* SPDX-License-Identifier: MIT */
/*
 * The settings overlay: what admins put over the settings of gateway.lua while the gateway runs,
 * per route, whole top-level keys. Kept in state_dir/settings.json, which is only ever replaced
 * whole, so a crash leaves the old overlay or the new one. Plain data; the loader owns the one in
 * force and is the only one that changes it. Reading and writing block on the disk.
 */
#ifndef GATEWAY_OVERLAY_H
#define GATEWAY_OVERLAY_H

#include "base/diag.h"
#include "base/err.h"
#include "config/config.h"

struct overlay_route {
    char *name;            /* owned */
    long long version;     /* of the last change of this route's overlay, > 0 */
    struct value settings; /* a table; empty once everything was dropped */
};

struct overlay {
    long long version; /* of the last change of any; a route's version is never given twice */
    struct overlay_route *routes; /* owned, sorted by name */
    size_t n;
};

void overlay_init(struct overlay *o);
void overlay_release(struct overlay *o); /* leaves an empty one */
int overlay_copy(struct overlay *dst, const struct overlay *src)
    __attribute__((warn_unused_result)); /* 0, or -1 (memory): dst is empty then */

/* Borrowed; NULL when the route never had any. */
const struct overlay_route *overlay_find(const struct overlay *o, const char *route);
long long overlay_version(const struct overlay *o, const char *route); /* 0: never had any */

/* Replaces the route's settings (a table, copied; NULL or empty: none) and counts its version up.
 * -1 with err: not a table with names only, too large, too many routes, memory; unchanged then. */
int overlay_set(struct overlay *o, const char *route, const struct value *settings, struct err *err)
    __attribute__((warn_unused_result));
/* Makes the settings those of `kept`; routes that differ get new versions. -1 (memory): in parts */
int overlay_adopt(struct overlay *o, const struct overlay *kept, struct err *err)
    __attribute__((warn_unused_result));

/* Appends the settings of all routes that have any as one JSON text, the same for the same
 * settings whatever the versions: for hashes and comparing. 0 or -1. */
int overlay_text(const struct overlay *o, struct buf *out) __attribute__((warn_unused_result));

/* Puts the overlay over the configuration, which nobody else has yet: fills `overlay`,
 * `file_settings` and `settings` of its routes, and overlay_file with `file` (where the overlay is
 * kept; NULL: it is not kept yet). Warns of routes that are not there. -1 (memory): told. */
int overlay_merge(const struct overlay *o, const char *file, struct config *config,
                  struct diags *diags) __attribute__((warn_unused_result));

/* "STATE_DIR/settings.json" into out, cut when it does not fit. */
void overlay_path(const char *state_dir, char *out, size_t size);
/* The file's content into an initialised, empty o. 0 (also when there is no file), -1 with err:
 * damaged, unreadable, too large. */
int overlay_read(struct overlay *o, const char *state_dir, struct err *err)
    __attribute__((warn_unused_result));
/* On the disk when it returns 0; -1 with err: the file is as it was. */
int overlay_write(const struct overlay *o, const char *state_dir, struct err *err)
    __attribute__((warn_unused_result));

#endif
