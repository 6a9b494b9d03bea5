/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out: each allocation of a load, of a change of settings, of going back, of the
 * overlay, the audit log and the file watch fails in turn. Nothing leaks (ASan looks), what is in
 * force stays or is replaced as a whole, and afterwards everything works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOME 100 /* each act is a load with all dialects */
#include "../support/failing_memory.h"
#include "../support/gateway_world.h"
#include "base/file.h"
#include "gateway/watch.h"

#define OWN                                                                                        \
    "return { name = 'own', settings = { n = { type = 'integer', default = 0, min = 0 },\n"        \
    "    targets = { type = 'targets' } },\n"                                                      \
    "  handle = function(req, settings)\n"                                                         \
    "    return req:respond { body = '%zu ' .. settings.n } end }\n"

/* A log that is always written: it is the test's. */
static void quiet_log(void *ctx, enum log_level level, const char *line) {
    bool on = failing_pause();
    world_log(ctx, level, line);
    failing_go_on(on);
}

/* ---- the loader ---- */

struct load {
    struct world *world;
    struct folder *folder;
    enum { RELOAD, SETTINGS, ACTIVATE, CHECK } kind;
    size_t round; /* makes each content new */
    size_t applied, refused;
    unsigned other; /* ACTIVATE: the generation to go to */
    size_t word;    /* in force: of the policy and of the settings */
    long long n;
};

/* The test's thread is the worker's: as moongate_load.c does it for an attached loop. */
static bool let_worker_go(void *ctx) {
    struct world *world = ctx;
    if (mailbox_withdraw(&world->w.mailbox, &world->w.swap_mail)) {
        world->w.swap_mail.deliver(&world->w.swap_mail);
    }
    return true;
}

static void write_policy(struct load *l, size_t word) {
    char text[1024];
    snprintf(text, sizeof(text), OWN, word);
    folder_write(l->folder, "policies/own.lua", text);
}

static unsigned now(struct load *l) {
    return generation_id(atomic_load(&l->world->g.current));
}

static void expect_answer(struct load *l) {
    char body[64];
    snprintf(body, sizeof(body), "%zu %lld", l->word, l->n);
    world_expect_answer(l->world, body);
}

/* What the disk says is what is in force. */
static void expect_kept(struct load *l) {
    struct overlay o;
    struct buf kept, held;
    struct err err = {""};
    char *dir = folder_path(l->folder, "state");
    overlay_init(&o);
    buf_init(&kept, MAX_OVERLAY);
    buf_init(&held, MAX_OVERLAY);
    if (overlay_read(&o, dir, &err)) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(overlay_text(&o, &kept) | overlay_text(&l->world->loader.overlay, &held), 0);
    assert_string_equal(kept.data, held.data);
    buf_release(&kept);
    buf_release(&held);
    overlay_release(&o);
    free(dir);
}

static enum load_result run_settings(struct load *l, size_t at, struct diags *diags) {
    char text[64];
    struct value v;
    snprintf(text, sizeof(text), "{\"n\":%zu}", l->round);
    assert_int_equal(value_from_json(&v, str_of(text), NULL), 0);
    begin(at);
    enum load_result r = loader_change_settings(&l->world->loader, "chat", &v, -1,
                                                &(struct load_cause){"admin", "try"}, diags);
    end();
    value_release(&v);
    return r;
}

static enum load_result run_load(struct load *l, size_t at, struct diags *diags) {
    struct loader *loader = &l->world->loader;
    struct load_cause cause = {"SIGHUP", "test"};
    enum load_result r = LOAD_REFUSED;
    switch (l->kind) {
    case SETTINGS:
        return run_settings(l, at, diags);
    case RELOAD:
        write_policy(l, l->round);
        begin(at);
        r = loader_reload(loader, &cause, diags);
        break;
    case ACTIVATE:
        begin(at);
        r = loader_activate(loader, l->other, &cause, diags);
        break;
    case CHECK:
        begin(at);
        r = loader_check(loader, diags) ? LOAD_REFUSED : LOAD_UNCHANGED;
        break;
    }
    end();
    return r;
}

/* A load that was applied is in force as a whole. */
static void applied(struct load *l, unsigned before) {
    l->applied++;
    if (l->kind == RELOAD) {
        l->word = l->round;
    } else if (l->kind == SETTINGS) {
        l->n = (long long)l->round;
    } else {
        assert_int_equal(now(l), l->other);
        l->other = before; /* back, the next time */
        l->n = (long long)(now(l) % 2);
    }
    assert_int_not_equal(now(l), before);
}

