/* SPDX-License-Identifier: MIT */
/*
 * What gateway.lua may contain: every key with its type, range, default, and where in struct config
 * it goes. The tables are the one place where a key is added; checking and filling read them.
 */
#ifndef CONFIG_CONFIG_SCHEMA_H
#define CONFIG_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config_text.h"

enum field_type {
    FIELD_BOOL,     /* bool */
    FIELD_INT,      /* int */
    FIELD_BYTES,    /* size_t */
    FIELD_SECONDS,  /* usec */
    FIELD_TEXT,     /* char *, NULL when absent and without default */
    FIELD_CHOICE,   /* int: the place in words */
    FIELD_TEXTS,    /* char **, a list, NULL when absent */
    FIELD_TEXT_MAP, /* struct value: names to strings */
    FIELD_VALUE,    /* struct value: any table, judged by somebody else */
    FIELD_RECORD,   /* a table with the keys of `of`; its keys go into the same struct */
    FIELD_LIST,     /* of records; built by hand */
    FIELD_MAP,      /* names to records; built by hand */
    FIELD_LISTEN,   /* the three that take more than one shape; built by hand */
    FIELD_WORKERS,
    FIELD_MODELS,     /* texts, names with targets, or both; built by hand */
    FIELD_IDENTITIES, /* a record, or a list of them; built by hand */
    FIELD_HEALTH
};

enum field_flags {
    FIELD_REQUIRED = 1,
    FIELD_SECRET = 2, /* never show the value */
    FIELD_BY_HAND = 4 /* checked here, stored by config_build.c: offset means nothing */
};

struct schema;

struct field {
    const char *name;
    enum field_type type;
    int flags;
    double min, max, def; /* numbers; max of a list or map: how many */
    const char *text;     /* default of a text; of a required one, what stands for a wrong one */
    const char *const *words; /* of a text or choice: the only ones allowed, NULL-terminated */
    const char *note;         /* said after "expected …" */
    text_rule *rule;          /* of a text, of each in a list, of each value of a map */
    text_rule *name_rule;     /* of each name of a map */
    const struct schema *of;  /* of a record, or of each record in a list or map */
    size_t offset;            /* in the struct that the schema describes */
};

struct schema {
    const struct field *fields; /* ends with a NULL name */
};

extern const struct schema config_schema, provider_schema, health_schema, key_schema, route_schema,
    listen_schema, identity_schema, api_key_schema;

#endif
