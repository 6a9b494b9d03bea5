/* SPDX-License-Identifier: MIT */
/*
 * Finds the line of a value without running anything: walks the table constructor after the last
 * top-level `return`, and, where a name stands instead of a constructor, what is assigned to that
 * name or to a field of it at the top level. What is computed is not followed: then the nearest
 * parent is told. Owns nothing; its work is bounded by MAX_LOCATE_TOKENS.
 */
#include "config/locate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/limits.h"
#include "config/config.h"
#include "config/luatok.h"
#include "config/snapshot.h"

enum { MAX_STEPS = 48, MAX_HOPS = 8, MAX_OPEN = 64, MAX_NAMES = 1024 };

/* One step down from a table: a field or an item. */
struct seg {
    struct str name; /* p NULL: an item */
    unsigned long long index;
};

struct steps {
    struct seg seg[MAX_STEPS];
    size_t n;
};

struct finder {
    struct str text;
    size_t tokens; /* left to look at, for all walks together */
};

/* What a walk found: a line, and how many steps of the path were left then (fewer is better). */
struct hit {
    int line;
    size_t left;
};

/* Enough for some dozens of passes, whatever the size: names that stand for each other in circles
 * end then. */
static struct finder finder_of(struct str text) {
    size_t enough = 64 * (text.n + 64);
    return (struct finder){text, enough < MAX_LOCATE_TOKENS ? enough : MAX_LOCATE_TOKENS};
}

static struct luatok next(struct finder *f, struct luatok_lexer *x) {
    if (f->tokens == 0) {
        x->p = x->end;
    } else {
        f->tokens--;
    }
    return luatok_next(x);
}

static bool same_seg(const struct seg *a, const struct seg *b) {
    if (!a->name.p || !b->name.p) {
        return !a->name.p && !b->name.p && a->index == b->index;
    }
    return str_eq(a->name, b->name);
}

/* Reads "[12]" or "[\"name\"]" from *rest. */
static bool bracket_step(const char **rest, struct seg *seg) {
    const char *p = *rest + 1;
    if (*p == '"') {
        const char *close = strstr(p + 1, "\"]");
        if (!close) {
            return false;
        }
        seg->name = str_make(p + 1, (size_t)(close - p - 1));
        *rest = close + 2;
        return true;
    }
    const char *close = strchr(p, ']');
    if (!close || !str_to_u64(str_make(p, (size_t)(close - p)), &seg->index)) {
        return false;
    }
    seg->name = str_make(NULL, 0);
    *rest = close + 1;
    return true;
}

/* What cannot be read ends the path: its parent is then the answer. */
static void read_path(const char *path, struct steps *out) {
    out->n = 0;
    while (*path && out->n < MAX_STEPS) {
        struct seg *seg = &out->seg[out->n];
        if (*path == '[') {
            if (!bracket_step(&path, seg)) {
                return;
            }
        } else {
            path += *path == '.';
            size_t n = strcspn(path, ".[");
            if (n == 0) {
                return;
            }
            seg->name = str_make(path, n);
            path += n;
        }
        out->n++;
    }
}

/* Reads ".name", "[\"name\"]", "[1]" as far as they go. */
static void read_chain(struct finder *f, struct luatok_lexer *x, struct steps *chain) {
    while (chain->n < MAX_STEPS) {
        struct luatok_lexer try = *x;
        struct seg seg = {{NULL, 0}, 0};
        struct luatok open = next(f, &try);
        struct luatok key = next(f, &try);
        if (luatok_is(&open, ".") && key.kind == LUATOK_NAME) {
            seg.name = key.text;
        } else if (luatok_is(&open, "[")) {
            struct luatok close = next(f, &try);
            bool number = key.kind == LUATOK_NUMBER && str_to_u64(key.text, &seg.index);
            seg.name = key.kind == LUATOK_STRING ? key.text : seg.name;
            if (!luatok_is(&close, "]") || !(number || key.kind == LUATOK_STRING)) {
                return;
            }
        } else {
            return;
        }
        chain->seg[chain->n++] = seg;
        *x = try;
    }
}

/* Moves behind the field that starts here and its separator. False at the end of the constructor.
 */
static bool skip_field(struct finder *f, struct luatok_lexer *x) {
    for (int nesting = 0;;) {
        struct luatok t = next(f, x);
        if (t.kind == LUATOK_END || (nesting == 0 && luatok_is(&t, "}"))) {
            return false;
        }
        if (nesting == 0 && (luatok_is(&t, ",") || luatok_is(&t, ";"))) {
            return true;
        }
        nesting += luatok_nesting(&t);
        nesting = nesting < 0 ? 0 : nesting;
    }
}

/* Reads "name =" or "[key] =" of a field, moving x to the value. False, nothing moved, when the
 * field has no such key. *known: whether the key is one that can be told. */
