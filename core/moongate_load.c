/* SPDX-License-Identifier: MIT */
/* Checks and loads that the program, or an edit of a file, asks for, and what is told of them. */
#include <stdio.h>

#include "gateway/worker.h"
#include "moongate_internal.h"

/* The first mistake in words, and how many there are. */
static int summary(const struct diags *diags, struct moongate_error *error) {
    char text[ERR_TEXT_MAX];
    const struct diag *first = diags->list;
    while (first->warning) {
        first++;
    }
    int n = snprintf(text, sizeof(text), "%zu mistake%s in the configuration%s: %s", diags->errors,
                     diags->errors == 1 ? "" : "s", diags->errors == 1 ? "" : "; the first",
                     first->file);
    if (first->line && n < (int)sizeof(text)) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, ":%d", first->line);
    }
    if (n < (int)sizeof(text)) {
        snprintf(text + n, sizeof(text) - (size_t)n, ": %s", first->message);
    }
    return gw_fail(error, text);
}

int gw_tell(struct moongate *gw, struct diags *diags, struct moongate_error *error) {
    for (size_t i = 0; gw->options.diagnostic && i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        gw->options.diagnostic(gw->options.diagnostic_ctx, d->file, d->line, d->warning,
                               d->message);
    }
    bool told = diags->errors > 0 && diags->n > 0;
    int result = told ? summary(diags, error) : 0;
    if (diags->errors && !told) {
        result = gw_fail(error, "out of memory while the configuration was read");
    }
    diags_release(diags);
    return result;
}

int moongate_check(struct moongate *gw, struct moongate_error *error) {
    struct diags diags;
    diags_init(&diags);
    (void)loader_check(&gw->loader, &diags); /* what it found is told */
    return gw_tell(gw, &diags, error);
}

int moongate_reload_as(struct moongate *gw, const char *who, const char *why,
                       struct moongate_error *error) {
    struct load_cause cause = {who, why};
    struct diags diags;
    if (!gw->running) {
        return gw_fail(error, "the gateway does not run");
    }
    diags_init(&diags);
    enum load_result result = loader_reload(&gw->loader, &cause, &diags);
    int told = gw_tell(gw, &diags, error);
    return result < 0 ? told : (int)result;
}

int moongate_reload(struct moongate *gw, struct moongate_error *error) {
    return moongate_reload_as(gw, NULL, NULL, error);
}

void gw_on_files_changed(void *ctx) {
    struct moongate *gw = ctx;
    struct load_cause cause = {"file watch", NULL};
    struct diags diags;
    diags_init(&diags);
    if (!atomic_load(&gw->gateway.draining)) {
        (void)loader_reload(&gw->loader, &cause, &diags); /* what is wrong with it was logged */
    }
    if (atomic_load(&gw->gateway.draining)) {
        diags_release(&diags); /* at most that a gateway that stops loads nothing */
        return;
    }
    (void)gw_tell(gw, &diags, NULL);
}

void gw_on_published(void *ctx, struct config *config) {
    struct moongate *gw = ctx;
    control_configure(&gw->control, config);
}

bool gw_settle(void *ctx) {
    struct moongate *gw = ctx;
    if (!gw->attached || !gw->running || !pthread_equal(gw->attached_thread, pthread_self())) {
        return false;
    }
    struct worker *w = gw->gateway.workers[0];
    if (mailbox_withdraw(&w->mailbox, &w->swap_mail)) {
        w->swap_mail.deliver(&w->swap_mail);
    }
    return true;
}
