/* SPDX-License-Identifier: MIT */
/*
 * The dialects of a generation: every file of lua/dialects/ is run once, in a state of its own that
 * is thrown away, and what it returned as data is compiled. All of them, since a client of any may
 * come and is to be answered in its own words; a dialect's functions are a module that is loaded
 * where something is translated. What they were compiled into is shared with the next load, as long
 * as no file under lua/ changes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config/luavalue.h"
#include "config/path.h"
#include "policy/lane.h"
#include "policy/sandbox.h"

#define PLACE "lua/dialects/"

/* What one load made, shared by the generations whose files under lua/ are the same. */
struct dialect_set {
    atomic_int refs;
    struct snapshot *from; /* a reference: the files that it was made of */
    struct dialect *list[MAX_DIALECTS];
    size_t n;
};

struct loading {
    struct generation *g;
    struct dialect_set *set;
    struct box *box;
    struct diags *diags;
    const struct snapshot_file *file;
    struct value data;
};

/* "anthropic" of "lua/dialects/anthropic.lua"; empty: another file. */
static struct str name_of(const struct snapshot_file *f) {
    struct str name = str_of(f->name);
    if (!str_starts(name, PLACE) || !str_ends(name, ".lua")) {
        return str_make(NULL, 0);
    }
    name = str_make(name.p + sizeof PLACE - 1, name.n - (sizeof PLACE - 1) - 4);
    return memchr(name.p, '/', name.n) ? str_make(NULL, 0) : name;
}

static int compile_chunk(lua_State *L) {
    const struct snapshot_file *f = box_arg(L);
    char chunk[256];
    snprintf(chunk, sizeof chunk, "@%s", f->name);
    if (luaL_loadbufferx(L, f->text, f->len, chunk, "t") != LUA_OK) {
        return lua_error(L);
    }
    return 1;
}

/* Functions stand at the top, under their own names; anywhere else there is only data. */
static void tell_bad(void *ctx, const char *path, const char *what, struct value *instead) {
    static const char *const functions[] = {"read_request", "write_request", "read_answer",
                                            "write_answer", "reader",        "writer"};
    struct loading *l = ctx;
    (void)instead;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(path, functions[i]) == 0) {
            return;
        }
    }
    diags_error(l->diags, l->file->name, 0, "%s: %s", path, what);
}

/* Runs the file; its data is then in l->data. */
static int run_file(struct loading *l) {
    struct err err = {""};
    struct value_bad bad = {tell_bad, l};
    enum box_status status =
        box_protect(l->box, compile_chunk, (void *)(size_t)l->file, 0, 1, &err);
    if (status == BOX_OK) {
        status = box_call(l->box, 0, 1, &err);
    }
    if (status != BOX_OK) {
        contract_report(l->diags, l->file->name, err.text);
        return -1;
    }
    int rc = value_from_lua_all(l->box->L, -1, &l->data, &bad, &err);
    lua_pop(l->box->L, 1);
    if (rc != 0) {
        diags_error(l->diags, l->file->name, 0, "%s", err.text);
    }
    return rc;
}

static void load_file(struct loading *l, struct str name) {
    struct dialect_source source = {l->file->name, str_make(l->file->text, l->file->len)};
    l->data = (struct value){0};
    if (l->set->n >= MAX_DIALECTS) {
        diags_error(l->diags, l->file->name, 0, "one more than the %d dialects that are allowed",
                    MAX_DIALECTS);
        return;
    }
    if (run_file(l) == 0) {
        struct dialect *d = dialect_compile(name, &l->data, &source, l->diags);
        if (d) {
            l->set->list[l->set->n++] = d;
        }
    }
    value_release(&l->data);
}

/* A name that no file has: what there is, and where it was looked for. */
static void unknown(struct generation *g, struct diags *diags, const char *path, const char *name) {
    const char *names[MAX_DIALECTS + 1] = {NULL};
    for (size_t i = 0; i < g->dialects->n; i++) {
        names[i] = dialect_name(g->dialects->list[i]);
    }
    const char *near = str_nearest(name, names);
    diags_error(diags, snapshot_config_path(g->snapshot), config_line(g->snapshot, path),
                "%s: there is no dialect \"%s\": no file " PLACE
                "%s.lua, neither beside gateway.lua nor in the library%s%s%s",
                path, name, name, near ? "; did you mean \"" : "", near ? near : "",
                near ? "\"?" : "");
}

static bool is_there(const struct generation *g, const char *name) {
    char file[256];
    snprintf(file, sizeof file, PLACE "%s.lua", name);
    return snapshot_find(g->snapshot, file) != NULL;
}

static void check_provider(struct generation *g, struct config_provider *p, struct diags *diags) {
    const struct dialect *d = generation_dialect(g, str_of(p->dialect));
    struct path at;
    path_init(&at);
    path_field(&at, "providers");
    path_field(&at, p->name);
    if (!is_there(g, p->dialect)) {
        path_field(&at, "dialect");
        unknown(g, diags, at.text, p->dialect);
    } else if (d && config_adopt_dialect(p, dialect_defaults(d)) != 0) {
        diags_error(diags, snapshot_config_path(g->snapshot), 0, "not enough memory");
    }
    for (size_t i = 0; p->speaks && p->speaks[i] && d; i++) {
        if (!is_there(g, p->speaks[i])) {
            path_field(&at, "speaks");
            unknown(g, diags, at.text, p->speaks[i]);
            break;
        }
    }
}

