/* SPDX-License-Identifier: MIT */
/*
 * gateway.lua, checked: an immutable, reference-counted snapshot of what the file said, with every
 * default filled in. Reading it may take long and happens on the control thread only; the result
 * may be read from any thread.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/value.h"

struct snapshot;
struct lua_State;

struct tls_client;
struct tls_server;

enum config_auth { AUTH_NONE, AUTH_BEARER, AUTH_HEADER, AUTH_QUERY, AUTH_PASSTHROUGH, AUTH_AWS };

/* How a provider is reached: our own transport where it can, or always libcurl. */
enum config_transport { TRANSPORT_AUTO, TRANSPORT_LIBCURL };

struct config_health {
    bool enabled;
    char *method, *path, *body; /* "GET", "/models", NULL; path is appended to base_url */
    char *status;               /* "2xx", "200", or a comma list of such */
    usec interval, timeout;     /* 10 s, 2 s */
    int up, down;               /* verdicts in a row: 1, 3 */
};

/* One of a provider's pool of keys. */
struct config_api_key {
    char *name;   /* [A-Za-z0-9._-]+ */
    char *label;  /* "provider#name": what it is suspended as */
    char *secret; /* SECRET */
};

/* What requests are signed with for AUTH_AWS; access_key NULL: nothing. */
struct config_aws {
    char *access_key, *secret_key, *session_token; /* SECRET; the last NULL or empty: none */
    char *region;  /* where not given, the one that the host names */
    char *service; /* "bedrock" */
};

/* What a dialect's file says for its providers; borrowed. */
struct config_dialect {
    const char *auth;            /* as in gateway.lua; NULL: "bearer" */
    const struct value *headers; /* names to texts, or NULL */
    const char *const *prefixes; /* the one that fits is cut off the client's path when bytes pass
                                    untouched */
    size_t n_prefixes;
    const char *pass;          /* put in its place, may hold {model}; NULL: nothing */
    const char *const *speaks; /* dialects of clients whose bytes pass untouched */
    size_t n_speaks;
};

struct config_provider {
    char *name;     /* [A-Za-z0-9._-]+ */
    char *dialect;  /* "openai": name of a file in lua/dialects/, without .lua */
    char **speaks;  /* NULL-terminated names of dialects, or NULL: as its dialect says */
    char *base_url; /* without a trailing slash */
    enum config_auth auth;
    bool auth_given;                 /* in the file: the dialect's default does not count */
    char *auth_name;                 /* for AUTH_HEADER and AUTH_QUERY */
    char *api_key;                   /* NULL when none, or a pool. SECRET */
    struct config_api_key *api_keys; /* the pool, in the order of the file; NULL when none */
    size_t n_api_keys;
    struct config_aws aws;
    usec connect_timeout;    /* 5 s */
    usec first_byte_timeout; /* 0 = none, like the three below */
    usec first_packet_timeout;
    usec idle_timeout;
    usec request_timeout;
    int max_inflight;     /* 1024 */
    int queue;            /* 256 */
    usec queue_timeout;   /* 10 s */
    char *quota_group;    /* NULL when none */
    struct value headers; /* table of strings added to each request, or NIL */
    struct config_health health;
    struct tls_client *tls; /* NULL: the system's authorities, no certificate of ours */
    char *proxy;            /* "http://[user:password@]host:port"; NULL: none. SECRET */
    int transport;          /* enum config_transport */

    /* Of its dialect, see config_adopt_dialect. */
    struct value fixed_headers; /* table of strings for fields that nobody else sets, or NIL */
    char **prefixes;            /* of paths, NULL-terminated; NULL: "/v1" */
    char *pass;                 /* NULL: nothing */
};

struct config_key {
    char *name;
    unsigned char hash[HASH_SIZE]; /* SHA-256 of the secret; the secret itself is kept only in
                                      config->secrets */
    char *environment;             /* "production" when not given */
    char **models;                 /* NULL-terminated globs, or NULL: all */
};

enum config_on_error { ON_ERROR_DEFAULT_PLAN, ON_ERROR_DENY };

/* A public name of a model, and the targets that serve it. */
struct config_alias {
    char *name;
    struct value targets; /* a list, to stand in place of the settings' `targets` */
    bool listed;          /* the file wrote a list; otherwise its one entry */
};

struct config_route {
    char *name;
    char *path; /* exact, or a prefix when prefix is set (the '*' is cut off) */
    bool prefix;
    char **models; /* NULL-terminated globs, or NULL; with aliases these are served as well */
    struct config_alias *aliases; /* by name; NULL when there are none */
    size_t n_aliases;
    size_t first_alias; /* the variant of the first; see config_variant */
    char **methods;     /* NULL-terminated, or NULL */
    char *policy;       /* name of a file in policies/, without .lua */
    char *dialect;      /* of the client: "openai"; NULL: told by path and fields */
    enum config_on_error on_error;
    struct value settings; /* what counts: the file's, with the overlay's keys put over them; a
                              table, checked later by the policy's schema */
    struct value
        file_settings;    /* as written in the file, when there is an overlay; NIL otherwise */
    struct value overlay; /* the keys that an admin put over the file's; NIL when there are none */
};

struct config_log {
    int level;    /* enum log_level */
    char *access; /* "stdout", "stderr", "off" or a file's path */
    char *error;  /* likewise */
    bool trail;
};

