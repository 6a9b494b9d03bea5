/* SPDX-License-Identifier: MIT */
/*
 * The loader: what is remembered of generations, going back to one, changes of settings with their
 * versions, what is refused, and what a restart brings back. Requests run over the rig of one
 * worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/gateway_world.h"
#include "base/file.h"

#define OWN                                                                                        \
    "return { name = 'own', settings = { word = { type = 'string', default = 'none' },\n"          \
    "  n = { type = 'integer', default = 1, min = 0, max = 9 } },\n"                               \
    "  handle = function(req, settings)\n"                                                         \
    "    return req:respond { body = '%s ' .. settings.word .. ' ' .. settings.n } end }\n"
#define HOLD                                                                                       \
    "return { name = 'own', settings = { word = { type = 'string', default = 'none' },\n"          \
    "  n = { type = 'integer', default = 1, min = 0, max = 9 } },\n"                               \
    "  handle = function(req) return req:send('a/m') end } -- %s\n"

/* The test's thread is the worker's: as moongate_load.c does it for an attached loop. */
static bool let_worker_go(void *ctx) {
    struct world *world = ctx;
    if (mailbox_withdraw(&world->w.mailbox, &world->w.swap_mail)) {
        world->w.swap_mail.deliver(&world->w.swap_mail);
    }
    return true;
}

static void write_policy(const struct folder *f, const char *form, const char *word) {
    char text[1024];
    snprintf(text, sizeof(text), form, word);
    folder_write(f, "policies/own.lua", text);
}

/* `more`: further keys of gateway.lua; `settings`: of the route "chat". */
static void write_config(const struct folder *f, const char *more, const char *settings) {
    char text[2048];
    snprintf(
        text, sizeof(text),
        "return { listen = '127.0.0.1:0', workers = 1, %s\n"
        "  providers = { a = { base_url = 'http://a.test/v1', api_key = 'sk-aaaaaa' } },\n"
        "  routes = {\n    { name = 'chat', path = '/v1/*', policy = 'own', settings = { %s } } "
        "} }\n",
        more, settings);
    folder_write(f, "gateway.lua", text);
}

static struct world *open_world(const struct folder *f, const char *more) {
    struct world *world = world_new((struct folder *)(size_t)f, "", "");
    world->loader.settle = let_worker_go;
    world->loader.settle_ctx = world;
    struct diags diags;
    diags_init(&diags);
    /* The rig begins with a configuration of its own; what it cannot change must be there first. */
    write_config(f, more, "");
    write_policy(f, OWN, "one");
    enum load_result result = loader_reload(&world->loader, NULL, &diags);
    if (result != LOAD_APPLIED) {
        fail_msg("%s", diags.n ? diags.list[0].message : "?");
    }
    diags_release(&diags);
    return world;
}

struct load {
    enum load_result result;
    char said[4096];
};

static void say(struct load *load, struct diags *diags) {
    struct buf text;
    buf_init(&text, KIB(64));
    assert_int_equal(diags_format(diags, &text), BUF_OK);
    snprintf(load->said, sizeof(load->said), "%s", text.data);
    buf_release(&text);
    diags_release(diags);
}

static struct load reload(struct world *world, const char *who, const char *why) {
    struct load load;
    struct diags diags;
    diags_init(&diags);
    load.result = loader_reload(&world->loader, &(struct load_cause){who, why}, &diags);
    say(&load, &diags);
    return load;
}

static struct load activate(struct world *world, unsigned id) {
    struct load load;
    struct diags diags;
    diags_init(&diags);
    load.result =
        loader_activate(&world->loader, id, &(struct load_cause){"admin", "back"}, &diags);
    say(&load, &diags);
    return load;
}

/* NULL: drops all. */
static struct load change(struct world *world, const char *settings, long long version) {
    struct load load;
    struct diags diags;
    struct value v = {0};
    diags_init(&diags);
    if (settings) {
        assert_int_equal(value_from_json(&v, str_of(settings), NULL), 0);
    }
    load.result = loader_change_settings(&world->loader, "chat", settings ? &v : NULL, version,
                                         &(struct load_cause){"admin", "try"}, &diags);
    say(&load, &diags);
    value_release(&v);
    return load;
}

