/* SPDX-License-Identifier: MIT */
/* The file watch: what counts as a change of the sources, and that many edits are told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "../support/config_files.h"
#include "gateway/watch.h"

#define DEADLINE (90 * USEC_PER_SEC)
#define DEBOUNCE 20000
#define QUIET (8 * DEBOUNCE) /* nothing was told in this time: it will not be */

struct world {
    const struct folder *folder;
    struct event_base *base;
    struct watch *watch;
    struct log log;
    struct config config;
    char *inputs[2];
    const char *library[2];
    int changed;
};

static void on_changed(void *ctx) {
    struct world *w = ctx;
    w->changed++;
}

static void turn(struct world *w) {
    struct timeval tick = {.tv_usec = 2000};
    event_base_loopexit(w->base, &tick);
    event_base_loop(w->base, EVLOOP_ONCE);
}

/* Waits until nothing more is told; how often it was. */
static int told(struct world *w, bool some) {
    usec start = clock_now(), last = start;
    int seen = w->changed = 0;
    while (clock_now() - last < QUIET || (some && !w->changed)) {
        turn(w);
        if (w->changed != seen) {
            seen = w->changed;
            last = clock_now();
        }
        if (clock_now() - start > DEADLINE) {
            fail_msg("waited in vain for a change to be told");
        }
    }
    return w->changed;
}

static void open_world(struct world *w, const struct folder *f) {
    *w = (struct world){.folder = f};
    folder_write(f, "gateway.lua", "return {}");
    folder_write(f, "policies/own.lua", "return {}");
    folder_write(f, "lua/deep/down/m.lua", "return {}");
    folder_write(f, "library/policies/stock.lua", "return {}");
    w->inputs[0] = folder_path(f, "secrets/key");
    w->library[0] = folder_path(f, "library");
    w->config = (struct config){.file = folder_path(f, "gateway.lua"),
                                .dir = strdup(f->path),
                                .reload_watch = true,
                                .reload_debounce = DEBOUNCE,
                                .input_files = w->inputs};
    log_init(&w->log, NULL, NULL, LOG_LEVEL_INFO);
    w->base = event_base_new();
    struct watch_options options = {w->library, on_changed, w, &w->log};
    w->watch = watch_new(w->base, &options);
    assert_non_null(w->watch);
    watch_configure(w->watch, &w->config);
    assert_int_equal(told(w, true), 1); /* once after it was switched on */
}

static void close_world(struct world *w) {
    watch_free(w->watch);
    event_base_free(w->base);
    free(w->config.file);
    free(w->config.dir);
    free(w->inputs[0]);
    free((char *)(size_t)w->library[0]);
}

/* As careful editors do. */
static void replace(struct world *w, const char *name) {
    char fresh[64];
    snprintf(fresh, sizeof(fresh), "%s.new", name);
    folder_write(w->folder, fresh, "return {} -- new");
    char *from = folder_path(w->folder, fresh), *to = folder_path(w->folder, name);
    assert_int_equal(rename(from, to), 0);
    free(from);
    free(to);
}

static void command(const struct world *w, const char *text) {
    char line[512];
    snprintf(line, sizeof(line), "cd '%s' && %s", w->folder->path, text);
    assert_int_equal(system(line), 0);
}

static void sources_count(void **state) {
    /* Goal: every kind of source counts, written in place or replaced, new or gone, however often.
     */
    static const char *const names[] = {"gateway.lua",         "policies/own.lua",
                                        "lua/deep/down/m.lua", "library/policies/stock.lua",
                                        "policies/fresh.lua",  "lua/deep/fresh.lua"};
    struct world w;
    open_world(&w, *state);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        for (int again = 0; again < 3; again++) {
            replace(&w, names[i]);
            assert_int_equal(told(&w, true), 1);
        }
        folder_write(w.folder, names[i], "return {} -- in place");
        assert_int_equal(told(&w, true), 1);
    }
    command(&w, "rm policies/fresh.lua");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

