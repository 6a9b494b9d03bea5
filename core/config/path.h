/* SPDX-License-Identifier: MIT */
/*
 * The path of a value in gateway.lua as diagnostics print it: "providers.openai.base_url",
 * "keys[1]", "providers[\"my-own\"]". Storage of the caller, of a fixed size; a path that does not
 * fit is cut, which costs only precision in a message. config_line reads what this writes.
 */
#ifndef CONFIG_PATH_H
#define CONFIG_PATH_H

#include <stddef.h>

struct path {
    char text[256];
    size_t n;
};

void path_init(struct path *p);
/* Both append and return the length before, which path_cut takes. */
size_t path_field(struct path *p, const char *name);
size_t path_item(struct path *p, size_t index); /* 1-based, as in Lua */
void path_cut(struct path *p, size_t n);

#endif
