/* SPDX-License-Identifier: MIT */
/*
 * Generations: which are kept, who loaded them and why; loading the files anew, trying them, and
 * going back. The loader does the work and writes the audit lines.
 */
#include "admin/admin_internal.h"

static void add_generation(void *ctx, const struct generation_record *g) {
    struct json *one = json_push_object(ctx);
    json_add_num(one, "id", g->id);
    admin_add_hash(one, "hash", g->hash);
    json_add_str(one, "state", str_of(g->state));
    admin_add_time(one, "loaded_at", g->loaded_at);
    json_add_str(one, "who", str_of(g->who));
    json_add_str(one, "why", str_of(g->why));
    json_add_num(one, "references", (double)g->references);
    json_add_num(one, "memory", (double)g->bytes);
    json_add_num(one, "calls", (double)g->calls);
    json_add_num(one, "errors", (double)g->errors);
    json_add_num(one, "kills", (double)g->kills);
}

static void add_refused(void *ctx, const struct refused_load *refused) {
    struct json *one = json_add_object(ctx, "last_refused");
    admin_add_time(one, "at", refused->at);
    json_add_str(one, "who", str_of(refused->who));
    json_add_str(one, "why", str_of(refused->why));
    admin_add_diags(one, "diagnostics", &refused->diagnostics, false);
}

int admin_generations(struct admin_request *r, struct admin_answer *a) {
    struct loader *l = r->env->loader;
    a->json = json_object();
    json_add_num(a->json, "active", generation_id(r->now));
    loader_each_generation(l, add_generation, json_add_array(a->json, "generations"));
    if (!loader_last_refused(l, add_refused, a->json)) {
        json_add_null(a->json, "last_refused");
    }
    return 0;
}

static const char *const WHY_ONLY[] = {"why", NULL};

static bool why_only(struct admin_request *r, struct admin_answer *a) {
    char why[MAX_MESSAGE]; /* longer reasons than are kept are cut, not refused */
    return admin_body_fields(r, a, WHY_ONLY) && admin_body_text(r, a, "why", why, sizeof(why));
}

int admin_activate(struct admin_request *r, struct admin_answer *a) {
    struct load_cause cause = {r->who, r->why};
    unsigned long long id = 0;
    struct diags diags;
    if (!why_only(r, a)) {
        return 0;
    }
    if (!str_to_u64(buf_str(&r->part[0]), &id) || id == 0 || id > UINT32_MAX) {
        return admin_fail(a, 404, "unknown_generation",
                          "found '%s', expected the number of a generation: GET "
                          "/admin/generations lists those kept",
                          r->part[0].data);
    }
    diags_init(&diags);
    enum load_result result = loader_activate(r->env->loader, (unsigned)id, &cause, &diags);
    int rc = admin_loaded(r, a, result, &diags, NULL);
    diags_release(&diags);
    return rc;
}

int admin_reload(struct admin_request *r, struct admin_answer *a) {
    struct load_cause cause = {r->who, r->why};
    struct diags diags;
    if (!why_only(r, a)) {
        return 0;
    }
    diags_init(&diags);
    enum load_result result = loader_reload(r->env->loader, &cause, &diags);
    int rc = admin_loaded(r, a, result, &diags, NULL);
    diags_release(&diags);
    return rc;
}

int admin_check(struct admin_request *r, struct admin_answer *a) {
    struct diags diags;
    if (!why_only(r, a)) {
        return 0;
    }
    diags_init(&diags);
    int bad = loader_check(r->env->loader, &diags);
    int rc = admin_loaded(r, a, bad ? LOAD_REFUSED : LOAD_UNCHANGED, &diags, NULL);
    diags_release(&diags);
    return rc;
}
