/* SPDX-License-Identifier: MIT */
/*
 * Providers whose requests are signed for AWS: what has to be there for it, and the region that a
 * host's name tells.
 */
#include "base/limits.h"
#include "config/config_load.h"

/* Like us-east-1, us-gov-west-1: words of letters, then a number. */
static bool is_region(struct str s) {
    struct str word;
    size_t words = 0;
    bool number = false;
    while (str_split(&s, '-', &word)) {
        unsigned long long n;
        if (number || word.n == 0) {
            return false;
        }
        number = str_to_u64(word, &n);
        for (size_t i = 0; !number && i < word.n; i++) {
            if (word.p[i] < 'a' || word.p[i] > 'z') {
                return false;
            }
        }
        words++;
    }
    return number && words >= 3;
}

/* The part of an AWS host that is a region: bedrock-runtime.us-east-1.amazonaws.com. Empty: none.
 */
static struct str region_of(struct str base_url) {
    struct str host = base_url, part;
    for (int i = 0; i < 3; i++) { /* "https:", "", the host */
        if (!str_split(&base_url, '/', &host)) {
            return str_make(NULL, 0);
        }
    }
    if (str_case_has(host, ".amazonaws.com") || str_case_has(host, ".api.aws")) {
        while (str_split(&host, '.', &part)) {
            if (is_region(part)) {
                return part;
            }
        }
    }
    return str_make(NULL, 0);
}

void config_aws_check(struct load *l, const struct value *provider, struct path *at) {
    const struct value *aws = value_field(provider, "aws");
    struct str auth = value_str(value_field(provider, "auth"));
    bool table = aws && aws->type == VALUE_TABLE;
    if (str_is(auth, "aws") && !aws) {
        load_error(
            l, at,
            "auth = \"aws\" signs requests; expected aws = { access_key = …, secret_key = … }");
    }
    if (table && auth.n && !str_is(auth, "aws")) {
        load_warn(l, at, "aws is never used with auth = \"%.*s\"", (int)auth.n, auth.p);
    }
    if (table && !auth.n && value_field(provider, "api_key")) {
        load_warn(l, at, "the provider's api_key is never sent: requests are signed with aws");
    }
    if (table && value_field(provider, "api_keys")) {
        load_error(
            l, at,
            "api_keys and aws: requests are signed with the one key of aws; expected one of them");
    }
    if (table && !value_field(aws, "region") &&
        region_of(value_str(value_field(provider, "base_url"))).n == 0) {
        load_error(
            l, at,
            "aws.region is missing, and the host of base_url names none; expected one such as "
            "\"us-east-1\"");
    }
}

int config_aws_build(struct config_provider *p) {
    struct str region = region_of(str_of(p->base_url));
    if (!p->aws.access_key || p->aws.region) {
        return 0;
    }
    p->aws.region = str_dup(region);
    return p->aws.region ? 0 : -1;
}