static bool field_key(struct finder *f, struct luatok_lexer *x, struct seg *key, bool *known) {
    struct luatok_lexer try = *x;
    struct luatok t = next(f, &try);
    *key = (struct seg){{NULL, 0}, 0};
    *known = true;
    if (t.kind == LUATOK_NAME) {
        key->name = t.text;
    } else if (luatok_is(&t, "[")) {
        struct luatok inside = next(f, &try);
        struct luatok close = next(f, &try);
        if (inside.kind == LUATOK_STRING) {
            key->name = inside.text;
        } else if (inside.kind != LUATOK_NUMBER || !str_to_u64(inside.text, &key->index)) {
            *known = false;
        }
        if (!*known || !luatok_is(&close, "]")) {
            *known = false;
            return true; /* [expression]: the whole field is skipped */
        }
    } else {
        return false;
    }
    t = next(f, &try);
    if (!luatok_is(&t, "=")) {
        return false;
    }
    *x = try;
    return true;
}

static struct hit walk(struct finder *f, const struct steps *path, size_t from,
                       struct luatok_lexer x, struct hit here, int hops);

/* x stands behind the '{'. When a name stands twice, the last one counts, as in Lua. */
static struct hit walk_table(struct finder *f, const struct steps *path, size_t from,
                             struct luatok_lexer x, struct hit here, int hops) {
    struct hit best = here;
    unsigned long long items = 0;
    do {
        struct seg key;
        bool known = true;
        struct luatok first = luatok_peek(&x);
        if (first.kind == LUATOK_END || luatok_is(&first, "}")) {
            break;
        }
        if (!field_key(f, &x, &key, &known)) {
            key = (struct seg){{NULL, 0}, ++items};
        }
        if (known && same_seg(&key, &path->seg[from])) {
            struct hit member = {first.line, path->n - from - 1};
            member = walk(f, path, from + 1, x, member, hops);
            best = member.left <= best.left ? member : best;
        }
    } while (skip_field(f, &x));
    return best;
}

/* Is the target of an assignment, chain, on the way to path? */
static bool leads_to(const struct steps *chain, const struct steps *path) {
    if (chain->n > path->n) {
        return false;
    }
    for (size_t i = 0; i < chain->n; i++) {
        if (!same_seg(&chain->seg[i], &path->seg[i])) {
            return false;
        }
    }
    return true;
}

/* At "local a, b <const> = x, y": moves x to the expression of `name`. False when it is not among
 * them; x is then behind what was read. */
static bool local_value(struct finder *f, struct luatok_lexer *x, struct str name,
                        struct luatok *found) {
    size_t position = 0;
    size_t wanted = 0;
    bool among = false;
    for (;;) {
        struct luatok t = next(f, x);
        if (t.kind != LUATOK_NAME) {
            return false;
        }
        if (str_eq(t.text, name)) {
            among = true;
            wanted = position;
            *found = t;
        }
        t = luatok_peek(x);
        for (int i = 0; luatok_is(&t, "<") && i < 3; i++) {
            next(f, x); /* "<", "const", ">" */
        }
        t = luatok_peek(x);
        if (!luatok_is(&t, ",")) {
            break;
        }
        next(f, x);
        position++;
    }
    struct luatok equals = luatok_peek(x);
    if (!among || !luatok_is(&equals, "=")) {
        return false;
    }
    next(f, x);
    for (size_t i = 0; i < wanted; i++) {
        if (!skip_field(f, x)) { /* an expression up to its comma reads like a field */
            return false;
        }
    }
    return true;
}

/* The best of all top-level assignments to `name` or to fields of it. */
static struct hit walk_name(struct finder *f, struct str name, const struct steps *path,
                            struct hit here, int hops) {
    struct luatok_lexer x;
    struct hit best = here;
    int nesting = 0;
    bool after_dot = false;
    luatok_init(&x, f->text);
    for (;;) {
        struct luatok t = next(f, &x);
        if (t.kind == LUATOK_END) {
            return best;
        }
        struct luatok_lexer value = x;
        struct steps target = {.n = 0};
        bool assigned = false;
        if (nesting == 0 && luatok_is(&t, "local")) {
            assigned = local_value(f, &value, name, &t);
        } else if (nesting == 0 && !after_dot && t.kind == LUATOK_NAME && str_eq(t.text, name)) {
            read_chain(f, &value, &target);
            struct luatok equals = next(f, &value);
            assigned = luatok_is(&equals, "=") && leads_to(&target, path);
        }
        if (assigned) {
            struct hit hit = {t.line, path->n - target.n};
            hit = walk(f, path, target.n, value, hit, hops);
            best = hit.left <= best.left ? hit : best;
        }
        after_dot = luatok_is(&t, ".") || luatok_is(&t, ":");
        nesting += luatok_nesting(&t);
        nesting = nesting < 0 ? 0 : nesting;
    }
}

/* x stands at an expression whose value is at path's step `from`; `here` is what is known without
 * looking into it. */
