/* SPDX-License-Identifier: MIT */
/*
 * cJSON behind our own names. A node is a cJSON item under another type. When an addition fails for
 * memory, its parent is marked invalid, so that printing the document fails instead of leaving a
 * field out.
 */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/jscan.h"
#include "base/jtext.h"
#include "base/limits.h"

static cJSON *raw(const struct json *j) {
    return (cJSON *)(uintptr_t)j;
}

static struct json *node(cJSON *c) {
    return (struct json *)c;
}

struct json *json_parse(struct str text) {
    /* cJSON takes more than JSON and knows no depth that suits us: the scanner decides, cJSON
     * builds. */
    if (jscan_check(text, NULL) != JSCAN_OK) {
        return NULL;
    }
    return node(cJSON_ParseWithLength(text.p, text.n));
}

void json_free(struct json *j) {
    cJSON_Delete(raw(j));
}

int json_print(const struct json *j, struct buf *out) {
    char *text = j ? cJSON_PrintUnformatted(raw(j)) : NULL;
    if (!text) {
        return BUF_NOMEM;
    }
    int rc = buf_adds(out, text);
    cJSON_free(text);
    return rc;
}

struct json *json_object(void) {
    return node(cJSON_CreateObject());
}

/* Takes over the item; NULL stands for one that could not be made. `name` is NULL for arrays. */
static struct json *attach(struct json *parent, const char *name, cJSON *item) {
    cJSON *p = raw(parent);
    cJSON_bool added = 0;
    if (p && item) {
        added = name ? cJSON_AddItemToObject(p, name, item) : cJSON_AddItemToArray(p, item);
    }
    if (added) {
        return node(item);
    }
    cJSON_Delete(item);
    if (p) {
        p->type = cJSON_Invalid;
    }
    return NULL;
}

/* cJSON copies terminated text as it is: what it gets must be UTF-8, or the document would not be
 * JSON. */
static cJSON *string_item(struct str value) {
    struct buf text;
    buf_init(&text, value.n * 3);
    cJSON *item = utf8_add(&text, value) == BUF_OK ? cJSON_CreateString(text.data) : NULL;
    buf_release(&text);
    return item;
}

struct json *json_add_object(struct json *obj, const char *name) {
    return obj ? attach(obj, name, cJSON_CreateObject()) : NULL;
}

struct json *json_add_array(struct json *obj, const char *name) {
    return obj ? attach(obj, name, cJSON_CreateArray()) : NULL;
}

void json_add_str(struct json *obj, const char *name, struct str value) {
    if (obj) {
        attach(obj, name, string_item(value));
    }
}

void json_add_num(struct json *obj, const char *name, double value) {
    if (obj) {
        attach(obj, name, cJSON_CreateNumber(value));
    }
}

void json_add_bool(struct json *obj, const char *name, bool value) {
    if (obj) {
        attach(obj, name, cJSON_CreateBool(value));
    }
}

void json_add_null(struct json *obj, const char *name) {
    if (obj) {
        attach(obj, name, cJSON_CreateNull());
    }
}

void json_add_copy(struct json *obj, const char *name, const struct json *from) {
    if (obj) {
        attach(obj, name, cJSON_Duplicate(raw(from), 1));
    }
}

struct json *json_push_object(struct json *array) {
    return array ? attach(array, NULL, cJSON_CreateObject()) : NULL;
}

void json_push_str(struct json *array, struct str value) {
    if (array) {
        attach(array, NULL, string_item(value));
    }
}

/* The text as it is to be shown, or NULL; *shown (initialised here) owns it. */
static const char *changed(struct str text, const struct json_texts *texts, struct buf *shown) {
    buf_init(shown, text.n * 3);
    if (utf8_add(shown, text) != BUF_OK) {
        return NULL;
    }
    if (texts) {
        texts->change(texts->ctx, shown);
    }
    return shown->data;
}

static cJSON *value_item(const struct value *v, const struct json_texts *texts);

static cJSON *text_item(struct str text, const struct json_texts *texts) {
    struct buf shown;
    const char *p = changed(text, texts, &shown);
    cJSON *item = p ? cJSON_CreateString(p) : NULL;
    buf_release(&shown);
    return item;
}

static void add_fields(struct json *to, const struct value *v, const struct json_texts *texts) {
    for (size_t i = 0; i < v->as.t.n_items; i++) { /* beside named fields: by their Lua index */
        char index[32];
        snprintf(index, sizeof(index), "%zu", i + 1);
        attach(to, index, value_item(&v->as.t.items[i], texts));
    }
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        struct buf shown;
        const char *name = changed(str_of(v->as.t.fields[i].name), texts, &shown);
        attach(to, name ? name : "", name ? value_item(&v->as.t.fields[i].value, texts) : NULL);
        buf_release(&shown);
    }
}

