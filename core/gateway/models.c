/* SPDX-License-Identifier: MIT */
#include "gateway/models.h"

#include <stdlib.h>

#include "base/map.h"
#include "gateway/answer.h"
#include "gateway/exchange_internal.h"
#include "gateway/route.h"

/* A list under way: names and owners are copies. */
struct model_list {
    struct map *seen;
    struct dialect_model *models;
    size_t n, room;
};

static int add_model(struct model_list *l, struct str id, struct str owner) {
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        void *grown = realloc(l->models, room * sizeof(*l->models));
        if (!grown) {
            return -1;
        }
        l->models = grown;
        l->room = room;
    }
    struct dialect_model m = {str_dup(id), str_dup(owner)};
    l->models[l->n++] = m;
    return m.id && m.owner ? 0 : -1;
}

static void models_release(struct model_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        free((char *)(size_t)l->models[i].id);
        free((char *)(size_t)l->models[i].owner);
    }
    free(l->models);
    map_free(l->seen);
}

/* A model of one route: listed once, when a request for it would come to some route and the key may
 * ask for it. */
static int add_once(struct exchange *x, struct model_list *l, size_t route, struct str name,
                    struct str owner) {
    const struct config_route *r = &x->config->routes[route];
    struct route_miss miss;
    char model[MAX_TARGET_NAME + 1];
    str_copy(model, sizeof(model), name);
    bool pattern = strchr(model, '*') || strchr(model, '?');
    const char *chat = "/v1/chat/completions";
    const char *path = r->prefix && str_starts(str_of(chat), r->path) ? chat : r->path;
    if (pattern || map_get(l->seen, name) || !route_key_allows(x->key, model) ||
        route_find(x->config, STR("POST"), str_of(path), model, &miss) < 0) {
        return 0;
    }
    return map_set(l->seen, name, x) | add_model(l, str_of(model), owner);
}

/* The models that routes name: those they are limited to, and those of their targets. */
static int list_models(struct exchange *x, struct model_list *l) {
    int bad = 0;
    for (size_t r = 0; r < x->config->n_routes; r++) {
        const struct config_route *route = &x->config->routes[r];
        for (size_t i = 0; i < route->n_aliases; i++) {
            bad |= add_once(x, l, r, str_of(route->aliases[i].name), STR("moongate"));
        }
        for (char **m = route->models; m && *m; m++) {
            bad |= add_once(x, l, r, str_of(*m), STR("moongate"));
        }
        for (const char *const *t = lane_targets(x->lane, r); *t; t++) {
            struct target_name target = target_split(str_of(*t));
            bad |= target.model.p ? add_once(x, l, r, target.model, target.provider) : 0;
        }
    }
    return bad;
}

static const char *list_path(const struct exchange *x) {
    const char *path = dialect_models_path(x->dialect);
    return path ? path : dialect_models_path(dialect_builtin());
}

/* Writes the list, or the one of it that has the id. 1: it has none; -1: memory. */
static int write_models(struct exchange *x, const struct model_list *l, struct str id) {
    struct buf *out = &x->decision.body;
    if (!id.p) {
        return dialect_write_models(x->dialect, out, l->models, l->n);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (str_is(id, l->models[i].id)) {
            return dialect_write_model(x->dialect, out, &l->models[i]);
        }
    }
    return 1;
}

/* id.p NULL: all of them. */
static void answer(struct exchange *x, struct str id) {
    struct model_list list = {.seen = map_new(KIB(4))};
    int bad = list.seen ? list_models(x, &list) : -1;
    bad = bad ? -1 : write_models(x, &list, id);
    models_release(&list);
    if (bad == 1) {
        answer_error(x, 404, "invalid_request_error", "model_not_found",
                     "no route serves the model that was asked for", END_REFUSED);
        return;
    }
    bad |= headers_set(&x->decision.headers, STR("content-type"), STR("application/json"));
    if (bad) {
        answer_error(x, 500, "gateway_error", "out_of_memory", "The list of models is too long.",
                     END_COMPLETE);
        return;
    }
    x->decision.status = 200;
    answer_response(x);
}

bool models_asked(const struct exchange *x, struct str *id) {
    struct str path = x->request->path, list = str_of(list_path(x));
    *id = str_make(NULL, 0);
    if (!str_is(x->request->method, "GET") || !str_starts(path, list.p)) {
        return false;
    }
    if (path.n > list.n + 1 && path.p[list.n] == '/') {
        *id = str_make(path.p + list.n + 1, path.n - list.n - 1);
    }
    return path.n == list.n || id->p;
}

void models_answer(struct exchange *x, struct str id) {
    struct buf decoded;
    buf_init(&decoded, MAX_REQUEST_LINE);
    bool good = buf_add_decoded(&decoded, id) == 0;
    answer(x, !id.p ? id : good && decoded.len ? buf_str(&decoded) : STR(""));
    buf_release(&decoded);
}
