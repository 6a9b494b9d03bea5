/* SPDX-License-Identifier: MIT */
/* The settings overlay: versions, what is kept on the disk, and that a file is always whole. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "../support/config_files.h"
#include "base/limits.h"
#include "gateway/overlay.h"

static struct value json(const char *text) {
    struct value v;
    struct err err = {""};
    if (value_from_json(&v, str_of(text), &err)) {
        fail_msg("%s: %s", text, err.text);
    }
    return v;
}

static void set(struct overlay *o, const char *route, const char *settings) {
    struct err err = {""};
    struct value v = json(settings);
    if (overlay_set(o, route, &v, &err)) {
        fail_msg("%s", err.text);
    }
    value_release(&v);
}

/* What cannot be set leaves everything as it was. */
static void expect_refused(struct overlay *o, const struct value *v, const char *said) {
    struct err err = {""};
    long long version = o->version;
    size_t n = o->n;
    assert_int_equal(overlay_set(o, "chat", v, &err), -1);
    if (!strstr(err.text, said)) {
        fail_msg("expected \"%s\", got: %s", said, err.text);
    }
    assert_int_equal(o->version, version);
    assert_int_equal(o->n, n);
}

static void expect_text(const struct overlay *o, const char *expected) {
    struct buf text;
    buf_init(&text, MAX_OVERLAY);
    assert_int_equal(overlay_text(o, &text), 0);
    assert_string_equal(text.data, expected);
    buf_release(&text);
}

static void expect_file(const char *dir, const char *expected) {
    struct overlay o;
    struct err err = {""};
    overlay_init(&o);
    if (overlay_read(&o, dir, &err)) {
        fail_msg("%s", err.text);
    }
    expect_text(&o, expected);
    overlay_release(&o);
}

static void versions(void **state) {
    /* Goal: each change of a route gives it a version that was never given before; dropping counts
     * as a change; other routes keep theirs. */
    (void)state;
    struct overlay o, kept;
    struct err err;
    overlay_init(&o);
    assert_int_equal(overlay_version(&o, "chat"), 0);
    set(&o, "chat", "{\"enabled\":false}");
    set(&o, "code", "{\"targets\":[\"a/m\",{\"target\":\"b/m\",\"weight\":2}]}");
    assert_int_equal(overlay_version(&o, "chat"), 1);
    assert_int_equal(overlay_version(&o, "code"), 2);
    assert_int_equal(overlay_copy(&kept, &o), 0);
    assert_int_equal(overlay_set(&o, "chat", NULL, &err), 0);
    assert_int_equal(overlay_version(&o, "chat"), 3);
    expect_text(&o, "{\"code\":{\"targets\":[\"a/m\",{\"target\":\"b/m\",\"weight\":2}]}}");
    set(&o, "more", "{\"x\":1}");
    /* Going back gives new versions to what differs, and only to that. */
    assert_int_equal(overlay_adopt(&o, &kept, &err), 0);
    expect_text(&o, "{\"chat\":{\"enabled\":false},"
                    "\"code\":{\"targets\":[\"a/m\",{\"target\":\"b/m\",\"weight\":2}]}}");
    assert_int_equal(overlay_version(&o, "code"), 2);
    assert_true(overlay_version(&o, "chat") > 4);
    assert_true(overlay_version(&o, "more") > 4);
    overlay_release(&kept);
    overlay_release(&o);
}

static void hostile_settings(void **state) {
    /* Goal: lists, scalars, and what could not be read back from the file are refused. */
    (void)state;
    struct overlay o;
    overlay_init(&o);
    set(&o, "chat", "{\"a\":1}");
    struct value list = json("[1,2]"), number = json("7");
    expect_refused(&o, &list, "found a list");
    expect_refused(&o, &number, "found number");
    struct value deep = json("{\"a\":[]}");
    for (int i = 0; i < MAX_VALUE_DEPTH - 2; i++) {
        struct value outer = value_table();
        assert_int_equal(value_set_field(&outer, STR("a"), deep), 0);
        deep = outer;
    }
    expect_refused(&o, &deep, "nested deeper");
    struct value large = value_table(), text = {0};
    char *bytes = calloc(1, MAX_OVERLAY + 1);
    memset(bytes, 'x', MAX_OVERLAY);
    assert_int_equal(value_set_str(&text, str_of(bytes)), 0);
    assert_int_equal(value_set_field(&large, STR("a"), text), 0);
    expect_refused(&o, &large, "more than");
    free(bytes);
    value_release(&list);
    value_release(&deep);
    value_release(&large);
    overlay_release(&o);
}

