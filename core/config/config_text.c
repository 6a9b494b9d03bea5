/* SPDX-License-Identifier: MIT */
/*
 * The rules on single strings. They own nothing and look at nothing but the string.
 */
#include "config/config_text.h"

#include "base/limits.h"

#include <stddef.h>

enum { NAME_MAX_BYTES = 128, PATH_MAX_BYTES = 1024, SHOWN = 60, LONGEST_AUTH = 16 };

/* For "%.*s": strings come from the file and may be long. */
#define SHOW(s) (int)((s).n > SHOWN ? SHOWN : (s).n), (s).p ? (s).p : ""

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all(struct str s, bool (*fits)(char c)) {
    for (size_t i = 0; i < s.n; i++) {
        if (!fits(s.p[i])) {
            return false;
        }
    }
    return s.n > 0;
}

static bool is_name_char(char c) {
    return is_alnum(c) || c == '.' || c == '_' || c == '-';
}

static bool is_printable(char c) {
    return (unsigned char)c >= ' ' && c != 127;
}

static bool is_visible(char c) {
    return c > ' ' && c < 127;
}

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c) {
    return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

int text_name(struct str s, struct err *err) {
    if (!all(s, is_name_char) || s.n > NAME_MAX_BYTES) {
        return err_set(
            err, "expected a name of at most %d letters, digits, '.', '_' and '-', found \"%.*s\"",
            NAME_MAX_BYTES, SHOW(s));
    }
    return 0;
}

int text_policy(struct str s, struct err *err) {
    struct str rest = s;
    struct str part;
    bool good = s.n > 0 && s.n <= NAME_MAX_BYTES;
    while (good && str_split(&rest, '/', &part)) {
        good = all(part, is_name_char) && part.p[0] != '.';
    }
    if (!good || str_ends(s, ".lua")) {
        return err_set(err,
                       "expected the name of a file in policies/, without \".lua\", found \"%.*s\"",
                       SHOW(s));
    }
    return 0;
}

static bool is_dialect_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

int text_dialect(struct str s, struct err *err) {
    if (!all(s, is_dialect_char) || s.n == 0 || s.n > NAME_MAX_BYTES) {
        return err_set(err,
                       "expected the name of a file in lua/dialects/, without \".lua\" (letters "
                       "a to z, digits, '_' and '-'), found \"%.*s\"",
                       SHOW(s));
    }
    return 0;
}

int text_not_empty(struct str s, struct err *err) {
    if (s.n == 0) {
        return err_set(err, "expected some text, found an empty string");
    }
    if (!all(s, is_printable)) {
        return err_set(err, "expected text without control characters");
    }
    return 0;
}

int text_alias(struct str s, struct err *err) {
    if (s.n == 0 || s.n > MAX_TARGET_NAME / 2) {
        return err_set(err, "expected the name of a model, of at most %d bytes",
                       MAX_TARGET_NAME / 2);
    }
    if (memchr(s.p, '*', s.n) || memchr(s.p, '?', s.n)) {
        return err_set(err,
                       "a pattern cannot have targets of its own; expected a name, or the pattern "
                       "as an item of the list, for the targets of the settings");
    }
    return text_not_empty(s, err);
}

int text_secret(struct str s, struct err *err) {
    if (s.n == 0) {
        return err_set(err, "expected a secret, found an empty string");
    }
    if (!all(s, is_visible)) {
        return err_set(
            err, "expected a secret of visible ASCII characters, found one with spaces or others");
    }
    return 0;
}

int text_secret_or_none(struct str s, struct err *err) {
    return s.n == 0 ? 0 : text_secret(s, err);
}

static bool good_port(struct str port) {
    unsigned long long n = 0;
    return str_to_u64(port, &n) && n <= 65535;
}

static bool is_v6_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

/* Cuts "host:port", "[v6]:port" in two; *port has a NULL p when there is no colon. False when the
 * brackets are wrong. */
static bool split_host(struct str s, struct str *host, struct str *port) {
    *port = str_make(NULL, 0);
    if (s.n && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.n);
        if (!close) {
            return false;
        }
        *host = str_make(s.p + 1, (size_t)(close - s.p - 1));
        struct str after = str_make(close + 1, s.n - host->n - 2);
        if (after.n) {
            *port = str_make(after.p + 1, after.n - 1);
        }
        return all(*host, is_v6_char) && memchr(host->p, ':', host->n) &&
               (after.n == 0 || after.p[0] == ':');
    }
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    *host = colon ? str_make(s.p, (size_t)(colon - s.p)) : s;
    if (colon) {
        *port = str_make(colon + 1, s.n - host->n - 1);
    }
    return true;
}

