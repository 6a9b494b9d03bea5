/* SPDX-License-Identifier: MIT */
/*
 * Where in the text of gateway.lua a value is written. config_line (config.h) is the face of it;
 * this one works on any text.
 */
#ifndef CONFIG_LOCATE_H
#define CONFIG_LOCATE_H

#include "base/str.h"

/* The line of the value at `path` ("routes[2].settings.trigger") in the table that the text
 * returns, of its nearest parent that can be found, or 0. */
int locate_line(struct str text, const char *path);

/* Tells each name that stands twice in one table constructor: Lua silently takes one of them. */
void locate_twice(struct str text,
                  void (*tell)(void *ctx, struct str name, int line, int first_line), void *ctx);

#endif
