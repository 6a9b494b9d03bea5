/* SPDX-License-Identifier: MIT */
/* Log lines from many threads: whole, in each thread's order, written before the file is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "../support/config_files.h"
#include "base/buf.h"
#include "gateway/logfile.h"

#define WRITERS 4
#define LINES 500

struct writer {
    struct logfile *file;
    int number;
};

static void *write_lines(void *arg) {
    struct writer *w = arg;
    char line[64];
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof(line), "%d %d", w->number, i);
        logfile_line(w->file, line, (size_t)n);
    }
    return NULL;
}

static void many_writers(void **state) {
    /* Goal: nothing is lost, torn or reordered, and all is in the file when close returns. */
    char *path = folder_path(*state, "access.log");
    struct logfile *file = logfile_open(path, NULL);
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    int next[WRITERS] = {0}, who, n, total = 0;
    assert_non_null(file);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){file, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(logfile_dropped(file), 0);
    logfile_close(file);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    while (fscanf(in, "%d %d\n", &who, &n) == 2) {
        assert_in_range(who, 0, WRITERS - 1);
        assert_int_equal(n, next[who]++);
        total++;
    }
    assert_true(feof(in));
    assert_int_equal(total, WRITERS * LINES);
    fclose(in);
    free(path);
}

static void appends(void **state) {
    /* Goal: what is in the file stays; nobody else may read it but the group. */
    char *path = folder_path(*state, "access.log"), text[64] = "";
    struct stat st;
    mode_t mask = umask(0);
    for (int i = 0; i < 2; i++) {
        struct logfile *file = logfile_open(path, NULL);
        assert_non_null(file);
        logfile_line(file, i ? "second" : "first", i ? 6 : 5);
        logfile_close(file);
    }
    umask(mask);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text) - 1), 13);
    assert_string_equal(text, "first\nsecond\n");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    close(fd);
    free(path);
}

static void cannot_open(void **state) {
    /* Goal: a file that cannot be opened is an error that names it. */
    char *path = folder_path(*state, "no/such/folder.log");
    struct err err = {""};
    assert_null(logfile_open(path, &err));
    assert_non_null(strstr(err.text, path));
    logfile_close(NULL);
    assert_int_equal(logfile_dropped(NULL), 0);
    free(path);
}

static void full(void **state) {
    /* Goal: lines that find no room are dropped whole and counted; the writer never waits. */
    char *path = folder_path(*state, "pipe");
    static char line[65536];
    memset(line, 'x', sizeof(line));
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK); /* reads nothing for now */
    struct logfile *file = logfile_open(path, NULL);
    assert_non_null(file);
    size_t given = 3 * MAX_LOG_WAITING / sizeof(line);
    for (size_t i = 0; i < given; i++) {
        logfile_line(file, line, sizeof(line));
    }
    unsigned long dropped = logfile_dropped(file);
    assert_true(dropped > 0);
    assert_true(dropped < given);
    close(reader); /* the pipe breaks: closing does not hang, and what was lost is counted */
    logfile_close(file);
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(many_writers), TEST(appends), TEST(cannot_open),
                                       TEST(full)};
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
