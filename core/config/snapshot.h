/* SPDX-License-Identifier: MIT */
/*
 * All source files of one load, read once, so that an edit during a reload cannot mix versions:
 * gateway.lua, the *.lua files of policies/ and everything under lua/ beside it, then those of the
 * library folders for names that are not there yet. Files ending in _test.lua are kept apart: they
 * are no modules and do not count in the hash. Bounded by MAX_SNAPSHOT_FILES and MAX_POLICY_FILE.
 */
#ifndef CONFIG_SNAPSHOT_H
#define CONFIG_SNAPSHOT_H

#include <stddef.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

struct snapshot_file {
    char *name; /* "gateway.lua", "policies/failover.lua", "lua/moongate/failover.lua" */
    char *path; /* where it was read; diagnostics name it relative to the configuration's folder
                   where possible */
    char *text;
    size_t len;
};

struct snapshot; /* reference-counted, atomically; the files never change */

/* `library`: NULL-terminated folders that hold policies/ and lua/. Borrowed for the call. NULL with
 * err when the file cannot be read. */
struct snapshot *snapshot_read(const char *config_file, const char *const *library,
                               struct err *err);
/* The same without a gateway.lua: what stands in for it is empty. For tests in a folder `dir` that
 * has none. */
struct snapshot *snapshot_read_folder(const char *dir, const char *const *library, struct err *err);

/* One file given as text. */
struct snapshot_text {
    struct str name, text; /* borrowed */
};
/* A copy of `from` whose gateway.lua is `config` and in which `files` (n of them) stand in place of
 * those of the same name or beside them. Inputs mixed into `from`, and its tests, are not taken
 * over. NULL with err: memory, too many or too large, or a name that is none (policies/X.lua,
 * lua/X.lua). */
struct snapshot *snapshot_derive(const struct snapshot *from, struct str config,
                                 const struct snapshot_text *files, size_t n, struct err *err);

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

const struct snapshot_file *snapshot_find(const struct snapshot *s,
                                          const char *name); /* NULL when absent */
/* The file that `require "a.b"` means: lua/a/b.lua, lua/a/b/init.lua, policies/a/b.lua, in this
 * order. */
const struct snapshot_file *snapshot_module(const struct snapshot *s, const char *module);
size_t snapshot_count(const struct snapshot *s);
const struct snapshot_file *snapshot_at(const struct snapshot *s, size_t i);
/* The *_test.lua files, in the order in which they were found. */
size_t snapshot_test_count(const struct snapshot *s);
const struct snapshot_file *snapshot_test_at(const struct snapshot *s, size_t i);
/* By its path, or else by its name in the load. */
const struct snapshot_file *snapshot_test_find(const struct snapshot *s, const char *name);
/* Adds the file at `path` as a test under that name; one that is there already is left as it is.
 * Before the snapshot is shared. -1 with err. */
int snapshot_add_test(struct snapshot *s, const char *path, struct err *err);
/* Lets the tests count in the hash (reload.tests). */
void snapshot_mix_tests(struct snapshot *s);

const char *snapshot_config_path(const struct snapshot *s); /* as given */
const char *snapshot_dir(const struct snapshot *s);

/* The same files, shared, without what was mixed in: to be loaded once more. NULL: memory. */
struct snapshot *snapshot_again(struct snapshot *s);
/* Notes that file() read `path` (of MAX_SNAPSHOT_INPUTS the first), for watching. -1: memory */
int snapshot_note_input(struct snapshot *s, const char *path) __attribute__((warn_unused_result));
const char *snapshot_input(const struct snapshot *s, size_t i); /* NULL past the end */

void snapshot_mix(struct snapshot *s,
                  struct str more); /* adds an input (a file() read, an env value) to the hash */
void snapshot_hash(const struct snapshot *s, unsigned char out[HASH_SIZE]);

#endif