static void check_names(struct generation *g, struct diags *diags) {
    struct path at;
    for (size_t i = 0; i < g->config->n_providers; i++) {
        check_provider(g, &g->config->providers[i], diags);
    }
    for (size_t i = 0; i < g->config->n_routes; i++) {
        const char *name = g->config->routes[i].dialect;
        if (name && !is_there(g, name)) {
            path_init(&at);
            path_field(&at, "routes");
            path_item(&at, i + 1);
            path_field(&at, "dialect");
            unknown(g, diags, at.text, name);
        }
    }
}

/* ---- Sets ---- */

static struct dialect_set *set_ref(struct dialect_set *s) {
    atomic_fetch_add(&s->refs, 1);
    return s;
}

static void set_unref(struct dialect_set *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        dialect_free(s->list[i]);
    }
    snapshot_unref(s->from);
    free(s);
}

/* The next file under lua/ from *i on; NULL: none is left. */
static const struct snapshot_file *next_lua(const struct snapshot *s, size_t *i) {
    const struct snapshot_file *f;
    while ((f = snapshot_at(s, (*i)++)) != NULL && !str_starts(str_of(f->name), "lua/")) {
    }
    return f;
}

/* Is all that dialects are made of the same? Snapshots have their files in the same order. */
static bool same_files(const struct snapshot *a, const struct snapshot *b) {
    size_t i = 0, k = 0;
    for (;;) {
        const struct snapshot_file *x = next_lua(a, &i), *y = next_lua(b, &k);
        if (!x || !y) {
            return x == y;
        }
        if (x->len != y->len || strcmp(x->name, y->name) != 0 ||
            memcmp(x->text, y->text, x->len) != 0) {
            return false;
        }
    }
}

static int load_files(struct generation *g, struct dialect_set *set, struct diags *diags) {
    struct err err;
    struct loading l = {.g = g, .set = set, .diags = diags};
    l.box = box_new(g->env, g->snapshot, NULL, &err);
    if (!l.box) {
        diags_error(diags, snapshot_config_path(g->snapshot), 0, "%s", err.text);
        return -1;
    }
    for (size_t i = 0; i < snapshot_count(g->snapshot); i++) {
        l.file = snapshot_at(g->snapshot, i);
        struct str name = name_of(l.file);
        if (name.n) {
            load_file(&l, name);
        }
    }
    box_free(l.box);
    return 0;
}

/* A new set; it is kept for the next load when nothing is wrong with it. */
static struct dialect_set *set_load(struct generation *g, struct diags *diags) {
    struct dialect_cache *cache = g->env->dialects;
    struct dialect_set *set = calloc(1, sizeof *set);
    size_t errors = diags->errors;
    if (!set) {
        diags_error(diags, snapshot_config_path(g->snapshot), 0, "not enough memory");
        return NULL;
    }
    atomic_init(&set->refs, 1);
    set->from = snapshot_ref(g->snapshot);
    if (load_files(g, set, diags) != 0) {
        set_unref(set);
        return NULL;
    }
    if (cache && diags->errors == errors) {
        set_unref(cache->last);
        cache->last = set_ref(set);
    }
    return set;
}

void dialect_cache_release(struct dialect_cache *cache) {
    set_unref(cache->last);
    cache->last = NULL;
}

/* ---- Generations ---- */

int dialects_load(struct generation *g, struct diags *diags) {
    struct dialect_set *last = g->env->dialects ? g->env->dialects->last : NULL;
    bool same = last && same_files(last->from, g->snapshot);
    g->dialects = same ? set_ref(last) : set_load(g, diags);
    if (!g->dialects) {
        return -1;
    }
    check_names(g, diags);
    return 0;
}

void dialects_free(struct generation *g) {
    set_unref(g->dialects);
}

const struct dialect *generation_dialect(const struct generation *g, struct str name) {
    for (size_t i = 0; i < g->dialects->n; i++) {
        if (str_is(name, dialect_name(g->dialects->list[i]))) {
            return g->dialects->list[i];
        }
    }
    return NULL;
}

const struct dialect *generation_client(const struct generation *g, struct str path,
                                        const struct headers *headers, struct client_path *out) {
    const struct dialect_set *set = g->dialects;
    for (size_t i = 0; i < set->n; i++) {
        if (dialect_has_path(set->list[i], path, out)) {
            return set->list[i];
        }
    }
    *out = (struct client_path){.generate = false};
    for (size_t i = 0; i < set->n; i++) {
        if (dialect_has_header(set->list[i], headers)) {
            return set->list[i];
        }
    }
    const struct dialect *openai = generation_dialect(g, STR("openai"));
    return openai ? openai : dialect_builtin();
}