static cJSON *table_item(const struct value *v, const struct json_texts *texts) {
    bool list = v->as.t.n_items && !v->as.t.n_fields;
    cJSON *item = list ? cJSON_CreateArray() : cJSON_CreateObject();
    if (!item) {
        return NULL;
    }
    if (!list) {
        add_fields(node(item), v, texts);
        return item;
    }
    for (size_t i = 0; i < v->as.t.n_items; i++) {
        attach(node(item), NULL, value_item(&v->as.t.items[i], texts));
    }
    return item;
}

static cJSON *value_item(const struct value *v, const struct json_texts *texts) {
    switch (v ? v->type : VALUE_NIL) {
    case VALUE_BOOL:
        return cJSON_CreateBool(v->as.b);
    case VALUE_INT:
        return cJSON_CreateNumber((double)v->as.i);
    case VALUE_NUM:
        return cJSON_CreateNumber(v->as.n); /* what is not finite is printed as null */
    case VALUE_STR:
        return text_item(value_str(v), texts);
    case VALUE_TABLE:
        return table_item(v, texts);
    case VALUE_NIL:
        break;
    }
    return cJSON_CreateNull();
}

void json_add_value(struct json *obj, const char *name, const struct value *v,
                    const struct json_texts *texts) {
    if (obj) {
        attach(obj, name, value_item(v, texts));
    }
}

static int change_text(cJSON *item, const struct json_texts *texts) {
    struct buf shown;
    const char *p = changed(str_of(item->valuestring), texts, &shown);
    int rc = p && (strcmp(p, item->valuestring) == 0 || cJSON_SetValuestring(item, p)) ? 0 : -1;
    buf_release(&shown);
    return rc;
}

int json_change_texts(struct json *root, const struct json_texts *texts) {
    cJSON *item = raw(root);
    if (cJSON_IsString(item)) {
        return change_text(item, texts);
    }
    for (cJSON *child = item ? item->child : NULL; child; child = child->next) {
        if (json_change_texts(node(child), texts) != 0) {
            return -1;
        }
    }
    return 0;
}

const struct json *json_get(const struct json *obj, const char *name) {
    if (!json_is_object(obj)) {
        return NULL;
    }
    return node(cJSON_GetObjectItemCaseSensitive(raw(obj), name));
}

const struct json *json_at(const struct json *array, size_t i) {
    return json_is_array(array) && i < INT32_MAX ? node(cJSON_GetArrayItem(raw(array), (int)i))
                                                 : NULL;
}

size_t json_len(const struct json *array) {
    return json_is_array(array) ? (size_t)cJSON_GetArraySize(raw(array)) : 0;
}

const struct json *json_next(const struct json *item) {
    return item ? node(raw(item)->next) : NULL;
}

bool json_str(const struct json *j, struct str *out) {
    const char *text = cJSON_GetStringValue(raw(j));
    if (!text) {
        return false;
    }
    *out = str_of(text);
    return true;
}

bool json_num(const struct json *j, double *out) {
    if (!cJSON_IsNumber(raw(j))) {
        return false;
    }
    *out = raw(j)->valuedouble;
    return true;
}

bool json_bool(const struct json *j, bool *out) {
    if (!cJSON_IsBool(raw(j))) {
        return false;
    }
    *out = cJSON_IsTrue(raw(j));
    return true;
}

bool json_is_object(const struct json *j) {
    return cJSON_IsObject(raw(j));
}

bool json_is_array(const struct json *j) {
    return cJSON_IsArray(raw(j));
}

bool json_is_null(const struct json *j) {
    return cJSON_IsNull(raw(j));
}

struct str json_get_str(const struct json *obj, const char *name) {
    struct str text = STR("");
    json_str(json_get(obj, name), &text);
    return text;
}

double json_get_num(const struct json *obj, const char *name, double otherwise) {
    json_num(json_get(obj, name), &otherwise);
    return otherwise;
}

bool json_get_bool(const struct json *obj, const char *name) {
    bool flag = false;
    json_bool(json_get(obj, name), &flag);
    return flag;
}

const struct json *json_each(const struct json *obj, const struct json *it, const char **name) {
    if (!json_is_object(obj)) {
        return NULL;
    }
    const cJSON *next = it ? raw(it)->next : raw(obj)->child;
    if (!next) {
        return NULL;
    }
    *name = next->string;
    return node((cJSON *)(uintptr_t)next);
}
