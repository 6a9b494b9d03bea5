/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the JSON scanner reads nothing outside of the text and agrees with itself, and
 * splicing changes the fields it was asked to change and no other byte. The first byte of the input
 * chooses the edits, the rest is the text.
 * Reads: base/jscan.c base/jsplice.c base/jtext.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jscan.h"
#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "does not hold: %s\n", #condition);                                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct str join(const struct jpieces *p, struct buf *out) {
    for (size_t i = 0; i < p->n; i++) {
        CHECK(buf_add_str(out, p->piece[i]) == BUF_OK);
    }
    return buf_str(out);
}

/* A string that was read can be written and read again. */
static void round_trip(struct str text, const struct jvalue *v) {
    struct buf plain, quoted, again;
    struct jvalue whole = {JTYPE_STRING, 0, 0};
    buf_init(&plain, MIB(4));
    buf_init(&quoted, MIB(4));
    buf_init(&again, MIB(4));
    CHECK(jscan_string(text, v, &plain) == 0);
    CHECK(json_write_string(&quoted, buf_str(&plain)) == 0);
    CHECK(jscan_check(buf_str(&quoted), NULL) == JSCAN_OK);
    whole.len = quoted.len;
    CHECK(jscan_string(buf_str(&quoted), &whole, &again) == 0);
    CHECK(str_eq(buf_str(&plain), buf_str(&again)));
    buf_release(&plain);
    buf_release(&quoted);
    buf_release(&again);
}

/* Is the key, as it is written, one of those that are edited? */
static bool is_edited(struct str key, const struct jedit *edits, size_t n) {
    struct jvalue v = {JTYPE_STRING, 0, key.n + 2};
    struct str quoted = str_make(key.p - 1, key.n + 2);
    bool edited = false;
    struct buf name;
    buf_init(&name, MIB(1));
    CHECK(jscan_string(quoted, &v, &name) == 0);
    for (size_t i = 0; i < n; i++) {
        edited |= str_eq(buf_str(&name), edits[i].name);
    }
    buf_release(&name);
    return edited;
}

/* The next field that no edit names. False: there is none. */
static bool next_kept(struct str text, size_t *pos, const struct jedit *edits, size_t n,
                      struct str *key, struct str *raw) {
    struct jvalue all = {JTYPE_OBJECT, 0, text.n}, item;
    int more;
    while ((more = jscan_next(text, &all, pos, key, &item)) == 1) {
        if (!is_edited(*key, edits, n)) {
            *raw = jvalue_raw(text, &item);
            return true;
        }
    }
    CHECK(more == 0);
    return false;
}

/* All that was not edited is there as it was, in order. */
static void check_kept(struct str before, struct str after, const struct jedit *edits, size_t n) {
    size_t at = 0, now = 0;
    struct str key, raw, key_now, raw_now;
    while (next_kept(before, &at, edits, n, &key, &raw)) {
        CHECK(next_kept(after, &now, edits, n, &key_now, &raw_now));
        CHECK(str_eq(key, key_now));
        CHECK(str_eq(raw, raw_now));
    }
    CHECK(!next_kept(after, &now, edits, n, &key_now, &raw_now));
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Without the white space around it: jscan_next walks an object from its brace to its brace. */
static struct str bare(struct str s) {
    while (s.n && is_space(s.p[0])) {
        s = str_make(s.p + 1, s.n - 1);
    }
    while (s.n && is_space(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

static void splice(struct str text, const struct jedit *edits, size_t n) {
    struct jpieces pieces;
    struct buf out;
    struct err err;
    jpieces_init(&pieces);
    buf_init(&out, MIB(8));
    CHECK(jsplice(text, edits, n, &pieces) == 0);
    struct str after = join(&pieces, &out);
    if (n == 0) {
        CHECK(str_eq(text, after));
    }
    for (size_t i = 0; i < n; i++) {
        struct jfield field = {.name = edits[i].name.p};
        CHECK(jscan_object(after, &field, 1, &err) == JSCAN_OK);
        struct str raw = field.value.type ? jvalue_raw(after, &field.value) : STR("");
        CHECK(str_eq(raw, edits[i].raw));
    }
    check_kept(bare(text), bare(after), edits, n);
    jpieces_release(&pieces);
    buf_release(&out);
}

/* One value in its place: the bytes around it are the same bytes. */
static void splice_value(struct str text, const struct jvalue *at) {
    struct str raw = STR("{\"in its place\":1}");
    struct jpieces pieces;
    struct buf out;
    jpieces_init(&pieces);
    buf_init(&out, MIB(8));
    CHECK(jsplice_value(text, at, raw, &pieces) == 0);
    struct str after = join(&pieces, &out);
    CHECK(after.n == text.n - at->len + raw.n);
    CHECK(memcmp(after.p, text.p, at->off) == 0);
    CHECK(memcmp(after.p + at->off, raw.p, raw.n) == 0);
    CHECK(memcmp(after.p + at->off + raw.n, text.p + at->off + at->len,
                 text.n - at->off - at->len) == 0);
    CHECK(jscan_object(after, NULL, 0, NULL) == JSCAN_OK);
    jpieces_release(&pieces);
    buf_release(&out);
}

static void object(struct str text, unsigned choice) {
    static const struct jedit all[] = {
        {{"model", 5}, {"\"other\"", 7}},
        {{"stream", 6}, {NULL, 0}},
        {{"new \"field\"", 11}, {"[1, {}]", 7}},
    };
    struct jfield fields[] = {{.name = "model"}, {.name = "stream"}};
    struct jedit edits[3];
    struct jvalue found;
    struct err err;
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        if (choice & (1u << i)) {
            edits[n++] = all[i];
        }
    }
    if (choice & 8 && n > 1) {
        struct jedit first = edits[0];
        edits[0] = edits[n - 1];
        edits[n - 1] = first;
    }
    splice(text, edits, n);
    int result = jscan_object(text, fields, 2, &err);
    CHECK(result == JSCAN_OK || result == JSCAN_DUPLICATE);
    if (result != JSCAN_OK || fields[0].value.type == JTYPE_NONE) {
        return;
    }
    CHECK(jscan_find(text, "model", &found) == 1);
    CHECK(found.off == fields[0].value.off && found.len == fields[0].value.len);
    splice_value(text, &found);
    if (found.type == JTYPE_STRING) {
        round_trip(text, &found);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct jvalue found;
    struct err err = {""};
    if (size < 1) {
        return 0;
    }
    size_t n = size - 1;
    char *copy = malloc(n ? n : 1); /* of its own, so that one byte beyond is noticed */
    if (!copy) {
        return 0;
    }
    memcpy(copy, data + 1, n);
    struct str text = str_make(copy, n);
    int any = jscan_check(text, &err);
    int obj = jscan_object(text, NULL, 0, &err);
    CHECK(any == JSCAN_OK || err.text[0]);
    CHECK(obj != JSCAN_OK || any == JSCAN_OK);
    CHECK(any != JSCAN_OK || jscan_find(text, "", &found) == 1);
    jscan_find(text, "choices.0.message.content", &found);
    if (obj == JSCAN_OK) {
        object(text, data[0]);
    }
    free(copy);
    return 0;
}