static void expect(struct load load, enum load_result result, const char *said) {
    if (load.result != result || !strstr(load.said, said)) {
        fail_msg("expected %d with \"%s\", got %d: %s", (int)result, said, (int)load.result,
                 load.said);
    }
}

static unsigned now(struct world *world) {
    return generation_id(atomic_load(&world->g.current));
}

struct records {
    struct generation_record list[64];
    size_t n;
};

static void take_record(void *ctx, const struct generation_record *record) {
    struct records *r = ctx;
    assert_true(r->n < 64);
    r->list[r->n++] = *record;
}

static struct records records(struct world *world) {
    struct records r = {.n = 0};
    loader_each_generation(&world->loader, take_record, &r);
    return r;
}

static const struct generation_record *record(const struct records *r, unsigned id) {
    for (size_t i = 0; i < r->n; i++) {
        if (r->list[i].id == id) {
            return &r->list[i];
        }
    }
    return NULL;
}

static char *audit_text(const struct folder *f) {
    struct buf text;
    char *path = folder_path(f, "state/audit.log");
    buf_init(&text, MIB(16));
    assert_int_equal(file_read(path, &text, NULL), 1);
    free(path);
    return buf_take(&text);
}

/* ---- history ---- */

static void history_of_loads(void **state) {
    /* Goal: the last five are kept, newest first, with who and why; the numbers are those of the
     * requests that were served. */
    struct world *world = open_world(*state, "");
    unsigned first = now(world);
    for (int i = 0; i < 6; i++) {
        char word[8];
        snprintf(word, sizeof(word), "w%d", i);
        write_policy(*state, OWN, word);
        expect(reload(world, "SIGHUP", word), LOAD_APPLIED, "");
        for (int k = 0; k <= i; k++) {
            char body[32];
            snprintf(body, sizeof(body), "%s none 1", word);
            world_expect_answer(world, body);
        }
    }
    struct records r = records(world);
    assert_int_equal(r.n, 5);
    for (size_t i = 0; i < r.n; i++) {
        char word[8];
        snprintf(word, sizeof(word), "w%zu", 5 - i);
        assert_int_equal(r.list[i].id, first + 6 - i);
        assert_string_equal(r.list[i].state, i == 0 ? "active" : "kept");
        assert_string_equal(r.list[i].who, "SIGHUP");
        assert_string_equal(r.list[i].why, word);
        assert_int_equal(r.list[i].references, 0);
        assert_int_equal(r.list[i].calls, 6 - i);
        assert_int_equal(r.list[i].errors, 0);
        assert_true((r.list[i].bytes > 0) == (i == 0));
    }
    expect(activate(world, first), LOAD_UNKNOWN, "is not among those that are kept");
    world_free(world);
}