static void load_failing(void *ctx, size_t at) {
    struct load *l = ctx;
    struct diags diags;
    unsigned before = now(l);
    diags_init(&diags);
    l->round++;
    enum load_result r = run_load(l, at, &diags);
    if (r == LOAD_APPLIED) {
        applied(l, before);
    } else if (r == LOAD_REFUSED || r == LOAD_FAILED) {
        l->refused++;
        assert_true(diags.errors > 0);
        assert_int_equal(now(l), before);
        assert_true(failing()->hit);
    } else {
        assert_int_equal(l->kind, CHECK);
    }
    diags_release(&diags);
    world_settle(l->world);
    if (l->kind != ACTIVATE) {
        expect_answer(l);
    }
    expect_kept(l);
}

/* state_dir must be there from the beginning: the rig is started over with it, as a restart does.
 */
static void restart(struct world *world, const struct folder *f) {
    const char *const library[] = {".", NULL};
    struct diags diags;
    char *file = folder_path(f, "gateway.lua");
    worker_generation(&world->w);
    lane_retire(generation_lane(world->w.generation, 0));
    world->w.generation = NULL;
    loader_finish(&world->loader);
    loader_release(&world->loader);
    assert_int_equal(loader_init(&world->loader, &world->g, file, library), 0);
    free(file);
    world->loader.settle = let_worker_go;
    world->loader.settle_ctx = world;
    diags_init(&diags);
    struct generation *first = loader_stage(&world->loader, 1, &diags);
    if (!first) {
        fail_msg("no generation: %s", diags.n ? diags.list[0].message : "?");
    }
    diags_release(&diags);
    loader_publish_first(&world->loader, first);
    worker_generation(&world->w);
}

static void run_loads(struct folder *f, int kind) {
    char text[2048];
    struct load l = {.world = world_new(f, "", ""), .folder = f, .kind = kind};
    char *dir = folder_path(f, "state");
    log_init(&l.world->g.log, quiet_log, l.world, LOG_LEVEL_DEBUG);
    snprintf(text, sizeof(text),
             "return { listen = '127.0.0.1:0', workers = 1, state_dir = '%s',\n"
             "  providers = { a = { base_url = 'http://a.test/v1', api_key = 'sk-aaaaaa' },\n"
             "    b = { dialect = 'anthropic', base_url = 'http://b.test/v1', api_keys = {\n"
             "      { name = 'one', secret = 'sk-1' }, { name = 'two', secret = 'sk-2' } } },\n"
             "    c = { dialect = 'gemini', base_url = 'http://c.test/v1beta' },\n"
             "    d = { dialect = 'bedrock', base_url = 'http://d.test', aws = {\n"
             "      access_key = 'A', secret_key = 'sk-3', region = 'r', session_token = '' } },\n"
             "    e = { dialect = 'azure', base_url = 'http://e.test/openai' },\n"
             "    f = { dialect = 'responses', base_url = 'http://f.test/v1' } },\n"
             "  routes = { { name = 'chat', path = '/v1/*', policy = 'own',\n"
             "    models = { fast = { 'b/m', 'd/m' }, 'gpt*' },\n"
             "    settings = { targets = { 'a/m' } } } } }\n",
             dir);
    free(dir);
    folder_write(f, "gateway.lua", text);
    write_policy(&l, 0);
    restart(l.world, f);
    if (kind == ACTIVATE) {
        struct diags diags;
        diags_init(&diags);
        l.other = now(&l);
        l.round = 1;
        assert_int_equal(run_settings(&l, 0, &diags), LOAD_APPLIED);
        l.round = 0;
        diags_release(&diags);
    }
    size_t failures = sweep(load_failing, &l);
    printf("%zu failures, %zu applied all the same, %zu refused; %zu allocations\n", failures,
           l.applied, l.refused, failing()->n);
    assert_true(failures >= 20);
    assert_true(kind == CHECK || l.applied >= 2); /* the first and the last at least */
    world_free(l.world);
}

static void reloads(void **state) {
    /* Goal: a reload applies as a whole or changes nothing, whichever allocation fails. */
    run_loads(*state, RELOAD);
}

static void changes_of_settings(void **state) {
    /* Goal: the same for a change of settings, and the file agrees with what is in force. */
    run_loads(*state, SETTINGS);
}

static void activations(void **state) {
    /* Goal: the same for going back to an earlier generation and forth again. */
    run_loads(*state, ACTIVATE);
}

static void checks(void **state) {
    /* Goal: a check that cannot be made says so and leaves nothing. */
    run_loads(*state, CHECK);
}

/* ---- the overlay ---- */

struct overlays {
    char *dir;
    struct overlay now, other;
    struct value settings;
};

static void must_be(const struct overlay *o, const char *expected) {
    struct buf text;
    buf_init(&text, MAX_OVERLAY);
    assert_int_equal(overlay_text(o, &text), 0);
    assert_string_equal(text.data, expected);
    buf_release(&text);
}