static struct hit walk(struct finder *f, const struct steps *path, size_t from,
                       struct luatok_lexer x, struct hit here, int hops) {
    struct luatok t = next(f, &x);
    if (from >= path->n || f->tokens == 0) {
        return here;
    }
    if (luatok_is(&t, "{")) {
        return walk_table(f, path, from, x, here, hops);
    }
    if (t.kind != LUATOK_NAME || hops >= MAX_HOPS) {
        return here;
    }
    struct steps whole = {.n = 0};
    read_chain(f, &x, &whole);
    struct luatok after = luatok_peek(&x);
    bool call = luatok_is(&after, "(") || luatok_is(&after, "{") || luatok_is(&after, ":") ||
                after.kind == LUATOK_STRING;
    if (call || whole.n + path->n - from > MAX_STEPS) {
        return here;
    }
    for (size_t i = from; i < path->n; i++) {
        whole.seg[whole.n++] = path->seg[i];
    }
    struct hit none = {0, whole.n + 1};
    struct hit hit = walk_name(f, t.text, &whole, none, hops + 1);
    return hit.line && hit.left < here.left ? hit : here;
}

/* Behind the last `return` outside all blocks. */
static bool find_return(struct finder *f, struct luatok_lexer *x, int *line) {
    struct luatok_lexer scan;
    int nesting = 0;
    bool found = false;
    luatok_init(&scan, f->text);
    for (;;) {
        struct luatok t = next(f, &scan);
        if (t.kind == LUATOK_END) {
            return found;
        }
        if (nesting == 0 && luatok_is(&t, "return")) {
            *x = scan;
            *line = t.line;
            found = true;
        }
        nesting += luatok_nesting(&t);
        nesting = nesting < 0 ? 0 : nesting;
    }
}

int locate_line(struct str text, const char *path) {
    struct finder f = finder_of(text);
    struct luatok_lexer x;
    struct steps steps;
    int line = 0;
    read_path(path, &steps);
    if (!find_return(&f, &x, &line)) {
        return 0;
    }
    struct hit here = {line, steps.n};
    return walk(&f, &steps, 0, x, here, 0).line;
}

int config_line(const struct snapshot *snapshot, const char *path) {
    const struct snapshot_file *file = snapshot_find(snapshot, "gateway.lua");
    return file ? locate_line(str_make(file->text, file->len), path) : 0;
}

int config_route_line(const struct snapshot *snapshot, size_t i) {
    char path[32];
    snprintf(path, sizeof(path), "routes[%zu]", i + 1);
    return config_line(snapshot, path);
}

/* The named keys of the constructors that are open; those of the innermost stand last. */
struct open_tables {
    struct {
        struct str name;
        int line;
    } key[MAX_NAMES];
    size_t n;
    size_t start[MAX_OPEN]; /* where the keys of each open bracket begin */
    bool table[MAX_OPEN];   /* it is a '{', not a '(' or a block */
    size_t depth;
};

static void open_bracket(struct open_tables *o, bool table) {
    if (o->depth < MAX_OPEN) {
        o->start[o->depth] = o->n;
        o->table[o->depth] = table;
    }
    o->depth++;
}

static void close_bracket(struct open_tables *o) {
    if (o->depth > 0 && --o->depth < MAX_OPEN) {
        o->n = o->start[o->depth];
    }
}

/* The line where the innermost open constructor has this key already, or 0; remembers it. */
static int seen_before(struct open_tables *o, struct str name, int line) {
    if (o->depth == 0 || o->depth > MAX_OPEN) {
        return 0;
    }
    for (size_t i = o->start[o->depth - 1]; i < o->n; i++) {
        if (str_eq(o->key[i].name, name)) {
            return o->key[i].line;
        }
    }
    if (o->n < MAX_NAMES) {
        o->key[o->n].name = name;
        o->key[o->n++].line = line;
    }
    return 0;
}

void locate_twice(struct str text,
                  void (*tell)(void *ctx, struct str name, int line, int first_line), void *ctx) {
    struct finder f = finder_of(text);
    struct luatok_lexer x;
    struct open_tables open = {.depth = 0};
    bool field_start = false;
    luatok_init(&x, text);
    for (;;) {
        struct seg key;
        bool known = false;
        struct luatok first = luatok_peek(&x);
        if (field_start && field_key(&f, &x, &key, &known) && known && key.name.p) {
            int before = seen_before(&open, key.name, first.line);
            if (before) {
                tell(ctx, key.name, first.line, before);
            }
        }
        struct luatok t = next(&f, &x);
        if (t.kind == LUATOK_END) {
            return;
        }
        int nesting = luatok_nesting(&t);
        if (nesting > 0) {
            open_bracket(&open, luatok_is(&t, "{"));
        } else if (nesting < 0) {
            close_bracket(&open);
        }
        bool in_table = open.depth > 0 && open.depth <= MAX_OPEN && open.table[open.depth - 1];
        field_start = in_table && (luatok_is(&t, "{") || luatok_is(&t, ",") || luatok_is(&t, ";"));
    }
}
