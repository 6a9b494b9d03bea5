/* SPDX-License-Identifier: MIT */
/*
 * Gathers what is shared by all workers, and keeps suspensions in a file. The file is only ever
 * replaced whole: a crash leaves the old one or the new one. Blocks on the disk: for the control
 * thread only.
 */
#include "state/state.h"

#include <limits.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"

int state_init(struct state *s) {
    s->targets = targets_new(MAX_TARGETS);
    s->store = store_new();
    s->slots = slots_table_new();
    s->names = model_names_new();
    if (!s->targets || !s->store || !s->slots || !s->names) {
        state_release(s);
        return -1;
    }
    return 0;
}

void state_release(struct state *s) {
    targets_free(s->targets);
    store_free(s->store);
    slots_table_free(s->slots);
    model_names_free(s->names);
    *s = (struct state){NULL, NULL, NULL, NULL};
}

static const char NAME[] = "suspensions.json";

int state_save(struct state *s, const char *dir, struct err *err) {
    struct buf text;
    buf_init(&text, MAX_STATE_FILE);
    int rc = targets_save(s->targets, &text);
    if (rc) {
        err_set(err, "%s/%s: not written: memory is short, or there is more than %zu bytes", dir,
                NAME, MAX_STATE_FILE);
    } else {
        rc = file_replace(dir, NAME, buf_str(&text), err);
    }
    buf_release(&text);
    return rc;
}

/* "DIR/suspensions.json" and what is appended to it. -1 with err. */
static int path_of(char out[PATH_MAX], const char *dir, const char *more, struct err *err) {
    int n = snprintf(out, PATH_MAX, "%s/%s%s", dir, NAME, more);
    return n < 0 || n >= PATH_MAX
               ? err_set(err, "state_dir: the path is longer than %d bytes", PATH_MAX)
               : 0;
}

/* 0, or -1 with err; *damaged says whether the file was read and made no sense. */
static int load(struct state *s, const char *file, bool *damaged, struct err *err) {
    struct buf text;
    buf_init(&text, MAX_STATE_FILE);
    int rc = file_read(file, &text, err);
    *damaged = rc == 1 && targets_load(s->targets, buf_str(&text));
    if (*damaged) {
        rc = err_set(err, "%s: damaged, suspensions are not restored", file);
    }
    buf_release(&text);
    return rc < 0 ? -1 : 0;
}

int state_load(struct state *s, const char *dir, struct err *err) {
    char file[PATH_MAX], aside[PATH_MAX];
    bool damaged = false;
    if (path_of(file, dir, "", err) || path_of(aside, dir, ".damaged", err)) {
        return -1;
    }
    int rc = load(s, file, &damaged, err);
    if (damaged) {
        bool kept = rename(file, aside) == 0;
        err_set(err, "%s: damaged, suspensions are not restored%s", file,
                kept ? "; kept aside as .damaged" : "; it cannot be renamed");
    }
    return rc;
}

int state_look(struct state *s, const char *dir, struct err *err) {
    char file[PATH_MAX];
    bool damaged;
    return path_of(file, dir, "", err) ? -1 : load(s, file, &damaged, err);
}
