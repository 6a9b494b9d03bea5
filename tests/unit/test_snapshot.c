/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of config/snapshot: which files are read, from where, under which name, and what the
 * hash depends on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/config_files.h"
#include "base/limits.h"
#include "config/snapshot.h"

static struct snapshot *read_folder(const struct folder *f, const char *library) {
    struct err err = {""};
    const char *const list[] = {library, NULL};
    char *path = folder_path(f, "home/gateway.lua");
    struct snapshot *s = snapshot_read(path, list, &err);
    free(path);
    if (!s) {
        print_message("%s\n", err.text);
    }
    assert_non_null(s);
    return s;
}

static void expect_text(const struct snapshot_file *f, const char *text) {
    assert_non_null(f);
    assert_int_equal(f->len, strlen(text));
    assert_string_equal(f->text, text);
}

static void reads_what_belongs_to_it(void **state) {
    /* Goal: gateway.lua, policies/ and lua/ with their folders are read; tests, hidden and other
     * files are not. */
    const struct folder *f = *state;
    folder_write(f, "home/gateway.lua", "return {}");
    folder_write(f, "home/policies/own.lua", "own");
    folder_write(f, "home/policies/own_test.lua", "test");
    folder_write(f, "home/policies/README.md", "text");
    folder_write(f, "home/policies/.own.lua.swp", "x");
    folder_write(f, "home/policies/team/a.lua", "team a");
    folder_write(f, "home/lua/deep/er/m.lua", "m");
    folder_write(f, "home/lua/deep/init_test.lua", "test");
    folder_write(f, "home/other.lua", "other");
    struct snapshot *s = read_folder(f, NULL);
    expect_text(snapshot_find(s, "gateway.lua"), "return {}");
    expect_text(snapshot_find(s, "policies/own.lua"), "own");
    expect_text(snapshot_find(s, "policies/team/a.lua"), "team a");
    expect_text(snapshot_find(s, "lua/deep/er/m.lua"), "m");
    assert_int_equal(snapshot_count(s), 4);
    assert_string_equal(snapshot_at(s, 0)->name, "gateway.lua");
    assert_null(snapshot_at(s, 4));
    assert_null(snapshot_find(s, "policies/own_test.lua"));
    assert_null(snapshot_find(s, "other.lua"));
    char *path = folder_path(f, "home/policies/own.lua");
    assert_string_equal(snapshot_find(s, "policies/own.lua")->path, path);
    free(path);
    path = folder_path(f, "home");
    assert_string_equal(snapshot_dir(s), path);
    free(path);
    snapshot_unref(s);
}

static void own_files_come_before_the_library(void **state) {
    /* Goal: a name is looked up beside the configuration first, then in the library, file by file.
     */
    const struct folder *f = *state;
    folder_write(f, "home/gateway.lua", "");
    folder_write(f, "home/policies/failover.lua", "mine");
    folder_write(f, "lib/policies/failover.lua", "shipped");
    folder_write(f, "lib/policies/spread.lua", "shipped too");
    folder_write(f, "lib/lua/moongate/order.lua", "order");
    folder_write(f, "lib/gateway.lua", "not a library file");
    char *lib = folder_path(f, "lib");
    struct snapshot *s = read_folder(f, lib);
    expect_text(snapshot_find(s, "gateway.lua"), "");
    expect_text(snapshot_find(s, "policies/failover.lua"), "mine");
    expect_text(snapshot_find(s, "policies/spread.lua"), "shipped too");
    assert_int_equal(snapshot_count(s), 4);
    char *path = folder_path(f, "lib/lua/moongate/order.lua");
    assert_string_equal(snapshot_find(s, "lua/moongate/order.lua")->path, path);
    free(path);
    snapshot_unref(s);
    free(lib);
}

static void require_names(void **state) {
    /* Goal: require "a.b" means lua/a/b.lua, then lua/a/b/init.lua, then policies/a/b.lua. */
    const struct folder *f = *state;
    folder_write(f, "home/gateway.lua", "");
    folder_write(f, "home/lua/a/b.lua", "1");
    folder_write(f, "home/lua/a/b/init.lua", "2");
    folder_write(f, "home/policies/a/b.lua", "3");
    folder_write(f, "home/lua/c/init.lua", "4");
    folder_write(f, "home/policies/c.lua", "5");
    folder_write(f, "home/policies/d.lua", "6");
    struct snapshot *s = read_folder(f, NULL);
    expect_text(snapshot_module(s, "a.b"), "1");
    expect_text(snapshot_module(s, "c"), "4");
    expect_text(snapshot_module(s, "d"), "6");
    assert_null(snapshot_module(s, "e"));
    assert_null(snapshot_module(s, ""));
    assert_null(snapshot_module(s, "..gateway"));
    char longer[400];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_null(snapshot_module(s, longer));
    snapshot_unref(s);
}

