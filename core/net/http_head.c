/* SPDX-License-Identifier: MIT */
/*
 * Reading a request head (RFC 9112 sections 2 to 6, as strict as it allows). Two steps: the end of
 * the head is looked for line by line, which finds bare LFs and passed limits at once; when it is
 * there, the lines are parsed. Holds nothing between calls but the caller's *scanned. It never
 * guesses: what could be read in two ways is refused, since a proxy that guesses is how requests
 * are smuggled.
 */
#include "net/http.h"

static int refused(struct err *err, int status, const char *text) {
    err_set(err, "%s", text);
    return -status;
}

/* Byte i of the path as a receiver may understand it: an encoded dot or slash is one. */
static char path_char(struct str path, size_t *i) {
    char c = path.p[(*i)++];
    if (c != '%' || path.n - *i < 2) {
        return c;
    }
    char high = path.p[*i];
    char low = (char)(path.p[*i + 1] | 0x20);
    char plain = 0;
    if (high == '2' && low == 'e') {
        plain = '.';
    }
    if ((high == '2' && low == 'f') || (high == '5' && low == 'c')) {
        plain = '/';
    }
    if (!plain) {
        return c;
    }
    *i += 2;
    return plain;
}

static bool has_dot_segment(struct str path) {
    size_t length = 0, dots = 0;
    for (size_t i = 0; i < path.n;) {
        char c = path_char(path, &i);
        if (c == '/') {
            if (length == dots && (dots == 1 || dots == 2)) {
                return true;
            }
            length = dots = 0;
            continue;
        }
        length++;
        dots += c == '.';
    }
    return length == dots && (dots == 1 || dots == 2);
}

static bool host_ok(struct str host) {
    for (size_t i = 0; i < host.n; i++) {
        unsigned char c = (unsigned char)host.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/@?#,\\\"<>", c)) {
            return false;
        }
    }
    return true;
}

/* "http://host/path" becomes "/path" and its host. False when it is no absolute form. */
static bool reduce_absolute(struct str *target, struct str *authority) {
    size_t scheme = 0;
    if (target->n >= 7 && str_case_eq(str_make(target->p, 7), STR("http://"))) {
        scheme = 7;
    }
    if (target->n >= 8 && str_case_eq(str_make(target->p, 8), STR("https://"))) {
        scheme = 8;
    }
    if (!scheme) {
        return false;
    }
    size_t end = scheme;
    while (end < target->n && target->p[end] != '/' && target->p[end] != '?') {
        end++;
    }
    *authority = str_make(target->p + scheme, end - scheme);
    *target = str_make(target->p + end, target->n - end);
    if (target->n == 0) {
        *target = STR("/");
    }
    return true;
}

static int read_target(struct str target, struct http_head *head, struct str *authority,
                       struct err *err) {
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '\\') {
            return refused(err, 400, "request line: the target holds a byte that no URI may hold");
        }
        if (c == '#') {
            return refused(err, 400,
                           "request line: the target holds a fragment ('#'), which is never sent");
        }
    }
    *authority = (struct str){0};
    if (str_is(target, "*") && str_is(head->method, "OPTIONS")) {
        head->target = head->path = target;
        return 0;
    }
    if (target.n > 0 && target.p[0] != '/' && reduce_absolute(&target, authority) &&
        (authority->n == 0 || !host_ok(*authority))) {
        return refused(err, 400, "request line: the target's host is empty or malformed");
    }
    if (target.n == 0 || target.p[0] != '/') {
        return refused(err, 400, "request line: the target must begin with '/'");
    }
    head->target = target;
    const char *mark = memchr(target.p, '?', target.n);
    size_t path = mark ? (size_t)(mark - target.p) : target.n;
    head->path = str_make(target.p, path);
    if (mark) {
        head->query = str_make(mark + 1, target.n - path - 1);
    }
    if (has_dot_segment(head->path)) {
        return refused(err, 400,
                       "request line: the path has a '.' or '..' segment; send it resolved");
    }
    return 0;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* 0, or minus a status. */
