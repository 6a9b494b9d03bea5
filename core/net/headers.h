/* SPDX-License-Identifier: MIT */
/*
 * A list of header fields in order, names matched without case. The text is copied into one buffer,
 * so a list is two allocations whatever its length. Slices handed out are valid until the list is
 * changed or released.
 */
#ifndef NET_HEADERS_H
#define NET_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct header {
    struct str name, value;
};

struct header_ref {
    unsigned name_off, name_len, value_off, value_len;
};

struct headers {
    struct buf text;
    struct header_ref *refs;
    size_t n, cap;
    size_t max; /* fields */
};

void headers_init(struct headers *h, size_t max_fields, size_t max_bytes);
void headers_release(struct headers *h);
void headers_clear(struct headers *h);

/* 0, or -1: a maximum is passed or memory is short. Neither name nor value is checked; they must
 * not be slices of the list itself. */
int headers_add(struct headers *h, struct str name, struct str value)
    __attribute__((warn_unused_result));
/* Removes all of that name, then adds. */
int headers_set(struct headers *h, struct str name, struct str value)
    __attribute__((warn_unused_result));
void headers_remove(struct headers *h, const char *name);
void headers_remove_at(struct headers *h, size_t i);

struct header headers_at(const struct headers *h, size_t i);
bool headers_get(const struct headers *h, const char *name,
                 struct str *value); /* the first of that name */
size_t headers_count(const struct headers *h, const char *name);
/* True when any field `name` lists `token` among its comma-separated members (case ignored). */
bool headers_list_has(const struct headers *h, const char *name, const char *token);

/* RFC 9110: a token; a field value without CR, LF, NUL and other controls (tab allowed). */
bool header_name_ok(struct str name);
bool header_value_ok(struct str value);
bool header_name_char(unsigned char c);
bool header_value_char(unsigned char c);

#endif