static void as_many_routes_as_allowed(void **state) {
    /* Goal: the number of routes is bounded; one whose settings were dropped makes room. */
    (void)state;
    struct overlay o;
    struct err err;
    overlay_init(&o);
    o.routes = calloc(MAX_OVERLAY_ROUTES, sizeof(*o.routes));
    for (o.n = 0; o.n < MAX_OVERLAY_ROUTES; o.n++) {
        char name[16];
        snprintf(name, sizeof(name), "a%04zu", o.n);
        o.routes[o.n] = (struct overlay_route){strdup(name), ++o.version, json("{\"a\":1}")};
    }
    assert_int_equal(overlay_set(&o, "one-more", NULL, &err), -1);
    assert_non_null(strstr(err.text, "routes already"));
    assert_int_equal(overlay_set(&o, "a0500", NULL, &err), 0);
    set(&o, "one-more", "{\"a\":1}");
    assert_int_equal(o.n, MAX_OVERLAY_ROUTES);
    assert_int_equal(overlay_version(&o, "a0500"), 0);
    assert_int_equal(overlay_version(&o, "one-more"), MAX_OVERLAY_ROUTES + 2);
    assert_string_equal(o.routes[500].name, "a0501");
    overlay_release(&o);
}

static void round_trip(void **state) {
    /* Goal: what was written is read again, versions and all; no file is an empty overlay; a
     * temporary file that a kill left is ignored and replaced. */
    const struct folder *f = *state;
    struct overlay o, again;
    struct err err = {""};
    char *dir = folder_path(f, "state");
    overlay_init(&o);
    overlay_init(&again);
    expect_file(dir, "{}");
    set(&o, "chat", "{\"a\":1,\"b\":2.5,\"c\":\"\\u00e4\\\"\\u0000\",\"d\":true,\"e\":{}}");
    set(&o, "code", "{\"n\":-9007199254740991}");
    assert_int_equal(overlay_set(&o, "code", NULL, &err), 0);
    folder_write(f, "state/settings.json.tmp", "{\"half");
    assert_int_equal(overlay_write(&o, dir, &err), 0);
    char *temporary = folder_path(f, "state/settings.json.tmp");
    assert_int_not_equal(access(temporary, F_OK), 0);
    assert_int_equal(overlay_read(&again, dir, &err), 0);
    assert_int_equal(again.version, o.version);
    assert_int_equal(overlay_version(&again, "code"), overlay_version(&o, "code"));
    const struct overlay_route *chat = overlay_find(&again, "chat");
    assert_true(value_equal(&chat->settings, &overlay_find(&o, "chat")->settings));
    assert_int_equal(value_str(value_field(&chat->settings, "c")).n, 4);
    free(temporary);
    free(dir);
    overlay_release(&o);
    overlay_release(&again);
}