static void draining(void **state) {
    /* Goal: a generation with a request on it drains, is counted and kept beyond the five, and can
     * be told from one that is only kept. It may be put in force again while it drains. */
    struct world *world = open_world(*state, "");
    write_policy(*state, HOLD, "");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    unsigned held = now(world);
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    for (int i = 0; i < 7; i++) {
        char word[8];
        snprintf(word, sizeof(word), "%d", i);
        write_policy(*state, OWN, word);
        expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    }
    struct records r = records(world);
    assert_int_equal(r.n, 6);
    assert_string_equal(record(&r, held)->state, "draining");
    assert_int_equal(record(&r, held)->references, 1);
    assert_true(record(&r, held)->bytes > 0);
    assert_string_equal(record(&r, held)->who, "embedder");
    /* Once its stream flows the policy's state is closed, and it is still counted. */
    struct scripted_transfer *t = scripted_at(&world->up, 0);
    play_connected(t);
    play_head(t, 200, STREAM_HEAD);
    play_data(t, ROLE_EVENT WORD_EVENT("one"));
    WORLD_WAIT(world, client_has(c, "one"));
    world_settle(world);
    r = records(world);
    assert_string_equal(record(&r, held)->state, "draining");
    assert_int_equal(record(&r, held)->references, 1);
    assert_int_equal(record(&r, held)->bytes, 0);
    expect(activate(world, held), LOAD_APPLIED, "");
    assert_int_equal(now(world), held);
    r = records(world);
    assert_string_equal(record(&r, held)->state, "active");
    assert_int_equal(record(&r, held)->references, 1);
    assert_int_equal(record(&r, held)->calls, 1);
    play_data(t, FINISH_EVENT DONE_EVENT);
    play_done(t, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    WORLD_WAIT(world, !world->w.exchanges);
    r = records(world);
    assert_int_equal(record(&r, held)->references, 0);
    assert_int_equal(r.n, 5);
    world_free(world);
}

static void back_and_forward(void **state) {
    /* Goal: an earlier generation is put in force under its own id with its files as they were, and
     * counts on; the next load gets a new id; what lies on the disk is loaded by it. */
    struct world *world = open_world(*state, "");
    unsigned one = now(world);
    world_expect_answer(world, "one none 1");
    write_policy(*state, OWN, "two");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    world_expect_answer(world, "two none 1");
    expect(activate(world, one), LOAD_APPLIED, "");
    assert_int_equal(now(world), one);
    world_expect_answer(world, "one none 1");
    struct records r = records(world);
    assert_int_equal(record(&r, one)->calls, 2);
    assert_string_equal(record(&r, one)->who, "admin");
    assert_string_equal(record(&r, one)->why, "back");
    assert_string_equal(record(&r, one)->state, "active");
    assert_string_equal(record(&r, one + 1)->state, "kept");
    expect(activate(world, one), LOAD_UNCHANGED, "");
    expect(activate(world, one + 1), LOAD_APPLIED, "");
    world_expect_answer(world, "two none 1");
    expect(reload(world, NULL, NULL), LOAD_UNCHANGED, ""); /* what is in force lies on the disk */
    expect(activate(world, one), LOAD_APPLIED, "");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    assert_int_equal(now(world), one + 2);
    world_expect_answer(world, "two none 1");
    world_free(world);
}

static void inputs_are_read_anew(void **state) {
    /* Goal: what file() reads is not frozen with a snapshot, and loading a snapshot again with the
     * same inputs gives the same hash. */
    struct world *world = open_world(*state, "");
    folder_write(*state, "word", "early");
    write_config(*state, "", "word = file('word')");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    unsigned id = now(world);
    struct records before = records(world);
    write_policy(*state, OWN, "two");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    world_expect_answer(world, "two early 1");
    expect(activate(world, id), LOAD_APPLIED, "");
    struct records after = records(world);
    assert_memory_equal(record(&before, id)->hash, record(&after, id)->hash, HASH_SIZE);
    expect(activate(world, id + 1), LOAD_APPLIED, "");
    folder_write(*state, "word", "late");
    expect(activate(world, id), LOAD_APPLIED, "");
    world_expect_answer(world, "one late 1");
    world_free(world);
}

static void too_many_draining(void **state) {
    /* Goal: generations that still have requests are bounded; the load is refused with what to do,
     * and works once they are gone. */
    struct world *world = open_world(*state, "");
    struct generation *held[MAX_DRAINING + 1];
    for (size_t i = 0; i <= MAX_DRAINING; i++) {
        char word[16];
        held[i] = atomic_load(&world->g.current);
        generation_enter(held[i]);
        snprintf(word, sizeof(word), "%zu", i);
        write_policy(*state, OWN, word);
        struct load load = reload(world, NULL, NULL);
        if (i < MAX_DRAINING) {
            expect(load, LOAD_APPLIED, "");
        } else {
            expect(load, LOAD_REFUSED, "generations still have requests in flight");
        }
    }
    for (size_t i = 0; i <= MAX_DRAINING; i++) {
        generation_leave(held[i]);
    }
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    assert_int_equal(records(world).n, 5);
    world_free(world);
}

/* ---- refusals ---- */

struct seen {
    int n;
    char who[HISTORY_WHO], why[HISTORY_WHY];
    size_t errors;
};

static void take_refused(void *ctx, const struct refused_load *refused) {
    struct seen *seen = ctx;
    seen->n++;
    snprintf(seen->who, sizeof(seen->who), "%s", refused->who);
    snprintf(seen->why, sizeof(seen->why), "%s", refused->why);
    seen->errors = refused->diagnostics.errors;
    assert_true(refused->at > 0);
}

static void the_last_refused(void **state) {
    /* Goal: a refused load is remembered with who, why and all it found, until one is applied. */
    struct world *world = open_world(*state, "");
    struct seen seen = {0};
    assert_false(loader_last_refused(&world->loader, take_refused, &seen));
    write_config(*state, "lisen = 1, admn = 2,", "");
    write_policy(*state, "oh no %s", "");
    unsigned id = now(world);
    expect(reload(world, "file watch", "typo"), LOAD_REFUSED, "lisen");
    assert_int_equal(now(world), id);
    assert_true(loader_last_refused(&world->loader, take_refused, &seen));
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.errors, 3);
    assert_string_equal(seen.who, "file watch");
    assert_string_equal(seen.why, "typo");
    write_config(*state, "", "");
    write_policy(*state, OWN, "one");
    expect(reload(world, NULL, NULL), LOAD_UNCHANGED, "");
    assert_true(loader_last_refused(&world->loader, take_refused, &seen));
    write_policy(*state, OWN, "three");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    assert_false(loader_last_refused(&world->loader, take_refused, &seen));
    world_free(world);
}

