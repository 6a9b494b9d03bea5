/* SPDX-License-Identifier: MIT */
/*
 * Writing answer heads. Whatever is given here, no field can break out of its line.
 */
#include "net/http.h"

const char *http_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

int http_write_status(struct buf *out, int status) {
    int code = status >= 100 && status <= 999 ? status : 500;
    int bad = buf_adds(out, "HTTP/1.1 ") | buf_addn(out, (unsigned)code) | buf_addc(out, ' ') |
              buf_adds(out, http_reason(code)) | buf_add(out, "\r\n", 2);
    return bad ? -1 : 0;
}

int http_write_field(struct buf *out, struct str name, struct str value) {
    if (!header_name_ok(name) || !header_value_ok(value)) {
        return 0;
    }
    if (buf_reserve(out, name.n + value.n + 4) != BUF_OK) {
        return -1;
    }
    if (buf_add_str(out, name) != BUF_OK || buf_add(out, ": ", 2) != BUF_OK ||
        buf_add_str(out, value) != BUF_OK || buf_add(out, "\r\n", 2) != BUF_OK) {
        return -1;
    }
    return 0;
}

int http_write_head(struct buf *out, int status, const struct headers *headers) {
    size_t at = out->len;
    int r = http_write_status(out, status);
    for (size_t i = 0; r == 0 && i < headers->n; i++) {
        struct header f = headers_at(headers, i);
        r = http_write_field(out, f.name, f.value);
    }
    if (r == 0 && buf_add(out, "\r\n", 2) == BUF_OK) {
        return 0;
    }
    buf_truncate(out, at);
    return -1;
}
