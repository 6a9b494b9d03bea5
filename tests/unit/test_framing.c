/* SPDX-License-Identifier: MIT */
/*
 * The table of framing attacks (tests/support/framing.txt) against a connection without a socket:
 * every row in one piece, split at every byte, byte by byte, and with answers that come late. What
 * was understood, what was answered and whether the connection closed must be the table's each
 * time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../support/rig.h"

#define TABLE "tests/support/framing.txt"
#define LAST "GET /v1/last HTTP/1.1\r\nHost: h\r\n\r\n"
#define TURNS 8

/* ---- the table ---- */

struct row {
    char name[80];
    char expected[32];  /* "400 close" */
    struct buf saw;     /* "GET /v1/x body\n" for each request */
    struct buf bytes;   /* LAST is behind them */
    struct buf answers; /* found: "400 close" */
};

static int hex(char c) {
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static char escaped(struct str *text) {
    char c = text->p[1];
    size_t used = 2;
    if (c == 'x') {
        c = (char)(hex(text->p[2]) * 16 + hex(text->p[3]));
        used = 4;
    } else {
        static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
        assert_non_null(strchr(from, c));
        c = to[strchr(from, c) - from];
    }
    *text = str_make(text->p + used, text->n - used);
    return c;
}

static const char *macro(char name) {
    switch (name) {
    case 'P':
        return "POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n";
    case 'G':
        return "GET /v1/x HTTP/1.1\r\nHost: h\r\n";
    case 'C':
        return "POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
               "Transfer-Encoding: chunked\r\n\r\n";
    case 'S':
        return "GET /v1/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    default:
        fail_msg("$%c is unknown", name);
    }
    return "";
}

static void expand(struct buf *out, struct str text) {
    while (text.n) {
        if (text.p[0] == '\\') {
            assert_int_equal(buf_addc(out, escaped(&text)), BUF_OK);
        } else if (text.p[0] == '$') {
            assert_int_equal(buf_adds(out, macro(text.p[1])), BUF_OK);
            text = str_make(text.p + 2, text.n - 2);
        } else {
            assert_int_equal(buf_addc(out, text.p[0]), BUF_OK);
            text = str_make(text.p + 1, text.n - 1);
        }
    }
}

/* The part before " | ". */
static struct str column(struct str *rest) {
    const char *end = memmem(rest->p, rest->n, " | ", 3);
    assert_non_null(end);
    struct str part = str_make(rest->p, (size_t)(end - rest->p));
    *rest = str_make(end + 3, rest->n - part.n - 3);
    return part;
}

static void read_row(struct row *row, struct str line) {
    buf_init(&row->saw, KIB(4));
    buf_init(&row->bytes, KIB(4));
    buf_init(&row->answers, 100);
    str_copy(row->name, sizeof(row->name), column(&line));
    str_copy(row->expected, sizeof(row->expected), column(&line));
    struct str saw = column(&line), one;
    while (!str_is(saw, "-") && str_split(&saw, ';', &one)) {
        expand(&row->saw, str_trim(one));
        assert_int_equal(buf_addc(&row->saw, '\n'), BUF_OK);
    }
    expand(&row->bytes, line);
    assert_int_equal(buf_adds(&row->bytes, LAST), BUF_OK);
    if (str_ends(str_of(row->expected), " keep")) {
        assert_int_equal(buf_adds(&row->saw, "GET /v1/last\n"), BUF_OK);
    }
}

static void release_row(struct row *row) {
    buf_release(&row->saw);
    buf_release(&row->bytes);
    buf_release(&row->answers);
}

/* ---- what comes of it ---- */

static void answer_now(struct rig *rig, struct http_request *request) {
    (void)request;
    rig_answer(rig, 200, "ok");
}

static void check_seen(const struct row *row, const struct rig *rig, const char *how) {
    struct buf seen;
    buf_init(&seen, KIB(8));
    for (size_t i = 0; i < rig->n_requests; i++) {
        const struct http_request *r = rig->requests[i];
        assert_int_equal(buf_add_str(&seen, r->method), BUF_OK);
        assert_int_equal(buf_addf(&seen, " %s", r->target.p), BUF_OK);
        if (r->body.len) {
            assert_int_equal(buf_addf(&seen, " %s", r->body.data), BUF_OK);
        }
        assert_int_equal(buf_addc(&seen, '\n'), BUF_OK);
    }
    if (!str_eq(buf_str(&seen), buf_str(&row->saw))) {
        fail_msg("%s, %s: understood\n%s\nexpected\n%s", row->name, how, buf_str(&seen).p,
                 buf_str(&row->saw).p);
    }
    buf_release(&seen);
}

/* One answer of `text`: its status. *text moves behind it. */
static int take_answer(struct str *text, bool head) {
    const char *end = memmem(text->p, text->n, "\r\n\r\n", 4);
    assert_non_null(end);
    const char *length = memmem(text->p, (size_t)(end - text->p), "Content-Length: ", 16);
    size_t used = (size_t)(end - text->p) + 4;
    int status = atoi(text->p + strlen("HTTP/1.1 "));
    if (status >= 200 && !head) {
        assert_non_null(length);
        used += (size_t)atoi(length + 16);
    }
    assert_true(used <= text->n);
    *text = str_make(text->p + used, text->n - used);
    return status;
}

/* The answer to LAST is not told: `keep` says that it is there. */
static void check_answers(struct row *row, const struct rig *rig, const char *how) {
    struct str text = buf_str(&rig->got);
    size_t nth = 0;
    buf_clear(&row->answers);
    while (text.n) {
        assert_true(str_starts(text, "HTTP/1.1 "));
        bool head = nth < rig->n_requests && str_is(rig->requests[nth]->method, "HEAD");
        bool last = nth < rig->n_requests && str_is(rig->requests[nth]->target, "/v1/last");
        int status = take_answer(&text, head);
        nth += status >= 200;
        if (status >= 200 && !last) {
            assert_int_equal(buf_addf(&row->answers, "%d ", status), BUF_OK);
        }
    }
    assert_int_equal(buf_adds(&row->answers, rig->conn ? "keep" : "close"), BUF_OK);
    if (strcmp(row->answers.data, row->expected) != 0) {
        fail_msg("%s, %s: %s, expected %s", row->name, how, row->answers.data, row->expected);
    }
}

static void settle(struct rig *rig, bool late) {
    size_t answered = 0;
    for (int i = 0; i < TURNS; i++) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
        if (late && rig->conn && answered < rig->n_requests) {
            rig_answer(rig, 200, "ok");
            answered++;
        }
    }
}

