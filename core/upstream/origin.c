/* SPDX-License-Identifier: MIT */
#include "upstream/origin.h"

#include <arpa/inet.h>

#define PORT_PLAIN 80
#define PORT_TLS 443

static bool plain_byte(unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>';
}

static bool name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static bool is_name(struct str host) {
    for (size_t i = 0; i < host.n; i++) {
        if (!name_byte(host.p[i])) {
            return false;
        }
    }
    return host.n > 0 && host.n <= MAX_HOST_NAME;
}

/* A host without its brackets. */
static bool read_host(struct origin *o, struct str host, bool six) {
    struct in_addr v4 = {htonl(INADDR_LOOPBACK)};
    struct in6_addr v6;
    char text[MAX_HOST_NAME + 1];
    o->host = host;
    if (!six && str_case_is(host, "localhost")) {
        addresses_add(&o->numeric, AF_INET, &v4);
        addresses_add(&o->numeric, AF_INET6, &in6addr_loopback);
        return true;
    }
    if (host.n == 0 || host.n > MAX_HOST_NAME) {
        return false;
    }
    str_copy(text, sizeof(text), host);
    if (six && inet_pton(AF_INET6, text, &v6) == 1) {
        addresses_add(&o->numeric, AF_INET6, &v6);
    } else if (!six && inet_pton(AF_INET, text, &v4) == 1) {
        addresses_add(&o->numeric, AF_INET, &v4);
    } else {
        return !six && is_name(host);
    }
    return true;
}

static bool read_port(struct str digits, unsigned *port) {
    unsigned long long n;
    if (digits.n == 0) {
        return true;
    }
    if (digits.p[0] != ':') {
        return false;
    }
    digits = str_make(digits.p + 1, digits.n - 1);
    if (digits.n == 0) {
        return true;
    }
    if (digits.n > 5 || !str_to_u64(digits, &n) || n == 0 || n > 65535) {
        return false;
    }
    *port = (unsigned)n;
    return true;
}

/* "host", "host:8000", "[::1]:8000". */
static bool read_authority(struct origin *o, struct str a) {
    unsigned standard = o->tls ? PORT_TLS : PORT_PLAIN;
    bool six = a.n > 0 && a.p[0] == '[';
    const char *close = six ? memchr(a.p, ']', a.n) : NULL;
    const char *colon = six || a.n == 0 ? NULL : memchr(a.p, ':', a.n);
    size_t end = close ? (size_t)(close + 1 - a.p) : colon ? (size_t)(colon - a.p) : a.n;
    o->port = standard;
    if ((six && !close) || !read_port(str_make(a.p + end, a.n - end), &o->port)) {
        return false;
    }
    o->authority = str_make(a.p, o->port == standard ? end : a.n);
    return read_host(o, six ? str_make(a.p + 1, end - 2) : str_make(a.p, end), six);
}

bool origin_parse(const char *url, struct origin *o) {
    struct str rest = str_of(url);
    size_t end = 0;
    o->numeric.n = 0;
    o->tls = str_starts(rest, "https://");
    if (!o->tls && !str_starts(rest, "http://")) {
        return false;
    }
    size_t scheme = o->tls ? 8 : 7;
    rest = str_make(rest.p + scheme, rest.n - scheme);
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?') {
        end++;
    }
    for (size_t i = 0; i < rest.n; i++) {
        if (!plain_byte((unsigned char)rest.p[i])) {
            return false;
        }
    }
    o->path = str_make(rest.p + end, rest.n - end);
    o->prefix = o->path.n == 0 || o->path.p[0] != '/' ? "/" : "";
    return read_authority(o, str_make(rest.p, end));
}
