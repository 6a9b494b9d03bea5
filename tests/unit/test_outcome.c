/* SPDX-License-Identifier: MIT */
/*
 * The table of outcomes against what DESIGN section 5 says of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/outcome.h"

/* The table as the design writes it. */
static const struct {
    const char *class;
    const char *outcomes;
} design[] = {
    {"", "ok, client_gone, cancelled"},
    {"backend", "connect_error, tls_error, dns_error, stale_connection, timeout_connect, "
                "timeout_first_byte, timeout_first_token, timeout_idle, "
                "timeout_total, overloaded, server_error, error_event, empty_response, "
                "invalid_response, stream_broken, limit_exceeded, queue_full, "
                "suspended"},
    {"rate_limit", "rate_limited, quota_exhausted"},
    {"intercepted", "content_filtered"},
    {"credential", "credential_error"},
    {"model", "model_unavailable, unsupported"},
    {"context", "context_too_long, too_large"},
    {"client", "client_error"},
};

/* Goal: every outcome of the design exists under its name, in its class, and there is none beside.
 */
static void test_names_and_classes(void **state) {
    int n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof design / sizeof *design; i++) {
        struct str rest = str_of(design[i].outcomes), name;
        while (str_split(&rest, ',', &name)) {
            name = str_trim(name);
            int o = outcome_parse(name);
            assert_true(o >= 0);
            assert_true(str_is(name, outcome_name((enum outcome)o)));
            assert_string_equal(class_name(outcome_class((enum outcome)o)), design[i].class);
            n++;
        }
    }
    assert_int_equal(n, OUTCOME_COUNT);
    assert_int_equal(outcome_parse(STR("OK")), -1);
    assert_int_equal(outcome_parse(STR("")), -1);
}

/* Goal: 504 for every timeout, 503 for what may be asked again soon, 502 for the rest. */
static void test_gateway_status(void **state) {
    (void)state;
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        enum outcome o = (enum outcome)i;
        int want = str_starts(str_of(outcome_name(o)), "timeout_")     ? 504
                   : o == OUTCOME_QUEUE_FULL || o == OUTCOME_SUSPENDED ? 503
                   : o == OUTCOME_UNSUPPORTED                          ? 400
                                                                       : 502;
        assert_int_equal(outcome_gateway_status(o), want);
    }
}

/* Goal: nobody is blamed for what the gateway, the caller or the client did. */
static void test_blame(void **state) {
    static const enum outcome innocent[] = {OUTCOME_OK,
                                            OUTCOME_CLIENT_GONE,
                                            OUTCOME_CANCELLED,
                                            OUTCOME_QUEUE_FULL,
                                            OUTCOME_SUSPENDED,
                                            OUTCOME_CONTENT_FILTERED,
                                            OUTCOME_CONTEXT_TOO_LONG,
                                            OUTCOME_TOO_LARGE,
                                            OUTCOME_CLIENT_ERROR,
                                            OUTCOME_UNSUPPORTED};
    (void)state;
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        bool want = true;
        for (size_t k = 0; k < sizeof innocent / sizeof *innocent; k++) {
            want = want && i != (int)innocent[k];
        }
        assert_int_equal(outcome_blames_target((enum outcome)i), want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_classes),
        cmocka_unit_test(test_gateway_status),
        cmocka_unit_test(test_blame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
