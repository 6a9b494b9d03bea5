/* SPDX-License-Identifier: MIT */
/*
 * Our own JSON documents (admin answers, state file): a thin wrapper over cJSON, the only place
 * that knows it. Never used for request or answer bodies (see jscan.h for those).
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/value.h"

struct json; /* a node; a root is freed with json_free, children with their root */

struct json *json_parse(struct str text); /* NULL when it is no JSON */
void json_free(struct json *j);
int json_print(const struct json *j, struct buf *out) __attribute__((warn_unused_result));

struct json *json_object(void); /* a root; NULL when memory is short */

/* Adding: a NULL parent is a no-op that returns NULL, so that a chain is checked once at its end
 * (json_print of NULL fails). */
struct json *json_add_object(struct json *obj, const char *name);
struct json *json_add_array(struct json *obj, const char *name);
void json_add_str(struct json *obj, const char *name, struct str value);
void json_add_num(struct json *obj, const char *name, double value);
void json_add_bool(struct json *obj, const char *name, bool value);
void json_add_null(struct json *obj, const char *name);
/* Adds a copy of another document's node, with all below it; NULL makes the parent invalid. */
void json_add_copy(struct json *obj, const char *name, const struct json *node);
struct json *json_push_object(struct json *array);
void json_push_str(struct json *array, struct str value);

/* Changes texts on their way into a document, or in it: the buffer holds one text, which must not
 * become longer. */
struct json_texts {
    void (*change)(void *ctx, struct buf *text);
    void *ctx;
};
/* The value as value_to_json writes it; `texts` (may be NULL) sees its strings and the names within
 * its tables. */
void json_add_value(struct json *obj, const char *name, const struct value *v,
                    const struct json_texts *texts);
/* Every string of the document, names apart. 0, or -1 (memory): the document is good for nothing
 * then. */
int json_change_texts(struct json *root, const struct json_texts *texts)
    __attribute__((warn_unused_result));

/* Reading; names are matched exactly. */
const struct json *json_get(const struct json *obj, const char *name);
const struct json *json_at(const struct json *array, size_t i); /* NULL past the end */
size_t json_len(const struct json *array);
const struct json *
json_next(const struct json *item); /* the item after it in its array, or NULL; json_at is linear */
bool json_str(const struct json *j, struct str *out); /* borrowed */
bool json_num(const struct json *j, double *out);
bool json_bool(const struct json *j, bool *out);
bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_is_null(const struct json *j); /* null is there; false when j is NULL */
/* A field's value, or what stands for one when it is absent or of another type: no text,
 * `otherwise`, false. */
struct str json_get_str(const struct json *obj, const char *name); /* borrowed */
double json_get_num(const struct json *obj, const char *name, double otherwise);
bool json_get_bool(const struct json *obj, const char *name);
/* Walks the fields of an object: *it starts NULL. */
const struct json *json_each(const struct json *obj, const struct json *it, const char **name);

#endif
