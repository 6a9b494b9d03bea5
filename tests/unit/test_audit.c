/* SPDX-License-Identifier: MIT */
/* The audit log: one JSON line for each change, no secret in it, never larger than allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/config_files.h"
#include "base/file.h"
#include "base/jscan.h"
#include "gateway/audit.h"

struct lines {
    struct buf text;
};

static void keep_line(void *ctx, enum log_level level, const char *line) {
    struct lines *lines = ctx;
    assert_int_equal(buf_addf(&lines->text, "%s: %s\n", log_level_name(level), line), BUF_OK);
}

static void read_into(const struct folder *f, const char *name, struct buf *out) {
    struct err err = {""};
    char *path = folder_path(f, name);
    buf_init(out, MIB(32));
    assert_int_equal(file_read(path, out, &err), 1);
    free(path);
}

static const struct audit_entry CHANGE = {.who = "admin 127.0.0.1:5000",
                                          .why = "say \"why\"",
                                          .action = "settings",
                                          .object = "chat",
                                          .before = "{\"a\":1}",
                                          .after = "{\"a\":\"the-secret-of-p\"}",
                                          .result = "applied",
                                          .generation = 7};

static void lines_in_the_file(void **state) {
    /* Goal: every entry is a line of JSON with all its fields; absent ones are null; secrets are
     * masked; nobody else may read the file. */
    const struct folder *f = *state;
    char *secrets[] = {(char *)"the-secret-of-p", NULL};
    struct config config = {.secrets = secrets};
    struct lines lines;
    struct log log;
    struct audit a;
    struct buf text;
    struct stat st;
    buf_init(&lines.text, KIB(64));
    log_init(&log, keep_line, &lines, LOG_LEVEL_INFO);
    char *dir = folder_path(f, "state");
    assert_int_equal(audit_init(&a, &log), 0);
    assert_int_equal(audit_open(&a, dir), 0);
    audit_write(&a, &config, &CHANGE);
    audit_write(&a, NULL, &(struct audit_entry){.action = "start", .result = "applied"});
    read_into(f, "state/audit.log", &text);
    struct str rest = buf_str(&text), line;
    assert_true(str_split(&rest, '\n', &line));
    assert_int_equal(jscan_check(line, NULL), JSCAN_OK);
    assert_true(str_has(line,
                        "\"who\":\"admin 127.0.0.1:5000\",\"why\":\"say \\\"why\\\"\","
                        "\"action\":\"settings\",\"object\":\"chat\",\"before\":{\"a\":1},"
                        "\"after\":{\"a\":\"***\"},\"result\":\"applied\",\"generation\":7}"));
    assert_true(str_starts(line, "{\"time\":\"20"));
    assert_true(str_split(&rest, '\n', &line));
    assert_int_equal(jscan_check(line, NULL), JSCAN_OK);
    assert_true(str_has(line, "\"who\":null,\"why\":null,\"action\":\"start\",\"object\":null"));
    char *path = folder_path(f, "state/audit.log");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(lines.text.len, 0);
    free(path);
    free(dir);
    buf_release(&text);
    buf_release(&lines.text);
    audit_release(&a);
}

static void awkward_secrets(void **state) {
    /* Goal: a secret that JSON escapes is masked like any other, in texts, names and values. */
    char *secrets[] = {(char *)"say\"it\\so", (char *)"l\303\266\303\266\303\266t\n1", NULL};
    struct config config = {.secrets = secrets};
    struct lines lines;
    struct log log;
    struct audit a;
    (void)state;
    buf_init(&lines.text, KIB(64));
    log_init(&log, keep_line, &lines, LOG_LEVEL_INFO);
    assert_int_equal(audit_init(&a, &log), 0);
    audit_write(
        &a, &config,
        &(struct audit_entry){.why = "because of say\"it\\so",
                              .action = "settings",
                              .before = "{\"a\":[\"say\\\"it\\\\so\",{\"say\\\"it\\u005cso\":1}]}",
                              .after = "{\"a\":\"l\\u00f6\\u00f6\\u00f6t\\n1!\"}",
                              .result = "applied"});
    assert_non_null(strstr(lines.text.data, "\"why\":\"because of ***\","));
    assert_non_null(strstr(lines.text.data,
                           "\"before\":{\"a\":[\"***\",{\"***\":1}]},\"after\":{\"a\":\"***!\"}"));
    buf_release(&lines.text);
    audit_release(&a);
}