static int bad_url(struct err *err, const char *what) {
    return err_set(err, "expected a URL such as \"https://api.example.com/v1\", found one %s",
                   what);
}

/* Messages do not repeat the URL: one with user information would show a password. */
int text_base_url(struct str s, struct err *err) {
    struct str host;
    struct str port;
    size_t scheme = str_starts(s, "http://") ? 7 : str_starts(s, "https://") ? 8 : 0;
    if (scheme == 0) {
        return bad_url(err, "that does not start with http:// or https://");
    }
    if (!all(s, is_visible) || memchr(s.p, '\\', s.n) || memchr(s.p, '"', s.n)) {
        return bad_url(err, "with characters that do not belong into a URL");
    }
    if (memchr(s.p, '#', s.n)) {
        return bad_url(err, "with a fragment");
    }
    struct str rest = str_make(s.p + scheme, s.n - scheme);
    struct str tail = rest;
    struct str authority;
    (void)str_split(&tail, '?', &authority);
    tail = authority;
    (void)str_split(&tail, '/', &authority);
    if (authority.n && memchr(authority.p, '@', authority.n)) {
        return bad_url(err, "with user information; give the key as api_key");
    }
    if (!split_host(authority, &host, &port) || host.n == 0) {
        return bad_url(err, "without a host");
    }
    bool named = rest.p[0] != '[';
    if (named && !all(host, is_name_char)) {
        return bad_url(err, "whose host has characters that no host name has");
    }
    if (port.p && (!good_port(port) || str_is(port, "0"))) {
        return bad_url(err, "whose port is no number from 1 to 65535");
    }
    return 0;
}

/* Nothing of it is repeated: it may hold a password. */
int text_proxy(struct str s, struct err *err) {
    static const char what[] =
        "expected the URL of a proxy such as \"http://proxy.example.com:3128\" "
        "or \"http://user:password@10.0.0.1:3128\", found one";
    struct str host;
    struct str port;
    if (!str_starts(s, "http://")) {
        return err_set(err, "%s that does not start with http://", what);
    }
    struct str rest = str_make(s.p + 7, s.n - 7);
    const char *at = rest.n ? memrchr(rest.p, '@', rest.n) : NULL;
    size_t skip = at ? (size_t)(at - rest.p) + 1 : 0;
    struct str authority = str_make(rest.p + skip, rest.n - skip);
    authority.n -= str_ends(authority, "/") ? 1 : 0;
    struct str user = str_make(rest.p, skip ? skip - 1 : 0);
    if (str_has(user, "/") || str_has(user, "?") || str_has(user, "#") || str_has(user, "@")) {
        return err_set(err,
                       "%s whose user or password holds a / ? # or @; write it as %%2F %%3F "
                       "%%23 or %%40",
                       what);
    }
    if (!all(s, is_visible) || memchr(s.p, '\\', s.n) || memchr(s.p, '"', s.n)) {
        return err_set(err, "%s with characters that do not belong into a URL", what);
    }
    bool good = split_host(authority, &host, &port) && host.n && port.p && good_port(port) &&
                !str_is(port, "0");
    if (!good || (authority.p[0] != '[' && !all(host, is_name_char))) {
        return err_set(err, "%s without a host and a port", what);
    }
    return 0;
}

int text_file(struct str s, struct err *err) {
    if (str_has(s, "-----BEGIN")) {
        return err_set(err, "expected the path of a PEM file, found what stands in one: leave "
                            "out file()");
    }
    return text_not_empty(s, err);
}

int text_address(struct str s, struct err *err) {
    struct str host;
    struct str port;
    bool good = split_host(s, &host, &port) && port.p && good_port(port);
    if (good && s.p[0] != '[' && host.n) {
        good = all(host, is_name_char);
    }
    if (!good) {
        return err_set(err,
                       "expected an address such as \"127.0.0.1:8080\", \"[::1]:8080\" or "
                       "\":8080\", found \"%.*s\"",
                       SHOW(s));
    }
    return 0;
}

bool address_is_loopback(struct str address) {
    struct str host;
    struct str port;
    if (!split_host(address, &host, &port)) {
        return false;
    }
    if (str_is(host, "::1") || str_case_is(host, "localhost") || str_starts(host, "::ffff:127.")) {
        return true;
    }
    if (!str_starts(host, "127.")) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) { /* 127.example.com is anybody's */
        if (host.p[i] != '.' && (host.p[i] < '0' || host.p[i] > '9')) {
            return false;
        }
    }
    return true;
}