static void other_files_do_not_count(void **state) {
    /* Goal: swap files, backups, locks, tests, other folders and reading cause nothing. */
    struct world w;
    open_world(&w, *state);
    command(&w, "touch gateway.lua~ .gateway.lua.swp .gateway.lua.swx 4913 '#gateway.lua#' "
                "policies/.own.lua.swp policies/own.lua~ policies/4913 policies/notes.txt "
                "policies/own_test.lua policies/.#own.lua gateway.log");
    command(&w, "ln -s nowhere policies/.#own2.lua; ln -s me@host:1 .#gateway.lua");
    command(&w, "rm 4913 policies/4913; mkdir .git other; touch .git/x other/x.lua");
    command(&w, "cat gateway.lua policies/*.lua > other/all; mkdir policies/.git");
    assert_int_equal(told(&w, false), 0);
    w.config.reload_tests = true; /* now the tests count, too */
    watch_configure(w.watch, &w.config);
    assert_int_equal(told(&w, false), 0);
    replace(&w, "policies/own_test.lua");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

static void vim_and_emacs(void **state) {
    /* Goal: saving with a backup by renaming (vim) and by a lock beside it (emacs) is one change.
     */
    struct world w;
    open_world(&w, *state);
    command(&w, "touch policies/4913; rm policies/4913; mv policies/own.lua policies/own.lua~; "
                "echo 'return {1}' > policies/own.lua; rm policies/own.lua~");
    assert_int_equal(told(&w, true), 1);
    command(&w, "ln -s me@host:1 policies/.#own.lua; cp policies/own.lua policies/own.lua~; "
                "echo 'return {2}' > policies/own.lua; rm policies/.#own.lua");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

static void folders_come_and_go(void **state) {
    /* Goal: a folder that appears later, with all that is in it, is followed; so is one that was
     * replaced as a whole, by renaming or by switching a link. */
    struct world w;
    open_world(&w, *state);
    command(&w, "mkdir secrets"); /* what file() reads did not lie there yet */
    told(&w, false);
    folder_write(w.folder, "secrets/key", "k");
    assert_true(told(&w, true) >= 1);
    replace(&w, "secrets/key");
    assert_int_equal(told(&w, true), 1);
    command(&w, "mkdir -p lua/later/below");
    assert_int_equal(told(&w, true), 1);
    folder_write(w.folder, "lua/later/below/m.lua", "x");
    assert_int_equal(told(&w, true), 1);
    command(&w, "cp -r policies next; mv policies before; mv next policies");
    assert_int_equal(told(&w, true), 1);
    replace(&w, "policies/own.lua");
    assert_int_equal(told(&w, true), 1);
    command(&w, "echo >> before/own.lua");
    assert_int_equal(told(&w, false), 0);
    command(&w,
            "mkdir v1 v2; mv lua v1/lua; cp -r v1/lua v2; ln -s v1 ..data; ln -s ..data/lua lua");
    told(&w, true);
    command(&w, "ln -s v2 ..data_tmp; mv -T ..data_tmp ..data");
    assert_true(told(&w, true) >= 1);
    replace(&w, "v2/lua/deep/down/m.lua");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

static void links_are_followed(void **state) {
    /* Goal: the configuration behind a symbolic link is watched where it really is. */
    struct world w;
    open_world(&w, *state);
    command(&w, "mkdir real; mv gateway.lua real/main; ln -s real/main gateway.lua");
    assert_int_equal(told(&w, true), 1);
    command(&w, "echo >> real/main");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

static void many_edits_are_few(void **state) {
    /* Goal: edits that follow each other within the quiet time are told once. */
    struct world w;
    w.changed = 0;
    open_world(&w, *state);
    w.config.reload_debounce = USEC_PER_SEC / 2;
    watch_configure(w.watch, &w.config);
    w.changed = 0;
    for (int i = 0; i < 40; i++) {
        replace(&w, i % 2 ? "gateway.lua" : "policies/own.lua");
        turn(&w);
    }
    usec end = clock_now() + DEADLINE;
    while (!w.changed && clock_now() < end) {
        turn(&w);
    }
    assert_in_range(w.changed, 1, 2); /* two: had the machine slept for half a second */
    close_world(&w);
}

static void off_and_on(void **state) {
    /* Goal: a configuration can switch the watch off and on again; off, nothing is watched. */
    struct world w;
    open_world(&w, *state);
    w.config.reload_watch = false;
    watch_configure(w.watch, &w.config);
    replace(&w, "gateway.lua");
    assert_int_equal(told(&w, false), 0);
    w.config.reload_watch = true;
    watch_configure(w.watch, &w.config);
    assert_int_equal(told(&w, true), 1);
    replace(&w, "gateway.lua");
    assert_int_equal(told(&w, true), 1);
    close_world(&w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(sources_count),       TEST(other_files_do_not_count), TEST(vim_and_emacs),
        TEST(folders_come_and_go), TEST(links_are_followed),       TEST(many_edits_are_few),
        TEST(off_and_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