static void without_a_folder(void **state) {
    /* Goal: without state_dir, or when the file cannot be written, entries go to the log; the
     * failure is told once. */
    const struct folder *f = *state;
    struct lines lines;
    struct log log;
    struct audit a;
    buf_init(&lines.text, KIB(64));
    log_init(&log, keep_line, &lines, LOG_LEVEL_INFO);
    assert_int_equal(audit_init(&a, &log), 0);
    assert_int_equal(audit_open(&a, NULL), 0);
    audit_write(&a, NULL, &CHANGE);
    assert_non_null(strstr(lines.text.data, "info: audit: {\"time\":"));
    buf_clear(&lines.text);
    folder_write(f, "file", "");
    char *dir = folder_path(f, "file");
    assert_int_equal(audit_open(&a, dir), 0);
    audit_write(&a, NULL, &CHANGE);
    audit_write(&a, NULL, &CHANGE);
    const char *told = strstr(lines.text.data, "cannot be written");
    assert_non_null(told);
    assert_null(strstr(told + 1, "cannot be written"));
    assert_non_null(strstr(told, "audit: {"));
    free(dir);
    buf_release(&lines.text);
    audit_release(&a);
}

static void rotation(void **state) {
    /* Goal: the file never passes its maximum; the one before is kept; entries are whole. */
    const struct folder *f = *state;
    struct log log;
    struct audit a;
    struct buf now, old;
    struct stat st;
    log_init(&log, NULL, NULL, LOG_LEVEL_INFO);
    assert_int_equal(audit_init(&a, &log), 0);
    assert_int_equal(audit_open(&a, f->path), 0);
    audit_write(&a, NULL, &CHANGE);
    char *path = folder_path(f, "audit.log");
    assert_int_equal(truncate(path, (off_t)MAX_AUDIT_FILE - 10), 0);
    audit_write(&a, NULL, &CHANGE);
    assert_int_equal(stat(path, &st), 0);
    assert_true((size_t)st.st_size < KIB(1));
    read_into(f, "audit.log", &now);
    read_into(f, "audit.log.1", &old);
    assert_int_equal(old.len, MAX_AUDIT_FILE - 10);
    assert_int_equal(jscan_check(str_trim(str_make(now.data, now.len - 1)), NULL), JSCAN_OK);
    free(path);
    buf_release(&now);
    buf_release(&old);
    audit_release(&a);
}

static void long_entries(void **state) {
    /* Goal: settings too long for a line are told by their size; the line stays JSON. */
    const struct folder *f = *state;
    struct log log;
    struct audit a;
    struct buf text;
    struct audit_entry entry = CHANGE;
    char *big = malloc(MAX_AUDIT_LINE);
    memset(big, '1', MAX_AUDIT_LINE);
    big[MAX_AUDIT_LINE - 1] = '\0';
    entry.before = big;
    log_init(&log, NULL, NULL, LOG_LEVEL_INFO);
    assert_int_equal(audit_init(&a, &log), 0);
    assert_int_equal(audit_open(&a, f->path), 0);
    audit_write(&a, NULL, &entry);
    read_into(f, "audit.log", &text);
    assert_int_equal(jscan_check(buf_str(&text), NULL), JSCAN_OK);
    assert_non_null(strstr(text.data, "\"before\":\"(65535 bytes)\""));
    free(big);
    buf_release(&text);
    audit_release(&a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(lines_in_the_file), TEST(without_a_folder),
                                       TEST(rotation), TEST(long_entries),
                                       cmocka_unit_test(awkward_secrets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