static void checking_changes_nothing(void **state) {
    /* Goal: a check tells what a reload would, and neither counts nor is remembered. */
    struct world *world = open_world(*state, "");
    struct seen seen = {0};
    struct diags diags;
    unsigned id = now(world);
    diags_init(&diags);
    write_policy(*state, OWN, "other");
    assert_int_equal(loader_check(&world->loader, &diags), 0);
    assert_int_equal(now(world), id);
    write_config(*state, "state_dir = 'elsewhere',", "n = 10");
    assert_int_equal(loader_check(&world->loader, &diags), -1);
    write_config(*state, "state_dir = 'elsewhere',", "");
    diags_release(&diags);
    assert_int_equal(loader_check(&world->loader, &diags), -1);
    assert_non_null(strstr(diags.list[0].message, "state_dir is not what the gateway was started"));
    assert_false(loader_last_refused(&world->loader, take_refused, &seen));
    assert_int_equal(records(world).list[0].id, id);
    diags_release(&diags);
    world_free(world);
}

static int tests_of_policies(void *ctx, struct snapshot *snapshot, const struct config *config,
                             struct diags *diags) {
    int *calls = ctx;
    (*calls)++;
    assert_non_null(snapshot_find(snapshot, "policies/own.lua"));
    const struct snapshot_file *own = snapshot_find(snapshot, "policies/own.lua");
    assert_string_equal(config->routes[0].policy, "own");
    if (strstr(own->text, "bad")) {
        diags_error(diags, "policies/own_test.lua", 12, "it is bad");
        return 1;
    }
    return 0;
}

static void tests_as_a_gate(void **state) {
    /* Goal: with reload.tests the policies' tests decide; going back and settings do not run them;
     * a program that cannot run them refuses to pretend. */
    struct world *world = open_world(*state, "");
    int calls = 0;
    write_config(*state, "reload = { tests = true },", "");
    expect(reload(world, NULL, NULL), LOAD_REFUSED, "cannot run policies' tests");
    world->loader.run_tests = tests_of_policies;
    world->loader.run_tests_ctx = &calls;
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    unsigned good = now(world);
    write_policy(*state, OWN, "bad");
    expect(reload(world, NULL, NULL), LOAD_REFUSED, "policies/own_test.lua:12: error: it is bad");
    assert_int_equal(now(world), good);
    write_policy(*state, OWN, "fine");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    assert_int_equal(calls, 3);
    expect(change(world, "{\"n\":2}", -1), LOAD_APPLIED, "");
    expect(activate(world, good), LOAD_APPLIED, "");
    assert_int_equal(calls, 3);
    world_free(world);
}

/* ---- settings ---- */

