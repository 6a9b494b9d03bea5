/* SPDX-License-Identifier: MIT */
/*
 * See answer.h. The rules are RFC 9112's for a recipient that cannot afford to guess: what is
 * ambiguous is refused.
 */
#include "upstream/answer.h"

#include "base/limits.h"

void answer_init(struct answer *a) {
    memset(a, 0, sizeof *a);
    headers_init(&a->headers, MAX_HEADERS, MAX_ANSWER_HEAD);
}

void answer_release(struct answer *a) {
    headers_release(&a->headers);
}

void answer_reset(struct answer *a) {
    a->phase = ANSWER_STATUS_LINE;
    a->status = 0;
    a->minor = 0;
    a->bytes = 0;
    a->fault = NULL;
    headers_clear(&a->headers);
}

static enum answer_result bad(struct answer *a, const char *fault) {
    a->fault = fault;
    return ANSWER_BAD;
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

static enum answer_result status_line(struct answer *a, struct str line) {
    if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 ||
        (line.p[7] != '0' && line.p[7] != '1') || line.p[8] != ' ') {
        return bad(a, "the status line is not HTTP/1.0 or 1.1");
    }
    if (!digit(line.p[9]) || !digit(line.p[10]) || !digit(line.p[11]) ||
        (line.n > 12 && line.p[12] != ' ')) {
        return bad(a, "the status is no number of three digits");
    }
    if (!header_value_ok(str_make(line.p + 12, line.n - 12))) {
        return bad(a, "the status line has control bytes in it");
    }
    a->minor = line.p[7] - '0';
    a->status = (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0');
    if (a->status < 100 || a->status == 101 || a->status > 599) {
        return bad(a, "the status is none that a request can be answered with");
    }
    a->phase = ANSWER_FIELDS;
    return ANSWER_MORE;
}

static enum answer_result field(struct answer *a, struct str line) {
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon) {
        return bad(a, "a header line has no colon");
    }
    struct str name = str_make(line.p, (size_t)(colon - line.p));
    struct str value = str_trim(str_make(colon + 1, line.n - name.n - 1));
    if (!header_name_ok(name)) {
        return bad(a, "a header name is no token");
    }
    if (!header_value_ok(value)) {
        return bad(a, "a header value has control bytes in it");
    }
    if (headers_add(&a->headers, name, value) != 0) {
        return bad(a, "too many header fields");
    }
    return ANSWER_MORE;
}

static enum answer_result end_of_head(struct answer *a) {
    struct str length, coding;
    unsigned long long n;
    bool has_length = headers_get(&a->headers, "Content-Length", &length);
    bool has_coding = headers_get(&a->headers, "Transfer-Encoding", &coding);
    if (has_length && has_coding) {
        return bad(a, "both Content-Length and Transfer-Encoding");
    }
    if (has_length && headers_count(&a->headers, "Content-Length") > 1) {
        return bad(a, "more than one Content-Length");
    }
    if (has_length && !str_to_u64(length, &n)) {
        return bad(a, "Content-Length is no plain number");
    }
    if (has_coding && (headers_count(&a->headers, "Transfer-Encoding") > 1 ||
                       !str_case_is(coding, "chunked") || a->minor == 0)) {
        return bad(a, "Transfer-Encoding is not a single chunked");
    }
    if (a->status < 200 && (has_length || has_coding)) {
        return bad(a, "an interim answer that announces a body");
    }
    if (a->status < 200) {
        headers_clear(&a->headers);
        a->phase = ANSWER_STATUS_LINE;
        return ANSWER_MORE;
    }
    a->phase = ANSWER_BODY;
    return ANSWER_HEAD;
}

enum answer_result answer_line(struct answer *a, struct str line) {
    if (a->phase == ANSWER_BODY) {
        return ANSWER_MORE;
    }
    a->bytes += line.n;
    if (a->bytes > MAX_ANSWER_HEAD) {
        return bad(a, "the head is too long");
    }
    if (!str_ends(line, "\r\n")) {
        return bad(a, "a line of the head does not end with CRLF");
    }
    line.n -= 2;
    if (a->phase == ANSWER_STATUS_LINE) {
        return status_line(a, line);
    }
    return line.n == 0 ? end_of_head(a) : field(a, line);
}