int text_header_name(struct str s, struct err *err) {
    static const char *const ours[] = {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive",
        "te",   "trailer",        "upgrade",           "expect",     "accept-encoding"};
    if (!all(s, is_token_char) || s.n > NAME_MAX_BYTES) {
        return err_set(err, "expected the name of a header, found \"%.*s\"", SHOW(s));
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        if (str_case_is(s, ours[i])) {
            return err_set(err, "the header \"%s\" is set by the gateway itself", ours[i]);
        }
    }
    return 0;
}

static bool is_header_byte(char c) {
    return (unsigned char)c >= ' ' ? c != 127 : c == '\t';
}

int text_header_value(struct str s, struct err *err) {
    if (s.n && !all(s, is_header_byte)) {
        return err_set(err, "expected the value of a header, found one with control characters");
    }
    return 0;
}

static bool is_query_char(char c) {
    return is_name_char(c) || c == '~';
}

int text_auth(struct str s, struct err *err) {
    struct str rest = s;
    struct str kind = s;
    if (str_is(s, "bearer") || str_is(s, "aws") || str_is(s, "passthrough") || str_is(s, "none")) {
        return 0;
    }
    str_split(&rest, ':', &kind);
    if (str_is(kind, "header") && rest.n) {
        return text_header_name(rest, err);
    }
    if (str_is(kind, "query") && all(rest, is_query_char)) {
        return 0;
    }
    /* A long one may well be a key that was meant for api_key. */
    return err_set(err,
                   "expected \"bearer\", \"header:NAME\", \"query:NAME\", \"aws\", \"passthrough\" "
                   "or \"none\", "
                   "found %s%.*s%s",
                   s.n > LONGEST_AUTH ? "another text" : "\"", s.n > LONGEST_AUTH ? 0 : (int)s.n,
                   s.n ? s.p : "", s.n > LONGEST_AUTH ? "" : "\"");
}

enum config_auth auth_parse(struct str auth, struct str *name) {
    struct str kind;
    struct str rest = auth;
    *name = str_make(NULL, 0);
    if (str_is(auth, "bearer")) {
        return AUTH_BEARER;
    }
    if (str_is(auth, "passthrough")) {
        return AUTH_PASSTHROUGH;
    }
    if (str_is(auth, "aws")) {
        return AUTH_AWS;
    }
    if (str_split(&rest, ':', &kind) && rest.n) {
        *name = rest;
        return str_is(kind, "header") ? AUTH_HEADER : AUTH_QUERY;
    }
    return AUTH_NONE;
}

static bool is_path_char(char c) {
    return is_visible(c) && c != '?' && c != '#' && c != '"' && c != '\\';
}

int text_route_path(struct str s, struct err *err) {
    const char *star = s.n ? memchr(s.p, '*', s.n) : NULL;
    if (!str_starts(s, "/") || !all(s, is_path_char) || s.n > PATH_MAX_BYTES ||
        (star && star != s.p + s.n - 1)) {
        return err_set(err,
                       "expected a path such as \"/v1/chat/completions\" or \"/v1/*\" ('*' only at "
                       "the end), found \"%.*s\"",
                       SHOW(s));
    }
    return 0;
}

int text_url_path(struct str s, struct err *err) {
    if (!str_starts(s, "/") || !all(s, is_visible) || memchr(s.p, '#', s.n) ||
        s.n > PATH_MAX_BYTES) {
        return err_set(err, "expected a path such as \"/models\", found \"%.*s\"", SHOW(s));
    }
    return 0;
}

int text_method(struct str s, struct err *err) {
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        if (str_is(s, methods[i])) {
            return 0;
        }
    }
    return err_set(err, "expected GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, found \"%.*s\"",
                   SHOW(s));
}

static bool good_status(struct str s) {
    bool first = s.n == 3 && s.p[0] >= '1' && s.p[0] <= '5';
    bool digits = first && s.p[1] >= '0' && s.p[1] <= '9' && s.p[2] >= '0' && s.p[2] <= '9';
    return digits || (first && s.p[1] == 'x' && s.p[2] == 'x');
}

int text_status(struct str s, struct err *err) {
    struct str rest = s;
    struct str part;
    bool good = s.n > 0 && s.n <= NAME_MAX_BYTES;
    while (good && str_split(&rest, ',', &part)) {
        good = good_status(str_trim(part));
    }
    if (!good) {
        return err_set(err,
                       "expected a status such as \"2xx\", \"200\" or \"200,204\", found \"%.*s\"",
                       SHOW(s));
    }
    return 0;
}
