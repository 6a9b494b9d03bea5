/* SPDX-License-Identifier: MIT */
/*
 * One process after another: how the start takes a running gateway's place, and what is done when
 * another process takes this one's. The conversation itself: gateway/handover_wire.h.
 */
#include "admin/admin.h"
#include "moongate_internal.h"

/* On the control thread. */
static void on_replaced(void *ctx) {
    struct moongate *gw = ctx;
    if (gw->admin) {
        admin_leave(gw->admin, CONN_DRAIN_GRACE);
    }
    gw->options.replaced(gw->options.replaced_ctx);
}

void gw_allow_replacement(struct moongate *gw) {
    struct err err;
    struct handover_env env = {.control = &gw->control,
                               .loader = &gw->loader,
                               .listeners = &gw->listeners,
                               .replaced = on_replaced,
                               .ctx = gw};
    const char *dir = gw->control.state_dir;
    if (gw->options.replaced && dir && handover_open(&gw->handover, dir, &env, &err) != 0) {
        log_warn(&gw->gateway.log, "nobody can take over from this process: %s", err.text);
    }
}

void gw_on_state_owned(void *ctx) {
    gw_allow_replacement(ctx);
}

struct generation *gw_begin_takeover(struct moongate *gw, struct generation *first, size_t lanes,
                                     struct moongate_error *error) {
    const struct config *c = generation_config(first);
    struct diags diags;
    struct err err;
    int found = c->state_dir
                    ? takeover_begin(&gw->takeover, c->state_dir, &gw->listeners, &err)
                    : err_set(&err, "taking over needs a state_dir in the configuration: it is how "
                                    "the two find each other");
    if (found == 0) {
        return first;
    }
    loader_discard(first, lanes ? lanes : (size_t)c->workers);
    if (found < 0) {
        gw_fail(error, err.text);
        return NULL;
    }
    diags_init(&diags);
    first = loader_stage(&gw->loader, lanes, &diags);
    return gw_tell(gw, &diags, error) == 0 ? first : NULL;
}

int gw_end_takeover(struct moongate *gw, struct moongate_error *error) {
    struct err err;
    if (gw->takeover.fd < 0) {
        return 0;
    }
    int result = takeover_done(&gw->takeover, &gw->listeners, &err);
    if (result < 0) {
        return gw_fail(error, err.text);
    }
    if (result > 0) {
        log_warn(&gw->gateway.log, "%s", err.text);
    }
    log_info(&gw->gateway.log, "took over from process %ld", gw->takeover.pid);
    return 0;
}
