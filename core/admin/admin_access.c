/* SPDX-License-Identifier: MIT */
/*
 * Who may do what. Bearer tokens: what was sent is hashed once and compared with the hashes of both
 * tokens, always, so that the time tells neither whether one is configured nor how much of it was
 * right. And browsers: where no token is configured, any page in one could send a POST, and one
 * whose own name was made to lead here could read the answers, too.
 */
#include "admin/admin_internal.h"
#include "base/hash.h"
#include "config/config_text.h"

/* A token that is not configured is compared all the same, and fits nothing. */
static bool fits(const char *token, const unsigned char given[HASH_SIZE]) {
    unsigned char wanted[HASH_SIZE];
    hash_sha256(str_of(token ? token : ""), wanted);
    bool equal = hash_equal(wanted, given, HASH_SIZE);
    return equal && token;
}

/* Was this machine called by a name that nobody else can give it? No browser leaves the field out.
 */
static bool called_locally(const struct headers *headers) {
    struct str host;
    return !headers_get(headers, "host", &host) || address_is_loopback(host);
}

enum admin_rights admin_rights_of(const struct config *c, const struct headers *headers) {
    struct str field = {NULL, 0};
    unsigned char given[HASH_SIZE];
    if (!c->admin_token && !c->admin_read_token) {
        /* The configuration allows it on loopback only. */
        return called_locally(headers) ? ADMIN_FULL : ADMIN_NOBODY;
    }
    bool bearer = headers_count(headers, "authorization") == 1 &&
                  headers_get(headers, "authorization", &field) && field.n >= 7 &&
                  str_case_eq(str_make(field.p, 7), STR("bearer "));
    hash_sha256(bearer ? str_trim(str_make(field.p + 7, field.n - 7)) : STR(""), given);
    bool full = fits(c->admin_token, given);
    bool reader = fits(c->admin_read_token, given);
    if (!bearer) {
        return ADMIN_NOBODY;
    }
    return full ? ADMIN_FULL : reader ? ADMIN_READER : ADMIN_NOBODY;
}

bool admin_cross_origin(const struct headers *headers) {
    struct str origin, host;
    if (!headers_get(headers, "origin", &origin)) {
        return false;
    }
    const char *mark = memmem(origin.p, origin.n, "://", 3);
    size_t skip = mark ? (size_t)(mark - origin.p) + 3 : origin.n;
    return !headers_get(headers, "host", &host) ||
           !str_case_eq(str_make(origin.p + skip, origin.n - skip), host);
}