static int read_version(struct str v, struct http_head *head, struct err *err) {
    if (v.n != 8 || !str_starts(v, "HTTP/") || !is_digit(v.p[5]) || v.p[6] != '.' ||
        !is_digit(v.p[7])) {
        return refused(err, 400,
                       "request line: expected \"METHOD target HTTP/1.1\", one space between each");
    }
    if (v.p[5] != '1' || v.p[7] > '1') {
        return refused(err, 505, "request line: only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    head->minor = v.p[7] - '0';
    return 0;
}

static int read_request_line(struct str line, struct http_head *head, struct str *authority,
                             struct err *err) {
    const char *end = line.p + line.n;
    const char *first = memchr(line.p, ' ', line.n);
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second) {
        return refused(err, 400,
                       "request line: expected \"METHOD target HTTP/1.1\", one space between each");
    }
    head->method = str_make(line.p, (size_t)(first - line.p));
    if (!header_name_ok(head->method)) {
        return refused(err, 400, "request line: the method is not a token");
    }
    int r = read_version(str_make(second + 1, (size_t)(end - second - 1)), head, err);
    if (r != 0) {
        return r;
    }
    if (str_is(head->method, "CONNECT")) {
        return refused(err, 501, "CONNECT is not offered here");
    }
    if (str_is(head->method, "TRACE")) { /* a provider would show its credential to the client */
        return refused(err, 501, "TRACE is not offered here");
    }
    return read_target(str_make(first + 1, (size_t)(second - first - 1)), head, authority, err);
}

/* "Content_Length": a field of its own to us, but some servers take '_' for '-'. */
static bool framing_disguised(struct str name) {
    char plain[sizeof("transfer-encoding")];
    if (name.n >= sizeof(plain) || !memchr(name.p, '_', name.n)) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        plain[i] = name.p[i];
        if (plain[i] == '_') {
            plain[i] = '-';
        }
    }
    struct str undone = str_make(plain, name.n);
    return str_case_is(undone, "content-length") || str_case_is(undone, "transfer-encoding");
}

static int read_field(struct str line, size_t nth, struct headers *headers, struct err *err) {
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        err_set(err, "header field %zu begins with a space: folded lines are not allowed", nth);
        return -400;
    }
    const char *colon = memchr(line.p, ':', line.n);
    struct str name = str_make(line.p, colon ? (size_t)(colon - line.p) : 0);
    if (!header_name_ok(name)) {
        err_set(err, "header field %zu: expected a name followed at once by ':'", nth);
        return -400;
    }
    if (framing_disguised(name)) {
        return refused(err, 400, "a field of framing is spelt with '_'; expected '-'");
    }
    struct str value = str_trim(str_make(colon + 1, line.n - name.n - 1));
    if (!header_value_ok(value)) {
        err_set(err, "header field %zu (%.*s): the value holds a control character", nth,
                (int)(name.n < 64 ? name.n : 64), name.p);
        return -400;
    }
    if (headers->n >= MAX_HEADERS || headers->n >= headers->max) {
        err_set(err, "more than %d header fields", MAX_HEADERS);
        return -431;
    }
    if (name.n + value.n > headers->text.max - headers->text.len) {
        return refused(err, 431, "the header fields are too long");
    }
    if (headers_add(headers, name, value) != 0) {
        return refused(err, 500, "memory is short");
    }
    return 0;
}

/* The lines from data to end, each ended by CRLF (checked before). */
static int read_fields(const char *data, const char *end, struct headers *headers,
                       struct err *err) {
    for (size_t nth = 1; data < end; nth++) {
        const char *lf = memchr(data, '\n', (size_t)(end - data));
        int r = read_field(str_make(data, (size_t)(lf - 1 - data)), nth, headers, err);
        if (r != 0) {
            return r;
        }
        data = lf + 1;
    }
    return 0;
}

static int read_host(const struct http_head *head, struct str authority, struct headers *headers,
                     struct err *err) {
    size_t hosts = headers_count(headers, "host");
    struct str host;
    if (hosts > 1) {
        return refused(err, 400, "Host stands more than once");
    }
    if (hosts == 0 && head->minor >= 1) {
        return refused(err, 400, "Host is missing");
    }
    if (headers_get(headers, "host", &host) && !host_ok(host)) {
        return refused(err, 400, "Host is malformed");
    }
    if (authority.n > 0 && headers_set(headers, STR("Host"), authority) != 0) {
        return refused(err, 431, "the header fields are too long");
    }
    return 0;
}

static int read_length(struct str value, struct http_head *head, struct err *err) {
    bool digits = value.n > 0;
    for (size_t i = 0; i < value.n; i++) {
        digits = digits && is_digit(value.p[i]);
    }
    if (!digits) {
        return refused(err, 400, "Content-Length: expected one decimal number");
    }
    unsigned long long length;
    if (!str_to_u64(value, &length)) {
        return refused(err, 413, "Content-Length is larger than any body accepted here");
    }
    head->body = length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    head->content_length = length;
    return 0;
}

/* RFC 9112 section 6.3, without its leniencies. */
static int read_framing(struct http_head *head, const struct headers *headers, struct err *err) {
    size_t lengths = headers_count(headers, "content-length");
    size_t codings = headers_count(headers, "transfer-encoding");
    struct str value;
    if (lengths > 1) {
        return refused(err, 400, "Content-Length stands more than once");
    }
    if (lengths && codings) {
        return refused(err, 400, "Content-Length and Transfer-Encoding stand together");
    }
    if (codings && head->minor == 0) {
        return refused(err, 400, "Transfer-Encoding is not part of HTTP/1.0");
    }
    if (headers_get(headers, "transfer-encoding", &value)) {
        if (codings > 1 || !str_case_is(value, "chunked")) {
            return refused(err, 501, "Transfer-Encoding: only a single \"chunked\" is understood");
        }
        head->body = HTTP_BODY_CHUNKED;
    }
    if (headers_get(headers, "content-length", &value)) {
        return read_length(value, head, err);
    }
    return 0;
}