struct config {
    atomic_int refs;
    char *file;                      /* path of gateway.lua as given */
    char *dir;                       /* its folder */
    char *state_dir;                 /* resolved, NULL when none is configured */
    char **listen;                   /* NULL-terminated addresses */
    struct tls_server **listen_tls;  /* of each of them, NULL: plain; MAX_LISTENERS places */
    int workers;                     /* >= 1; "auto" is resolved */
    char *admin_listen;              /* NULL: no admin listener */
    struct tls_server *admin_tls;    /* NULL: plain */
    char *admin_token;               /* NULL: none. SECRET */
    char *admin_read_token;          /* may only look; NULL: none. SECRET */
    bool reload_watch, reload_tests; /* load when files change; run the policies' tests first */
    usec reload_debounce;            /* 0.2 s: quiet time after a change before it is loaded */
    char **input_files;              /* NULL-terminated: what file() read, for watching */
    char *overlay_file; /* where the overlay is kept, for messages; NULL: not yet kept */
    struct config_log log;
    size_t body_max, memory; /* of one request; of all requests and answers held together */
    int connections;         /* of clients, all workers together */
    usec header_time, body_time, idle_time, write_time, drain_time; /* 10, 60, 75, 60, 30 s */
    struct config_provider *providers;
    size_t n_providers;
    struct config_key *keys;
    size_t n_keys;
    struct config_route *routes;
    size_t n_routes;
    size_t n_variants; /* routes, and behind them the aliases of all */
    char **secrets;    /* NULL-terminated: every key, secret and token, for masking. SECRET */
};

/*
 * How a file is run. config/ makes no Lua state itself: the sandbox is above it and is handed down
 * as this table.
 */
struct config_lua {
    /* A fresh sandboxed state with the load budget armed, or NULL (memory). */
    struct lua_State *(*open)(void *ctx);
    /* Calls the function on top of the stack (below its nargs) under the budget; 0, or -1 with the
     * message (position first) in *err and the stack cut back. */
    int (*call)(void *ctx, struct lua_State *L, int nargs, int nresults, struct err *err);
    void (*close)(void *ctx, struct lua_State *L);
    void *ctx;
};

/*
 * Runs snapshot's gateway.lua and checks everything in it. All mistakes go to *diags with file,
 * line where known, and the nearest valid name. What file() read is added to the snapshot's hash.
 * Checks: unknown keys anywhere, types and ranges, names given twice, targets' providers are the
 * policies' matter, a policy file that is not in the snapshot, empty env() without default ("env
 * MOONGATE_X is not set"), keys missing on a non-loopback listen address, an admin listener on a
 * non-loopback address without token, routes that can never be reached (warning). Returns a config
 * with one reference, or NULL when diags has errors.
 */
struct config *config_load(struct snapshot *snapshot, const struct config_lua *lua,
                           struct diags *diags);
/*
 * The same, but when diags gets errors it still returns what could be read, so that policies can
 * tell their mistakes in the same run. Such a config must never serve: what is wrong in it stands
 * at its default, and `policy` is NULL in a route that no policy can judge. NULL when there is
 * nothing to go on with.
 */
struct config *config_load_all(struct snapshot *snapshot, const struct config_lua *lua,
                               struct diags *diags);
struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* Fills in what the provider's dialect says and the file does not. While the configuration is made
 * ready only, before anybody else sees it. 0, or -1 (memory). */
int config_adopt_dialect(struct config_provider *p, const struct config_dialect *d)
    __attribute__((warn_unused_result));
/* Do bytes of a client of that dialect pass to the provider untouched? */
bool config_speaks(const struct config_provider *p, const char *dialect);

const struct config_provider *config_provider(const struct config *c,
                                              struct str name); /* NULL: none */
/* The key of that name in the provider's pool; NULL: none. */
const struct config_api_key *config_api_key(const struct config_provider *p, struct str name);

/*
 * A variant is a route with the settings of one kind of request: those of the file, or with the
 * targets of an alias. Variants below n_routes are the routes themselves.
 */
struct config_variant {
    size_t route;                     /* in routes */
    const struct config_alias *alias; /* NULL: the route itself */
};
struct config_variant config_variant(const struct config *c, size_t variant);
/* The variant of a route that a request for the model (NULL: it names none) takes. */
size_t config_variant_of(const struct config *c, size_t route, const char *model);
/* Are all models that the route serves aliases? Then nobody asks for its own targets. */
bool config_only_aliases(const struct config_route *r);

#define CONFIG_MASK "***"
/* Replaces every occurrence of a secret (of at least 6 bytes) in the buffer by CONFIG_MASK. The
 * text must be as it is, not escaped in any way. */
void config_mask(const struct config *c, struct buf *text);
/* The same in the messages of a load, which may show what was found in a wrong place. */
void config_mask_diags(const struct config *c, struct diags *diags);
/* The same for the texts of JSON documents, before they are escaped; c is borrowed. */
struct json_texts config_masks(const struct config *c);

/* For a text that was cut off: also the beginning (of at least 6 bytes) of a secret at its very
 * end. */
void config_mask_cut(const struct config *c, struct buf *text);

/* The line of a path such as "routes[1].settings.trigger" in gateway.lua, or of its nearest parent
 * that can be found, or 0. */
int config_line(const struct snapshot *snapshot, const char *path);
/* The line of the i-th route, from 0. Reads the file's text anew, like config_line. */
int config_route_line(const struct snapshot *snapshot, size_t i);

#endif