static void overlay_failing(void *ctx, size_t at) {
    static const char OLD[] = "{\"chat\":{\"a\":1},\"code\":{\"b\":[1,2]}}";
    struct overlays *s = ctx;
    struct overlay copy, read;
    struct err err = {""};
    overlay_init(&read);
    begin(at);
    if (overlay_copy(&copy, &s->now) == 0) {
        if (overlay_set(&copy, "chat", &s->settings, &err)) {
            end();
            must_be(&copy, OLD);
        } else if (overlay_write(&copy, s->dir, &err) == 0) {
            (void)!overlay_read(&read, s->dir, &err);
            (void)!overlay_adopt(&copy, &s->other, &err);
        }
    }
    end();
    must_be(&s->now, OLD);
    overlay_release(&copy);
    overlay_release(&read);
}

static struct value json(const char *text) {
    struct value v;
    assert_int_equal(value_from_json(&v, str_of(text), NULL), 0);
    return v;
}

static void overlays(void **state) {
    /* Goal: a change that fails leaves the overlay as it was. */
    struct overlays s = {.dir = folder_path(*state, "state")};
    struct err err;
    struct value a = json("{\"a\":1}"), b = json("{\"b\":[1,2]}");
    s.settings = json("{\"a\":{\"x\":[true,\"y\"]},\"c\":2.5}");
    overlay_init(&s.now);
    overlay_init(&s.other);
    assert_int_equal(overlay_set(&s.now, "chat", &a, &err), 0);
    assert_int_equal(overlay_set(&s.now, "code", &b, &err), 0);
    assert_int_equal(overlay_set(&s.other, "more", &b, &err), 0);
    assert_true(sweep(overlay_failing, &s) > 20);
    value_release(&a);
    value_release(&b);
    value_release(&s.settings);
    overlay_release(&s.now);
    overlay_release(&s.other);
    free(s.dir);
}

/* ---- audit and watch ---- */

static void ignore(void *ctx, enum log_level level, const char *line) {
    (void)ctx;
    (void)level;
    (void)line;
}

static void audit_failing(void *ctx, size_t at) {
    static char *secrets[] = {(char *)(uintptr_t) "sk-aaaaaa", NULL};
    const char *dir = ctx;
    struct config config = {.secrets = secrets};
    struct log log;
    struct audit audit;
    struct audit_entry entry = {.who = "admin",
                                .why = "with sk-aaaaaa in it",
                                .action = "settings",
                                .object = "chat",
                                .before = "{\"n\":1}",
                                .after = "{\"n\":2}",
                                .result = "applied"};
    log_init(&log, ignore, NULL, LOG_LEVEL_DEBUG);
    begin(at);
    assert_int_equal(audit_init(&audit, &log), 0);
    (void)!audit_open(&audit, dir);
    audit_write(&audit, &config, &entry);
    end();
    audit_release(&audit);
}

static void audits(void **state) {
    /* Goal: an entry is lost or whole, never half of one. */
    char *dir = folder_path(*state, "state"), *path = folder_path(*state, "state/audit.log");
    struct buf text;
    struct str rest, line;
    buf_init(&text, MIB(1));
    size_t failures = sweep(audit_failing, dir);
    assert_true(failures >= 2);
    assert_int_equal(file_read(path, &text, NULL), 1);
    rest = buf_str(&text);
    size_t lines = 0;
    while (str_split(&rest, '\n', &line) && line.n) {
        struct value v;
        assert_int_equal(value_from_json(&v, line, NULL), 0);
        value_release(&v);
        assert_null(memmem(line.p, line.n, "sk-aaaaaa", 9));
        lines++;
    }
    assert_true(lines >= 2);
    buf_release(&text);
    free(dir);
    free(path);
}

static void on_change(void *ctx) {
    (void)ctx;
}

struct watching {
    struct event_base *base;
    struct config config;
};

static void watch_failing(void *ctx, size_t at) {
    struct watching *s = ctx;
    struct log log;
    log_init(&log, ignore, NULL, LOG_LEVEL_DEBUG);
    struct watch_options options = {.changed = on_change, .log = &log};
    begin(at);
    struct watch *w = watch_new(s->base, &options);
    for (int i = 0; w && i < 2; i++) { /* the second time around something is there */
        watch_configure(w, &s->config);
    }
    end();
    watch_free(w);
}

static void watches(void **state) {
    /* Goal: a watch that cannot be made whole is taken down whole. */
    struct watching s = {.base = event_base_new()};
    folder_write(*state, "policies/x/own.lua", "return {}");
    s.config.dir = folder_path(*state, "");
    s.config.file = folder_path(*state, "gateway.lua");
    s.config.reload_watch = true;
    folder_write(*state, "gateway.lua", "return {}");
    assert_true(sweep(watch_failing, &s) > 10);
    free(s.config.dir);
    free(s.config.file);
    event_base_free(s.base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(overlays, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(audits, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(watches, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(changes_of_settings, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(reloads, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(activations, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(checks, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