/* The first portion has `first` bytes, the others `step`. */
static void play(struct row *row, size_t first, size_t step, bool late) {
    char how[80];
    struct rig *rig = rig_bare();
    size_t n = row->bytes.len;
    rig->on_request = late ? NULL : answer_now;
    rig_attach(rig, -1);
    for (size_t at = 0, portion = first; at < n && rig->conn; at += portion, portion = step) {
        portion = portion < n - at ? portion : n - at;
        char *copy = malloc(portion); /* of its own, so that one byte beyond is noticed */
        assert_non_null(copy);
        memcpy(copy, row->bytes.data + at, portion);
        conn_feed(rig->conn, copy, portion);
        free(copy);
    }
    settle(rig, late);
    snprintf(how, sizeof(how), "%zu bytes, then every %zu%s", first, step, late ? ", late" : "");
    check_answers(row, rig, how);
    check_seen(row, rig, how);
    rig_free(rig);
}

static void check_row(struct row *row) {
    size_t n = row->bytes.len;
    for (size_t cut = 1; cut <= n; cut++) {
        play(row, cut, n, false);
    }
    play(row, 1, 1, false);
    play(row, n, n, true);
    play(row, 1, 1, true);
}

/* Goal: no row of the table makes a connection read a request that is none, however it arrives. */
static void test_table(void **state) {
    (void)state;
    char *line = NULL;
    size_t size = 0, rows = 0;
    FILE *f = fopen(TABLE, "r");
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &size, f)) > 0;) {
        struct row row;
        if (line[0] == '#' || n <= 1) {
            continue;
        }
        read_row(&row, str_make(line, (size_t)n - 1));
        check_row(&row);
        release_row(&row);
        rows++;
    }
    assert_true(rows > 200);
    free(line);
    (void)fclose(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