static void settings_over_the_file(void **state) {
    /* Goal: overlaid keys count over the file's, the others stay; dropping gives the file's values
     * back; an edit of the file keeps the overlay; the whole overlay is replaced each time. */
    struct world *world = open_world(*state, "");
    write_config(*state, "", "word = 'file', n = 3");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    world_expect_answer(world, "one file 3");
    expect(change(world, "{\"word\":\"over\"}", -1), LOAD_APPLIED, "");
    world_expect_answer(world, "one over 3");
    const struct config_route *r = &generation_config(atomic_load(&world->g.current))->routes[0];
    assert_true(str_is(value_str(value_field(&r->settings, "word")), "over"));
    assert_true(str_is(value_str(value_field(&r->file_settings, "word")), "file"));
    assert_non_null(value_field(&r->overlay, "word"));
    assert_null(value_field(&r->overlay, "n"));
    write_config(*state, "", "word = 'edited', n = 4");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "");
    world_expect_answer(world, "one over 4");
    expect(change(world, "{\"n\":5}", -1), LOAD_APPLIED, "");
    world_expect_answer(world, "one edited 5");
    expect(change(world, "{\"n\":5}", -1), LOAD_UNCHANGED, "");
    expect(change(world, NULL, -1), LOAD_APPLIED, "");
    world_expect_answer(world, "one edited 4");
    expect(change(world, "{}", -1), LOAD_UNCHANGED, "");
    assert_false(loader_persistent(&world->loader));
    world_free(world);
}

static void changes_leave_edits_alone(void **state) {
    /* Goal: a change of settings goes over the files in force: half an edit on the disk is neither
     * loaded by it nor in its way. */
    struct world *world = open_world(*state, "");
    write_policy(*state, "return { half an %s", "edit");
    expect(change(world, "{\"n\":7}", -1), LOAD_APPLIED, "");
    world_expect_answer(world, "one none 7");
    world_free(world);
}

static void refused_settings(void **state) {
    /* Goal: what the policy's schema refuses changes nothing and is told by its name. */
    struct world *world = open_world(*state, "");
    expect(change(world, "{\"n\":2}", -1), LOAD_APPLIED, "");
    long long version = loader_overlay_version(&world->loader, "chat");
    unsigned id = now(world);
    expect(change(world, "{\"n\":10}", -1), LOAD_REFUSED,
           "settings: error: routes.chat.settings.n:");
    expect(change(world, "{\"nn\":1}", -1), LOAD_REFUSED, "routes.chat.settings.nn:");
    expect(change(world, "[]", -1), LOAD_APPLIED,
           ""); /* an empty list and an empty table are one */
    expect(change(world, "[1]", -1), LOAD_REFUSED, "found a list");
    version = loader_overlay_version(&world->loader, "chat");
    id = now(world);
    struct diags diags;
    diags_init(&diags);
    assert_int_equal(loader_change_settings(&world->loader, "chta", NULL, -1, NULL, &diags),
                     LOAD_UNKNOWN);
    diags_release(&diags);
    assert_int_equal(loader_overlay_version(&world->loader, "chat"), version);
    assert_int_equal(now(world), id);
    world_free(world);
}

static void conflicts(void **state) {
    /* Goal: of two who change the same version one is told so, and nothing of his is done. */
    struct world *world = open_world(*state, "");
    assert_int_equal(loader_overlay_version(&world->loader, "chat"), 0);
    expect(change(world, "{\"n\":2}", 0), LOAD_APPLIED, "");
    long long version = loader_overlay_version(&world->loader, "chat");
    assert_true(version > 0);
    expect(change(world, "{\"n\":3}", 0), LOAD_CONFLICT, "changed them meanwhile");
    world_expect_answer(world, "one none 2");
    expect(change(world, "{\"n\":4}", version), LOAD_APPLIED, "");
    expect(change(world, "{\"n\":4}", version), LOAD_CONFLICT, "");
    world_expect_answer(world, "one none 4");
    world_free(world);
}

static void going_back_with_settings(void **state) {
    /* Goal: a generation comes back with the settings it had, under a new version. */
    struct world *world = open_world(*state, "");
    unsigned plain = now(world);
    expect(change(world, "{\"n\":2}", -1), LOAD_APPLIED, "");
    unsigned two = now(world);
    long long version = loader_overlay_version(&world->loader, "chat");
    expect(change(world, "{\"n\":3}", -1), LOAD_APPLIED, "");
    expect(activate(world, two), LOAD_APPLIED, "");
    world_expect_answer(world, "one none 2");
    assert_true(loader_overlay_version(&world->loader, "chat") > version + 1);
    expect(reload(world, NULL, NULL), LOAD_UNCHANGED, "");
    expect(activate(world, plain), LOAD_APPLIED, "");
    world_expect_answer(world, "one none 1");
    world_free(world);
}