static void read_connection(struct http_head *head, const struct headers *headers) {
    head->keep_alive = head->minor >= 1 || headers_list_has(headers, "connection", "keep-alive");
    if (headers_list_has(headers, "connection", "close")) {
        head->keep_alive = false;
    }
    /* RFC 9110 10.1.1: an expectation in an HTTP/1.0 request is ignored. */
    head->expect_continue = head->minor >= 1 && headers_list_has(headers, "expect", "100-continue");
}

/* How many bytes of empty lines stand in front, at most two lines (RFC 9112 2.2 asks for one). */
static size_t leading_lines(const char *data, size_t n) {
    size_t lead = 0;
    while (lead < 4 && n - lead >= 2 && data[lead] == '\r' && data[lead + 1] == '\n') {
        lead += 2;
    }
    return lead;
}

static int request_line_ok(const char *data, size_t n, struct err *err) {
    struct http_head head = {0};
    struct str authority;
    return read_request_line(str_make(data, n), &head, &authority, err);
}

/* The first CR from `from` on that ends no line: a byte that is no LF follows it. NULL: none. */
static const char *bare_cr(const char *data, size_t from, size_t n) {
    const char *cr = from < n ? memchr(data + from, '\r', n - from) : NULL;
    return cr && (size_t)(cr - data) + 1 < n && cr[1] != '\n' ? cr : NULL;
}

static int check_reached(size_t reached, bool first, struct err *err) {
    if (first && reached > MAX_REQUEST_LINE + 1) {
        return refused(err, 414, "the request line is too long");
    }
    if (reached >= MAX_HEADER_BYTES) {
        return refused(err, 431, "the request head is too long");
    }
    return 0;
}

/* Where the head that begins at `lead` ends (behind its empty line), HTTP_MORE, or minus a status.
 * The request line is checked as soon as it is whole, and a CR that ends no line as soon as it is
 * there, so that whoever speaks something else hears so at once. */
static int find_end(const char *data, size_t n, size_t lead, size_t *scanned, struct err *err) {
    size_t pos = *scanned < lead ? lead : *scanned;
    bool first = memchr(data + lead, '\n', pos - lead) == NULL;
    while (1) {
        const char *lf = pos < n ? memchr(data + pos, '\n', n - pos) : NULL;
        size_t at = lf ? (size_t)(lf - data) : n;
        const char *cr = bare_cr(data, pos > lead ? pos - 1 : pos, lf ? at + 1 : n);
        int r = check_reached((cr ? (size_t)(cr + 1 - data) : at) - lead, first, err);
        if (r != 0) {
            return r;
        }
        if (cr) {
            return refused(err, 400, "request head: a CR ends no line; expected CRLF");
        }
        *scanned = at;
        if (!lf) {
            return HTTP_MORE;
        }
        if (data[at - 1] != '\r') {
            return refused(err, 400, "request head: a line ends with LF alone; expected CRLF");
        }
        if (!first && data[at - 2] == '\n') {
            return (int)(at + 1);
        }
        r = first ? request_line_ok(data + lead, at - 1 - lead, err) : 0;
        if (r != 0) {
            return r;
        }
        first = false;
        pos = *scanned = at + 1;
    }
}

int http_read_head(const char *data, size_t n, size_t *scanned, struct http_head *head,
                   struct headers *headers, struct err *err) {
    headers_clear(headers);
    *head = (struct http_head){0};
    size_t lead = leading_lines(data, n);
    if (lead == n || (lead < 4 && n - lead == 1 && data[lead] == '\r')) {
        return HTTP_MORE;
    }
    if (!header_name_char((unsigned char)data[lead])) {
        return refused(err, 400, "request line: expected a method");
    }
    int end = find_end(data, n, lead, scanned, err);
    if (end <= 0) {
        return end;
    }

    struct str authority;
    const char *lf = memchr(data + lead, '\n', n - lead);
    int r = read_request_line(str_make(data + lead, (size_t)(lf - 1 - data) - lead), head,
                              &authority, err);
    if (r == 0) {
        r = read_fields(lf + 1, data + end - 2, headers, err);
    }
    if (r == 0) {
        r = read_host(head, authority, headers, err);
    }
    if (r == 0) {
        r = read_framing(head, headers, err);
    }
    if (r != 0) {
        return r;
    }
    read_connection(head, headers);
    return end;
}
