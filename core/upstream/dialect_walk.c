/* SPDX-License-Identifier: MIT */
/*
 * Finding what a dialect looks for in a JSON text: all its paths as one tree, gone along with the
 * text, which is read once. Runs for each event that is relayed. Keys are compared as they are
 * written: none of those looked for is ever escaped by a real server, and one that is counts as
 * unknown. Recursion ends where the longest path does (MAX_DIALECT_STEPS).
 */
#include "upstream/dialect_impl.h"

/* ---- The tree ---- */

static inline uint64_t hint_of(struct str key) {
    return key.n ? UINT64_C(1) << ((key.n * 7 + (unsigned char)key.p[0]) & 63) : 1;
}

static inline const struct jnode *child_of(const struct jnode *n, struct str key) {
    if (!(n->hint & hint_of(key))) {
        return NULL;
    }
    for (const struct jnode *c = n->child; c; c = c->next) {
        if (c->key.n == key.n && memcmp(c->key.p, key.p, key.n) == 0) {
            return c;
        }
    }
    return NULL;
}

static struct jnode *add_child(struct reader *r, struct jnode *n, struct str key) {
    struct jnode **at = &n->child;
    while (*at && !str_eq((*at)->key, key)) {
        at = &(*at)->next;
    }
    if (!*at) {
        *at = reader_alloc(r, 1, sizeof **at);
        if (*at) {
            (*at)->key = key;
            n->hint |= hint_of(key);
        }
    }
    return *at;
}

struct jnode *jnode_at(struct reader *r, struct jnode *root, struct str path) {
    struct str step;
    struct jnode *n = root;
    while (n && str_split(&path, '.', &step)) {
        n = add_child(r, n, step);
    }
    return n;
}

struct jtest *jtest_add(struct reader *r, struct jnode *node, enum jtest_kind kind) {
    struct jtest *t = node ? reader_alloc(r, 1, sizeof *t) : NULL;
    if (t) {
        t->kind = kind;
        t->next = node->tests;
        node->tests = t;
    }
    return t;
}

/* ---- The walk ---- */

/* The value at a node. */
struct found {
    enum jtype type;
    struct str raw; /* of a string or a number, and of what was not entered */
    bool filled;    /* of a list or object that was entered */
    bool entered;
};

static bool is_filled(const struct found *v) {
    size_t i = 1;
    if (v->type == JTYPE_STRING) {
        return v->raw.n > 2;
    }
    if (v->type != JTYPE_OBJECT && v->type != JTYPE_ARRAY) {
        return false;
    }
    if (v->entered) {
        return v->filled;
    }
    while (i < v->raw.n && strchr(" \t\r\n", v->raw.p[i]) && v->raw.p[i]) {
        i++;
    }
    return i + 1 < v->raw.n;
}

static void note_number(const struct found *v, unsigned number, struct jfacts *f) {
    unsigned long long whole;
    struct jvalue at = {JTYPE_NUMBER, 0, v->raw.n};
    double n;
    if (v->type != JTYPE_NUMBER) {
        return;
    }
    if (str_to_u64(v->raw, &whole)) {
        n = (double)whole;
    } else if (!jscan_number(v->raw, &at, &n)) {
        return;
    }
    if (n >= 0 && n < 1e15) {
        f->number[number] = (long long)n;
        f->numbers |= UINT64_C(1) << number;
    }
}

static struct str inside(struct str raw) {
    return str_make(raw.p + 1, raw.n - 2);
}

static bool holds(const struct jtest *t, const struct found *v) {
    bool text = v->type == JTYPE_STRING && v->raw.n > 2;
    switch (t->kind) {
    case TEST_FILLED:
        return is_filled(v);
    case TEST_IS:
        return text && words_match(t->words, inside(v->raw));
    case TEST_ISNT:
        return text && !words_match(t->words, inside(v->raw));
    default:
        return true;
    }
}

static void test(const struct jtest *t, const struct found *v, struct jfacts *f) {
    for (; t; t = t->next) {
        if (t->kind == TEST_NUMBER) {
            note_number(v, t->number, f);
        } else if (t->kind == TEST_TYPE) {
            f->type = v->type == JTYPE_STRING ? inside(v->raw) : f->type;
        } else if (t->kind == TEST_THERE) {
            f->there |= t->bit;
        } else if (holds(t, v)) {
            f->bits |= t->bit;
            f->signs |= t->signs;
        }
    }
}

static int walk(struct jcursor *c, const struct jnode *n, struct jfacts *f);

/* Along the members of the container at the cursor. */
static int walk_members(struct jcursor *c, const struct jnode *n, struct found *v,
                        struct jfacts *f) {
    const struct jnode *child = v->type == JTYPE_ARRAY ? child_of(n, STR("*")) : NULL;
    int more = jcursor_enter(c);
    v->entered = true;
    v->filled = more == 1;
    while (more == 1) {
        struct str key, skipped;
        if (v->type == JTYPE_OBJECT) {
            if (jcursor_key(c, &key) != 0) {
                return -1;
            }
            child = child_of(n, key);
        }
        if (child ? walk(c, child, f) != 0 : jcursor_pass(c, &skipped) != 0) {
            return -1;
        }
        more = jcursor_next(c, v->type);
    }
    return more;
}

static int walk(struct jcursor *c, const struct jnode *n, struct jfacts *f) {
    struct found v = {.type = jcursor_type(c)};
    bool container = v.type == JTYPE_OBJECT || v.type == JTYPE_ARRAY;
    int rc = n->child && container ? walk_members(c, n, &v, f) : jcursor_pass(c, &v.raw);
    if (rc == 0 && n->tests) {
        test(n->tests, &v, f);
    }
    return rc;
}

int jwalk(const struct jnode *root, struct str text, struct jfacts *f) {
    struct jcursor c;
    f->bits = f->there = f->numbers = 0;
    f->signs = 0;
    f->type = str_make(NULL, 0);
    jcursor_init(&c, text);
    if (jcursor_type(&c) != JTYPE_OBJECT) {
        return -1;
    }
    return walk(&c, root, f) == 0 && jcursor_at_end(&c) ? 0 : -1;
}