static void damaged_files(void **state) {
    /* Goal: a file that is not ours is refused with what is wrong and what to do, never taken in
     * parts. */
    static const struct {
        const char *text, *said;
    } table[] = {
        {"", "damaged"},
        {"{\"format\":1,\"version\":1,\"routes\":{\"chat\":{\"vers", "damaged: invalid JSON"},
        {"[]", "format"},
        {"{\"format\":2,\"version\":1,\"routes\":{}}", "another version"},
        {"{\"format\":1,\"version\":-1,\"routes\":{}}", "version"},
        {"{\"format\":1,\"version\":1.5,\"routes\":{}}", "version"},
        {"{\"format\":1,\"version\":1}", "routes"},
        {"{\"format\":1,\"version\":1,\"routes\":{\"a\":{\"version\":1,\"settings\":{}},\"b\":7}}",
         "route \"b\""},
        {"{\"format\":1,\"version\":1,\"routes\":{\"a\":{\"version\":0,\"settings\":{}}}}",
         "route \"a\""},
        {"{\"format\":1,\"version\":1,\"routes\":{\"a\":{\"version\":1,\"settings\":[1]}}}",
         "route \"a\""},
        {"{\"format\":1,\"version\":1,\"routes\":{\"a\":{\"version\":1,\"settings\":{\"x\":null}}}"
         "}",
         "null"},
    };
    const struct folder *f = *state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct overlay o;
        struct err err = {""};
        overlay_init(&o);
        folder_write(f, "settings.json", table[i].text);
        assert_int_equal(overlay_read(&o, f->path, &err), -1);
        if (!strstr(err.text, table[i].said) || !strstr(err.text, "move it away")) {
            fail_msg("%s: expected \"%s\", got: %s", table[i].text, table[i].said, err.text);
        }
        assert_int_equal(o.n, 0);
    }
}

static void disk_full(void **state) {
    /* Goal: a write that fails tells why, and the file keeps its content. RLIMIT_FSIZE stands in
     * for a full disk: the write ends short, then fails. */
    const struct folder *f = *state;
    struct overlay o;
    struct err err = {""};
    struct rlimit before, small = {64, RLIM_INFINITY};
    overlay_init(&o);
    set(&o, "chat", "{\"a\":1}");
    assert_int_equal(overlay_write(&o, f->path, &err), 0);
    set(&o, "chat", "{\"a\":\"more than sixty-four bytes have to be written for these settings\"}");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = overlay_write(&o, f->path, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.text, "cannot be written: File too large"));
    expect_file(f->path, "{\"chat\":{\"a\":1}}");
    char *temporary = folder_path(f, "settings.json.tmp");
    assert_int_not_equal(access(temporary, F_OK), 0);
    free(temporary);
    overlay_release(&o);
}

static void unusable_folder(void **state) {
    /* Goal: a state_dir that cannot be is told. */
    const struct folder *f = *state;
    struct overlay o;
    struct err err = {""};
    overlay_init(&o);
    folder_write(f, "file", "x");
    char *dir = folder_path(f, "file");
    assert_int_equal(overlay_write(&o, dir, &err), -1);
    assert_non_null(strstr(err.text, "cannot be made"));
    free(dir);
    overlay_release(&o);
}

/* In a child, until it is killed: version n has n in both of its settings. */
static void write_for_ever(const char *dir) {
    struct overlay o;
    struct err err;
    overlay_init(&o);
    for (long n = 1;; n++) {
        char text[128];
        struct value v;
        snprintf(text, sizeof(text), "{\"first\":%ld,\"filler\":\"%0*d\",\"second\":%ld}", n,
                 (int)(n % 40) + 1, 0, n);
        if (value_from_json(&v, str_of(text), &err) || overlay_set(&o, "chat", &v, &err) ||
            overlay_write(&o, dir, &err)) {
            _exit(1);
        }
        value_release(&v);
    }
}

static void killed_while_writing(void **state) {
    /* Goal: kill -9 at any moment leaves the old settings or the new ones, whole. */
    const struct folder *f = *state;
    size_t read = 0;
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_for_ever(f->path);
        }
        struct timespec nap = {0, 1000000L + (i * 7919L % 30) * 1000000L};
        nanosleep(&nap, NULL);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct overlay o;
        struct err err = {""};
        overlay_init(&o);
        if (overlay_read(&o, f->path, &err)) {
            fail_msg("%s", err.text);
        }
        const struct overlay_route *chat = overlay_find(&o, "chat");
        if (chat) {
            read++;
            assert_true(value_equal(value_field(&chat->settings, "first"),
                                    value_field(&chat->settings, "second")));
            assert_int_equal(value_field(&chat->settings, "first")->as.i, chat->version);
        }
        overlay_release(&o);
    }
    assert_true(read > 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(versions),        TEST(hostile_settings),     TEST(as_many_routes_as_allowed),
        TEST(round_trip),      TEST(damaged_files),        TEST(disk_full),
        TEST(unusable_folder), TEST(killed_while_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
