/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of config/ only: one load under way, and its steps in the order in which
 * config_load takes them. A step that finds a mistake tells it and goes on, so that all mistakes of
 * a file are told at once; nothing is built when there are any.
 */
#ifndef CONFIG_CONFIG_LOAD_H
#define CONFIG_CONFIG_LOAD_H

#include <stdbool.h>

#include "config/config.h"
#include "config/config_schema.h"
#include "config/path.h"
#include "config/snapshot.h"

struct load {
    struct snapshot *snapshot;
    const struct config_lua *lua;
    struct diags *diags;
    const char *file; /* gateway.lua as the user named it */
};

/* Stands for what could not be had and was told already (a variable that is not set, a file that is
 * not there), so that no rule complains about it again. */
#define UNKNOWN_VALUE "\001unknown\001"
bool is_unknown(const struct value *v); /* a string that contains it */

/* "PATH: message", at the path's line in gateway.lua. */
void load_error(struct load *l, const struct path *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void load_warn(struct load *l, const struct path *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs the file; *root is the table it returned (the caller releases it). -1: told to diags. */
int config_run_file(struct load *l, struct value *root) __attribute__((warn_unused_result));
/* Every key and value by itself, against the schema. */
void config_check(struct load *l, const struct schema *schema, const struct value *v,
                  struct path *at);
/* What concerns more than one value. Bears with wrong types: they were told already. */
void config_rules(struct load *l, const struct value *root);
/* What the tree says, with defaults where it says nothing or something wrong; certificates and keys
 * that are wrong are told. NULL: memory. */
struct config *config_build(struct load *l, const struct value *root);

/* Of config_build: reads the certificates and keys that the tree names into c, and tells what is
 * wrong with them. */
void config_tls(struct load *l, const struct value *root, struct config *c);

/* Of config_rules: one provider's `aws`, at its path. */
void config_aws_check(struct load *l, const struct value *provider, struct path *at);
/* Of config_build: the region that base_url names, where none is given. -1: memory. */
int config_aws_build(struct config_provider *p) __attribute__((warn_unused_result));

/* Of config_build: gathers into c->secrets what config_mask masks. -1: memory. */
int config_secrets(struct config *c, const struct value *root);

void config_free(struct config *c); /* whatever of it is built; NULL is a no-op */
void free_texts(char **list);       /* terminated by NULL, and its texts; NULL is a no-op */

#endif