/* ---- over a restart ---- */

/* The rig starts with a state_dir only when its first configuration has one: so it is started,
 * stopped and started anew over the same folder. */
static void restart(struct world *world, const struct folder *f, const char *library) {
    const char *const folders[] = {library, NULL};
    struct diags diags;
    char *file = folder_path(f, "gateway.lua");
    worker_generation(&world->w);
    lane_retire(generation_lane(world->w.generation, 0));
    world->w.generation = NULL;
    loader_finish(&world->loader);
    loader_release(&world->loader);
    assert_int_equal(loader_init(&world->loader, &world->g, file, folders), 0);
    world->loader.settle = let_worker_go;
    world->loader.settle_ctx = world;
    diags_init(&diags);
    struct generation *first = loader_stage(&world->loader, 1, &diags);
    if (!first) {
        fail_msg("no generation: %s", diags.n ? diags.list[0].message : "?");
    }
    loader_publish_first(&world->loader, first);
    worker_generation(&world->w);
    diags_release(&diags);
    free(file);
}

static struct world *open_with_state(const struct folder *f) {
    struct world *world = open_world(f, "");
    write_config(f, "state_dir = 'state',", "word = 'file'");
    restart(world, f, ".");
    return world;
}

static void settings_survive_a_restart(void **state) {
    /* Goal: settings and their versions are there after a restart; the rest of the file, too; every
     * change stands in the audit log with before, after and how it ended. */
    struct world *world = open_with_state(*state);
    assert_true(loader_persistent(&world->loader));
    expect(change(world, "{\"n\":2}", -1), LOAD_APPLIED, "");
    expect(change(world, "{\"n\":6,\"word\":\"sk-aaaaaa\"}", -1), LOAD_APPLIED, "");
    expect(change(world, "{\"n\":99}", -1), LOAD_REFUSED, "");
    expect(change(world, "{\"n\":1}", 1), LOAD_CONFLICT, "");
    long long version = loader_overlay_version(&world->loader, "chat");
    restart(world, *state, ".");
    assert_int_equal(loader_overlay_version(&world->loader, "chat"), version);
    world_expect_answer(world, "one sk-aaaaaa 6");
    expect(reload(world, "SIGHUP", ""), LOAD_UNCHANGED, "");
    char *log = audit_text(*state);
    static const char *const lines[] = {
        "\"action\":\"start\"",
        "\"who\":\"admin\",\"why\":\"try\",\"action\":\"settings\",\"object\":\"chat\","
        "\"before\":null,\"after\":{\"n\":2},\"result\":\"applied\",\"generation\":2}",
        "\"before\":{\"n\":2},\"after\":{\"n\":6,\"word\":\"***\"},\"result\":\"applied\"",
        "\"after\":{\"n\":99},\"result\":\"refused\",\"generation\":3}",
        "\"after\":{\"n\":1},\"result\":\"conflict\",\"generation\":3}",
        "\"action\":\"start\"",
        "\"who\":\"SIGHUP\",\"why\":null,\"action\":\"reload\",\"object\":null,\"before\":null,"
        "\"after\":null,\"result\":\"unchanged\"",
    };
    const char *at = log;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        const char *found = strstr(at, lines[i]);
        if (!found) {
            fail_msg("no %s after %s", lines[i], at);
        }
        at = found + 1;
    }
    free(log);
    world_free(world);
}

