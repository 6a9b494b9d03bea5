/* SPDX-License-Identifier: MIT */
/*
 * What a single string in gateway.lua must look like. Each rule returns 0, or -1 with err:
 * "expected …, found …", without the path. Rules for secrets never repeat the text.
 */
#ifndef CONFIG_CONFIG_TEXT_H
#define CONFIG_CONFIG_TEXT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

typedef int text_rule(struct str s, struct err *err);

text_rule text_name;           /* of a provider, key, route …: letters, digits, . _ - */
text_rule text_policy;         /* a name, folders allowed */
text_rule text_dialect;        /* of a dialect: small letters, digits, _ - */
text_rule text_not_empty;      /* and without control characters */
text_rule text_secret;         /* goes into a header: visible characters */
text_rule text_secret_or_none; /* the same, or nothing at all: what env(name, "") gives */
text_rule text_alias;          /* a public name of a model: no pattern */
text_rule text_base_url;
text_rule text_proxy; /* "http://[user:password@]host:port"; never repeated */
text_rule text_file;  /* a path, and not what stands in the file; never repeated */
text_rule text_auth;
text_rule text_route_path;
text_rule text_url_path; /* starts with '/' */
text_rule text_method;
text_rule text_status;      /* "2xx", "200", "200,204" */
text_rule text_address;     /* "host:port", "[v6]:port", ":port" */
text_rule text_header_name; /* one that configuration may set */
text_rule text_header_value;

bool address_is_loopback(struct str address);
/* What an `auth` that text_auth accepts means; *name is borrowed from it, empty when there is none.
 */
enum config_auth auth_parse(struct str auth, struct str *name);

#endif
