/* SPDX-License-Identifier: MIT */
/* Which route a request takes, why none was found, and which keys may ask for what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/route.h"

static char *gpt[] = {(char[]){"gpt-*"}, (char[]){"o?"}, NULL};
static char *nothing[] = {NULL};
static char *post[] = {(char[]){"POST"}, NULL};
static char chat[] = "/v1/chat/completions", v1[] = "/v1/", files[] = "/v1/files";

static struct config_route routes[] = {
    {.path = chat, .models = gpt, .methods = post},
    {.path = chat, .methods = post},
    {.path = files, .methods = post},
    {.path = v1, .prefix = true, .models = gpt},
};

static void find(void **state) {
    /* Goal: the first route that fits in path, method and model; one that is limited to models
     * takes no request without; what is missing is told. */
    static const struct {
        const char *method, *path, *model;
        int route;
        bool path_known, method_known;
    } table[] = {
        {"POST", "/v1/chat/completions", "gpt-4o", 0, true, true},
        {"POST", "/v1/chat/completions", "o1", 0, true, true},
        {"POST", "/v1/chat/completions", "o", 1, true, true},
        {"POST", "/v1/chat/completions", "claude", 1, true, true},
        {"POST", "/v1/chat/completions", NULL, 1, true, true},    /* no model is not any model */
        {"GET", "/v1/chat/completions", "gpt-4o", 3, true, true}, /* the prefix takes any method */
        {"post", "/v1/files", "claude", -1, true, true},          /* methods have case */
        {"POST", "/v1/files", "claude", 2, true, true},
        {"GET", "/v1/files", "claude", -1, true,
         true}, /* the prefix would take it, not the model */
        {"POST", "/v1/files/7", "gpt-4o", 3, true, true},
        {"POST", "/v1/", "gpt-4o", 3, true, true},
        {"POST", "/v1", "gpt-4o", -1, false, false},
        {"POST", "/V1/files", "gpt-4o", -1, false, false},
        {"POST", "/", "gpt-4o", -1, false, false},
    };
    struct config c = {.routes = routes, .n_routes = 4};
    struct route_miss miss;
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int got =
            route_find(&c, str_of(table[i].method), str_of(table[i].path), table[i].model, &miss);
        if (got != table[i].route || miss.path != table[i].path_known ||
            miss.method != table[i].method_known) {
            fail_msg("row %zu: %d, %d, %d", i, got, miss.path, miss.method);
        }
    }
    c.n_routes = 3; /* without the prefix */
    assert_int_equal(route_find(&c, STR("GET"), STR("/v1/files"), NULL, &miss), -1);
    assert_true(miss.path);
    assert_false(miss.method);
    c.n_routes = 0;
    assert_int_equal(route_find(&c, STR("GET"), STR("/v1/files"), NULL, &miss), -1);
    assert_false(miss.path);
}

static void keys(void **state) {
    /* Goal: a key is found by its whole secret alone, wherever it stands. */
    struct config_key list[3];
    struct config c = {.keys = list, .n_keys = 3};
    static const char *const secrets[] = {"sk-one", "sk-two", "sk-three"};
    (void)state;
    memset(list, 0, sizeof(list));
    for (size_t i = 0; i < 3; i++) {
        hash_sha256(str_of(secrets[i]), list[i].hash);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(route_key(&c, str_of(secrets[i])), &list[i]);
    }
    static const char *const others[] = {"sk-on", "sk-onee", "SK-ONE", "", " sk-one"};
    for (size_t i = 0; i < 5; i++) {
        assert_null(route_key(&c, str_of(others[i])));
    }
    assert_null(route_key(&c, str_make(NULL, 0)));
}

static void models_of_keys(void **state) {
    /* Goal: a list of models is a limit; no list, no key configured, and no model named are none.
     */
    struct config_key limited = {.models = gpt}, none = {.models = nothing}, open = {.name = NULL};
    (void)state;
    assert_true(route_key_allows(&limited, "gpt-4o"));
    assert_false(route_key_allows(&limited, "claude"));
    assert_false(route_key_allows(&limited, ""));
    assert_false(route_key_allows(&limited, NULL));
    assert_true(route_key_allows(&open, "claude"));
    assert_true(route_key_allows(NULL, "claude"));
    assert_false(route_key_allows(&none, "claude")); /* an empty list allows nothing */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find),
        cmocka_unit_test(keys),
        cmocka_unit_test(models_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