static void stale_settings(void **state) {
    /* Goal: settings that a new version of the policy refuses are told with their file and how to
     * get rid of them; settings of a route that is gone wait, with a warning. */
    struct world *world = open_with_state(*state);
    expect(change(world, "{\"n\":6}", -1), LOAD_APPLIED, "");
    folder_write(*state, "policies/own.lua",
                 "return { name = 'own', settings = { word = { type = 'string' },\n"
                 "  n = { type = 'integer', max = 5 } },\n"
                 "  handle = function(req) return req:respond { body = 'new' } end }\n");
    struct load load = reload(world, NULL, NULL);
    expect(load, LOAD_REFUSED, "state/settings.json: error: routes.chat.settings.n:");
    expect(load, LOAD_REFUSED, "moongate unset chat n");
    write_policy(*state, OWN, "one");
    folder_write(*state, "gateway.lua",
                 "return { listen = '127.0.0.1:0', workers = 1, state_dir = 'state',\n"
                 "  providers = {}, routes = { { name = 'talk', path = '/v1/*', policy = 'own' } } "
                 "}\n");
    expect(reload(world, NULL, NULL), LOAD_APPLIED, "warning: there is no route \"chat\"");
    world_expect_answer(world, "one none 1");
    expect(change(world, "{\"n\":1}", -1), LOAD_UNKNOWN, "there is no route \"chat\"");
    expect(change(world, NULL, -1), LOAD_APPLIED, "");
    world_free(world);
}

static void damaged_overlay(void **state) {
    /* Goal: a start with a file that cannot be read whole is refused, with the file's name. */
    struct world *world = open_with_state(*state);
    expect(change(world, "{\"n\":6}", -1), LOAD_APPLIED, "");
    folder_write(*state, "state/settings.json", "{\"format\":1,");
    struct loader other;
    struct diags diags;
    struct load load = {.result = LOAD_REFUSED};
    const char *const library[] = {".", NULL};
    struct gateway g = {.env = world->g.env};
    char *file = folder_path(*state, "gateway.lua");
    assert_int_equal(loader_init(&other, &g, file, library), 0);
    diags_init(&diags);
    assert_null(loader_stage(&other, 1, &diags));
    say(&load, &diags);
    expect(load, LOAD_REFUSED, "state/settings.json: error: damaged: invalid JSON");
    loader_release(&other);
    free(file);
    /* One that runs does not read it again, and mends it with the next change. */
    expect(change(world, "{\"n\":7}", -1), LOAD_APPLIED, "");
    restart(world, *state, ".");
    world_expect_answer(world, "one file 7");
    world_free(world);
}

static void settings_that_cannot_be_kept(void **state) {
    /* Goal: when the file cannot be written nothing changes, and it is told. */
    struct world *world = open_with_state(*state);
    expect(change(world, "{\"n\":6}", -1), LOAD_APPLIED, "");
    long long version = loader_overlay_version(&world->loader, "chat");
    unsigned id = now(world);
    folder_write(*state, "state/settings.json.tmp/x", ""); /* a folder stands in the way */
    expect(change(world, "{\"n\":7}", -1), LOAD_FAILED, "nothing was changed");
    assert_int_equal(now(world), id);
    assert_int_equal(loader_overlay_version(&world->loader, "chat"), version);
    world_expect_answer(world, "one file 6");
    expect(activate(world, id - 1), LOAD_FAILED, "nothing was changed");
    char *in_the_way = folder_path(*state, "state/settings.json.tmp/x");
    assert_int_equal(remove(in_the_way), 0);
    in_the_way[strlen(in_the_way) - 2] = '\0';
    assert_int_equal(remove(in_the_way), 0);
    free(in_the_way);
    expect(change(world, "{\"n\":7}", -1), LOAD_APPLIED, "");
    world_expect_answer(world, "one file 7");
    world_free(world);
}

static void closed(void **state) {
    /* Goal: while the gateway stops nothing is loaded. */
    struct world *world = open_world(*state, "");
    loader_close(&world->loader);
    expect(reload(world, NULL, NULL), LOAD_REFUSED, "being stopped");
    expect(change(world, "{\"n\":6}", -1), LOAD_REFUSED, "being stopped");
    expect(activate(world, 1), LOAD_REFUSED, "being stopped");
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(history_of_loads),
        TEST(draining),
        TEST(back_and_forward),
        TEST(inputs_are_read_anew),
        TEST(too_many_draining),
        TEST(the_last_refused),
        TEST(checking_changes_nothing),
        TEST(tests_as_a_gate),
        TEST(settings_over_the_file),
        TEST(changes_leave_edits_alone),
        TEST(refused_settings),
        TEST(conflicts),
        TEST(going_back_with_settings),
        TEST(settings_survive_a_restart),
        TEST(stale_settings),
        TEST(damaged_overlay),
        TEST(settings_that_cannot_be_kept),
        TEST(closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
