/* SPDX-License-Identifier: MIT */
/*
 * Files that a configuration names, beside its sources: what file() reads, certificates and keys.
 * They are read once in a load, are watched, and count in the generation's hash.
 */
#ifndef CONFIG_CONFIG_INPUT_H
#define CONFIG_CONFIG_INPUT_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/str.h"
#include "config/config_load.h"

/* `name`, relative to the configuration's folder, as a path, which is watched from here on; *st is
 * what is there. NULL, or the reason why there is nothing to read ("is no regular file"), which
 * lives until the next call of strerror. */
const char *input_find(struct load *l, struct str name, char path[PATH_MAX], struct stat *st);
/* Reads what input_find found: exactly st->st_size bytes, into out, which has room for one more.
 * NULL, or the reason. Raises nothing in Lua. */
const char *input_read(const char *path, const struct stat *st, char *out);
/* Lets an input count in the hash: its kind ('e' a variable, 'f' a file), its name, its content. */
void input_mix(struct load *l, char kind, struct str name, struct str content);

#endif