static void read_hash(const struct folder *f, unsigned char out[HASH_SIZE]) {
    struct snapshot *s = read_folder(f, NULL);
    snapshot_hash(s, out);
    snapshot_unref(s);
}

static void hash_follows_the_content(void **state) {
    /* Goal: the hash is the same for the same files, and another one when a text or a name changes;
     * a test file does not count. */
    const struct folder *f = *state;
    unsigned char first[HASH_SIZE];
    unsigned char other[HASH_SIZE];
    folder_write(f, "home/gateway.lua", "return {}");
    folder_write(f, "home/policies/a.lua", "one");
    read_hash(f, first);
    read_hash(f, other);
    assert_memory_equal(first, other, HASH_SIZE);
    folder_write(f, "home/policies/a_test.lua", "test");
    read_hash(f, other);
    assert_memory_equal(first, other, HASH_SIZE);
    folder_write(f, "home/policies/a.lua", "two");
    read_hash(f, other);
    assert_memory_not_equal(first, other, HASH_SIZE);
    folder_write(f, "home/policies/a.lua", "one");
    char *from = folder_path(f, "home/policies/a.lua");
    char *to = folder_path(f, "home/policies/b.lua");
    assert_int_equal(rename(from, to), 0);
    read_hash(f, other);
    assert_memory_not_equal(first, other, HASH_SIZE);
    free(from);
    free(to);
}

static void inputs_count_once(void **state) {
    /* Goal: what is mixed in changes the hash, in its order; the same input again (the snapshot is
     * loaded anew) does not. */
    const struct folder *f = *state;
    unsigned char none[HASH_SIZE];
    unsigned char one[HASH_SIZE];
    unsigned char again[HASH_SIZE];
    folder_write(f, "home/gateway.lua", "");
    struct snapshot *s = read_folder(f, NULL);
    snapshot_hash(s, none);
    snapshot_mix(s, STR("KEY=a"));
    snapshot_hash(s, one);
    assert_memory_not_equal(none, one, HASH_SIZE);
    snapshot_mix(s, STR("KEY=a"));
    snapshot_hash(s, again);
    assert_memory_equal(one, again, HASH_SIZE);
    for (int i = 0; i < MAX_SNAPSHOT_INPUTS + 2; i++) { /* beyond the room each still counts */
        char text[32];
        unsigned char before[HASH_SIZE];
        snapshot_hash(s, before);
        snprintf(text, sizeof(text), "input %d", i);
        snapshot_mix(s, str_of(text));
        snapshot_hash(s, again);
        assert_memory_not_equal(before, again, HASH_SIZE);
    }
    snapshot_unref(s);
}

static void expect_refused(const char *path, const char *const *library, const char *word) {
    struct err err = {""};
    assert_null(snapshot_read(path, library, &err));
    if (!strstr(err.text, word)) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
    }
}

static void refuses_what_it_cannot_read(void **state) {
    /* Goal: a missing, oversized or unreadable file fails the whole, and the error names it. */
    const struct folder *f = *state;
    char *path = folder_path(f, "home/gateway.lua");
    expect_refused(path, NULL, "home/gateway.lua: cannot be opened");
    folder_write(f, "home/gateway.lua", "");
    char *big = calloc(1, MAX_POLICY_FILE + 1);
    assert_non_null(big);
    folder_write_bytes(f, "home/policies/big.lua", big, MAX_POLICY_FILE + 1);
    expect_refused(path, NULL, "home/policies/big.lua: larger than");
    folder_write_bytes(f, "home/policies/big.lua", big, MAX_POLICY_FILE);
    struct snapshot *s = snapshot_read(path, NULL, NULL);
    assert_non_null(s);
    assert_int_equal(snapshot_find(s, "policies/big.lua")->len, MAX_POLICY_FILE);
    snapshot_unref(s);
    free(big);
    char *link = folder_path(f, "home/lua");
    assert_int_equal(symlink(".", link), 0); /* lua/lua/lua/… */
    expect_refused(path, NULL, "nested deeper");
    free(link);
    char *dir = folder_path(f, "home");
    expect_refused(dir, NULL, "is a folder");
    free(dir);
    free(path);
}

static void too_many_files(void **state) {
    /* Goal: the number of files is bounded. */
    const struct folder *f = *state;
    char *path = folder_path(f, "home/gateway.lua");
    folder_write(f, "home/gateway.lua", "");
    for (int i = 0; i < MAX_SNAPSHOT_FILES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "home/lua/m%d.lua", i);
        folder_write(f, name, "");
    }
    expect_refused(path, NULL, "source files that are allowed");
    free(path);
}

