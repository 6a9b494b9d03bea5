/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of state/state: the file that carries suspensions over a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "state/state.h"

#define HOUR (3600 * USEC_PER_SEC)

struct place {
    struct state state;
    char base[64], dir[80], file[128], damaged[160], temporary[160];
};

static int setup(void **state) {
    struct place *p = calloc(1, sizeof(*p));
    strcpy(p->base, "/tmp/moongate-state-XXXXXX");
    if (!mkdtemp(p->base)) {
        return -1;
    }
    snprintf(p->dir, sizeof(p->dir), "%s/state", p->base);
    snprintf(p->file, sizeof(p->file), "%s/suspensions.json", p->dir);
    snprintf(p->damaged, sizeof(p->damaged), "%s.damaged", p->file);
    snprintf(p->temporary, sizeof(p->temporary), "%s.tmp", p->file);
    *state = p;
    return state_init(&p->state);
}

static int teardown(void **state) {
    struct place *p = *state;
    unlink(p->file);
    unlink(p->damaged);
    unlink(p->temporary);
    rmdir(p->dir);
    rmdir(p->base);
    state_release(&p->state);
    free(p);
    return 0;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void a_round_trip(void **state) {
    /* Goal: what is saved is there after a restart; the folder is made; nobody else may read;
     * nothing temporary stays. */
    struct place *p = *state;
    struct state other;
    struct err err = {""};
    struct stat st;
    targets_suspend(p->state.targets, STR("p/m"), STR(""), false, HOUR, "x");
    assert_int_equal(state_save(&p->state, p->dir, &err), 0);
    targets_suspend(p->state.targets, STR("q/m"), STR(""), false, HOUR, "x");
    assert_int_equal(state_save(&p->state, p->dir, &err), 0); /* over the first */
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access(p->temporary, F_OK), -1);
    assert_int_equal(state_init(&other), 0);
    assert_int_equal(state_load(&other, p->dir, &err), 0);
    assert_true(targets_suspended_for(other.targets, STR("p/m"), STR("")) > 0);
    assert_true(targets_suspended_for(other.targets, STR("q/m"), STR("")) > 0);
    state_release(&other);
    state_release(&other);
}

static void a_missing_file(void **state) {
    /* Goal: no file, or no folder, is a first start and no error. */
    struct place *p = *state;
    struct err err = {""};
    assert_int_equal(state_load(&p->state, p->dir, &err), 0);
    assert_int_equal(mkdir(p->dir, 0700), 0);
    assert_int_equal(state_load(&p->state, p->dir, &err), 0);
    assert_string_equal(err.text, "");
}

static void a_damaged_file(void **state) {
    /* Goal: a damaged file is an error that names it, is kept aside, and the next start is a first
     * start. */
    struct place *p = *state;
    struct err err = {""};
    assert_int_equal(mkdir(p->dir, 0700), 0);
    write_text(p->file, "{\"version\":1,\"suspended\":[{\"name\":\"p/m\",");
    assert_int_equal(state_look(&p->state, p->dir, &err), -1);
    assert_non_null(strstr(err.text, "suspensions.json"));
    assert_int_equal(access(p->file, F_OK), 0); /* who only looks leaves it where it is */
    assert_int_equal(state_load(&p->state, p->dir, &err), -1);
    assert_non_null(strstr(err.text, "suspensions.json"));
    assert_int_equal(access(p->damaged, F_OK), 0);
    assert_int_equal(access(p->file, F_OK), -1);
    assert_int_equal(targets_suspended_for(p->state.targets, STR("p/m"), STR("")), 0);
    assert_int_equal(state_load(&p->state, p->dir, &err), 0);
}

static void an_unusable_folder(void **state) {
    /* Goal: where nothing can be written the error says what and why, and an old file is not
     * touched. */
    struct place *p = *state;
    struct err err = {""};
    char deep[256];
    snprintf(deep, sizeof(deep), "%s/no/such", p->base);
    assert_int_equal(state_save(&p->state, deep, &err), -1);
    assert_non_null(strstr(err.text, "no/such"));
    assert_int_equal(mkdir(p->dir, 0700), 0);
    assert_int_equal(mkdir(p->temporary, 0700), 0); /* in the way of the temporary file */
    write_text(p->file, "old");
    assert_int_equal(state_save(&p->state, p->dir, &err), -1);
    assert_int_equal(access(p->file, F_OK), 0);
    rmdir(p->temporary);
    char longest[9000];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(state_save(&p->state, longest, &err), -1);
    assert_int_equal(state_load(&p->state, longest, &err), -1);
}

static void names_of_models(void **state) {
    /* Goal: the first models of each provider are named, and stay so; later ones are not. */
    struct model_names *n = model_names_new();
    char target[32];
    (void)state;
    for (int i = 0; i < MODEL_NAMES + 5; i++) {
        snprintf(target, sizeof(target), "p/%d", i);
        assert_int_equal(model_names_has(n, STR("p"), str_of(target)), i < MODEL_NAMES);
    }
    assert_true(model_names_has(n, STR("p"), STR("p/0")));
    assert_false(model_names_has(n, STR("p"), STR("p/new")));
    assert_true(model_names_has(n, STR("q"), STR("q/new")));
    model_names_free(n);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_models),
        TEST(a_round_trip),
        TEST(a_missing_file),
        TEST(a_damaged_file),
        TEST(an_unusable_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