static void bare_names(void **state) {
    /* Goal: a file in the current folder is named as the user gave it, without "./". */
    const struct folder *f = *state;
    struct err err = {""};
    char *before = getcwd(NULL, 0);
    folder_write(f, "some.lua", "return 1");
    folder_write(f, "policies/p.lua", "p");
    assert_int_equal(chdir(f->path), 0);
    struct snapshot *s = snapshot_read("some.lua", NULL, &err);
    assert_int_equal(chdir(before), 0);
    assert_non_null(s);
    assert_string_equal(snapshot_config_path(s), "some.lua");
    assert_string_equal(snapshot_dir(s), ".");
    assert_string_equal(snapshot_find(s, "policies/p.lua")->path, "policies/p.lua");
    expect_text(snapshot_find(s, "gateway.lua"), "return 1");
    snapshot_unref(snapshot_ref(s));
    expect_text(snapshot_find(s, "gateway.lua"), "return 1");
    snapshot_unref(s);
    snapshot_unref(NULL);
    free(before);
}

/* Goal: tests are found, kept apart, and count in the hash only when that is asked for. */
static void tests_apart(void **state) {
    const struct folder *f = *state;
    struct err err = {""};
    unsigned char before[HASH_SIZE], after[HASH_SIZE];
    folder_write(f, "home/gateway.lua", "return {}");
    folder_write(f, "home/policies/a.lua", "a");
    folder_write(f, "home/policies/a_test.lua", "a test");
    folder_write(f, "other_test.lua", "another");
    struct snapshot *s = read_folder(f, NULL);
    assert_int_equal(snapshot_count(s), 2);
    assert_int_equal(snapshot_test_count(s), 1);
    assert_string_equal(snapshot_test_at(s, 0)->name, "policies/a_test.lua");
    assert_string_equal(snapshot_test_find(s, "policies/a_test.lua")->text, "a test");
    assert_null(snapshot_find(s, "policies/a_test.lua"));
    assert_null(snapshot_module(s, "a_test"));
    char *other = folder_path(f, "other_test.lua");
    char *known = folder_path(f, "home/policies/a_test.lua");
    char *missing = folder_path(f, "missing_test.lua");
    snapshot_hash(s, before);
    assert_int_equal(snapshot_add_test(s, other, &err), 0);
    assert_int_equal(snapshot_add_test(s, other, &err), 0);
    assert_int_equal(snapshot_add_test(s, known, &err), 0);
    assert_int_equal(snapshot_add_test(s, missing, &err), -1);
    assert_int_equal(snapshot_test_count(s), 2);
    assert_string_equal(snapshot_test_find(s, other)->text, "another");
    assert_string_equal(snapshot_test_find(s, known)->text, "a test");
    snapshot_hash(s, after);
    assert_memory_equal(before, after, HASH_SIZE);
    snapshot_mix_tests(s);
    snapshot_hash(s, after);
    assert_memory_not_equal(before, after, HASH_SIZE);
    free(other);
    free(known);
    free(missing);
    snapshot_unref(s);
}

/* Goal: a derived snapshot has its own gateway.lua and files, and the others of its source. */
static void derived(void **state) {
    const struct folder *f = *state;
    struct err err = {""};
    folder_write(f, "home/policies/a.lua", "a");
    folder_write(f, "home/lua/b.lua", "b");
    char *dir = folder_path(f, "home");
    struct snapshot *from = snapshot_read_folder(dir, NULL, &err);
    assert_non_null(from);
    assert_string_equal(snapshot_find(from, "gateway.lua")->text, "");
    const struct snapshot_text files[] = {{STR("policies/a.lua"), STR("new a")},
                                          {STR("policies/c.lua"), STR("c")}};
    struct snapshot *s = snapshot_derive(from, STR("return 1"), files, 2, &err);
    assert_non_null(s);
    assert_int_equal(snapshot_count(s), 4);
    assert_string_equal(snapshot_at(s, 0)->text, "return 1");
    assert_string_equal(snapshot_config_path(s), "gateway.lua");
    assert_string_equal(snapshot_dir(s), dir);
    assert_string_equal(snapshot_find(s, "policies/a.lua")->text, "new a");
    assert_string_equal(snapshot_find(s, "lua/b.lua")->text, "b");
    assert_non_null(snapshot_module(s, "c"));
    assert_string_equal(snapshot_find(from, "policies/a.lua")->text, "a");
    unsigned char one[HASH_SIZE], two[HASH_SIZE];
    struct snapshot *again = snapshot_derive(from, STR("return 1"), files, 2, &err);
    snapshot_hash(s, one);
    snapshot_hash(again, two);
    assert_memory_equal(one, two, HASH_SIZE);
    snapshot_unref(again);
    const struct snapshot_text bad = {STR("../x.lua"), STR("")};
    assert_null(snapshot_derive(from, STR(""), &bad, 1, &err));
    assert_non_null(strstr(err.text, "no source file's name"));
    snapshot_unref(s);
    snapshot_unref(from);
    free(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_what_belongs_to_it),
        TEST(own_files_come_before_the_library),
        TEST(require_names),
        TEST(hash_follows_the_content),
        TEST(inputs_count_once),
        TEST(refuses_what_it_cannot_read),
        TEST(too_many_files),
        TEST(bare_names),
        TEST(tests_apart),
        TEST(derived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
