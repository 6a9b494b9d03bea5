/* SPDX-License-Identifier: MIT */
/*
 * The certificates and keys that gateway.lua names: read, checked one by one so that each mistake
 * is told at the key that names the file, and made into what listeners and transports use. A
 * private key is in memory here only as long as it takes, and in no message.
 */
#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "config/config_input.h"
#include "config/config_load.h"
#include "net/tls.h"

/* One PEM file of a table. */
struct pem {
    char *text; /* owned, NULL: not given, or told already */
    size_t n;
};

static struct str pem_str(const struct pem *p) {
    return str_make(p->text, p->n);
}

static void pem_release(struct pem *p) {
    if (p->text) {
        explicit_bzero(p->text, p->n);
    }
    free(p->text);
    *p = (struct pem){NULL, 0};
}

/* At "at.name": the file it names is wrong. */
static void tell_file(struct load *l, struct path *at, const char *name, struct str file,
                      const char *what) {
    size_t before = path_field(at, name);
    load_error(l, at, "file %.*s: %s", (int)(file.n > 200 ? 200 : file.n), file.p, what);
    path_cut(at, before);
}

static void warn_if_open(struct load *l, struct path *at, const char *name, struct str file,
                         const struct stat *st) {
    if (strcmp(name, "key") != 0 || !(st->st_mode & S_IROTH)) {
        return;
    }
    size_t before = path_field(at, name);
    load_warn(l, at, "everybody on this machine may read %.*s: chmod 600 it",
              (int)(file.n > 200 ? 200 : file.n), file.p);
    path_cut(at, before);
}

/* The name of a file in v.name, or one of no bytes: not given, or told already. */
static struct str file_name(const struct value *v, const char *name) {
    struct err ignored;
    const struct value *field = value_field(v, name);
    struct str file = value_str(field);
    bool good = field && !is_unknown(field) && file.n && text_file(file, &ignored) == 0;
    return good ? file : str_make(NULL, 0);
}

/* Reads the file that v.name names, when there is one. */
static struct pem read_pem(struct load *l, const struct value *v, struct path *at,
                           const char *name) {
    char path[PATH_MAX];
    struct stat st;
    struct pem p = {NULL, 0};
    struct str file = file_name(v, name);
    if (file.n == 0) {
        return p;
    }
    const char *wrong = input_find(l, file, path, &st);
    if (!wrong) {
        p.n = (size_t)st.st_size;
        p.text = malloc(p.n + 1);
        wrong = p.text ? input_read(path, &st, p.text) : "memory is short";
    }
    if (wrong) {
        tell_file(l, at, name, file, wrong);
        pem_release(&p);
        return p;
    }
    warn_if_open(l, at, name, file, &st);
    input_mix(l, 'f', file, pem_str(&p));
    return p;
}

static void warn_of_dates(struct load *l, struct path *at, const struct tls_cert_info *info) {
    int64_t now = clock_wall() / USEC_PER_SEC;
    bool late = now > info->not_after;
    char date[32];
    if (!late && now >= info->not_before) {
        return;
    }
    clock_format((late ? info->not_after : info->not_before) * USEC_PER_SEC, date, sizeof(date));
    size_t before = path_field(at, "cert");
    load_warn(l, at, "the certificate of \"%s\" %s on %s", info->subject,
              late ? "expired" : "is valid only from", date);
    path_cut(at, before);
}

/* Reads and checks v.cert and v.key; false when one of them is wrong or missing. */
static bool read_identity(struct load *l, const struct value *v, struct path *at, struct pem *cert,
                          struct pem *key) {
    struct tls_cert_info info;
    struct err err;
    *cert = read_pem(l, v, at, "cert");
    *key = read_pem(l, v, at, "key");
    bool good_cert = cert->text && tls_check_cert(pem_str(cert), &info, &err) == 0;
    if (good_cert) {
        warn_of_dates(l, at, &info);
    } else if (cert->text) {
        tell_file(l, at, "cert", file_name(v, "cert"), err.text);
    }
    bool good_key = key->text && tls_check_key(pem_str(key), &err) == 0;
    if (key->text && !good_key) {
        tell_file(l, at, "key", file_name(v, "key"), err.text);
    }
    struct tls_identity both = {pem_str(cert), pem_str(key)};
    if (good_cert && good_key && tls_check_pair(&both, &err) != 0) {
        tell_file(l, at, "key", file_name(v, "key"), err.text);
        return false;
    }
    return good_cert && good_key;
}

/* ---- Listeners ---- */

/* The identities of a list, or of the one that stands alone. */
struct identities {
    struct pem cert[MAX_TLS_IDENTITIES], key[MAX_TLS_IDENTITIES];
    struct tls_identity list[MAX_TLS_IDENTITIES];
    size_t n;
    bool good;
};

static void add_identity(struct load *l, const struct value *v, struct path *at,
                         struct identities *all) {
    size_t i = all->n++;
    all->good = read_identity(l, v, at, &all->cert[i], &all->key[i]) && all->good;
    all->list[i] = (struct tls_identity){pem_str(&all->cert[i]), pem_str(&all->key[i])};
}

static void read_identities(struct load *l, const struct value *v, struct path *at,
                            struct identities *all) {
    if (v->as.t.n_items == 0) {
        add_identity(l, v, at, all);
    }
    for (size_t i = 0; i < v->as.t.n_items && i < MAX_TLS_IDENTITIES; i++) {
        size_t before = path_item(at, i + 1);
        add_identity(l, &v->as.t.items[i], at, all);
        path_cut(at, before);
    }
}

/* `v` is the value of a listener's `tls`, at `at`; NULL where there is none or something is wrong.
 */
static struct tls_server *make_server(struct load *l, const struct value *v, struct path *at) {
    struct err err;
    struct tls_server *server = NULL;
    if (!v || v->type != VALUE_TABLE) {
        return NULL;
    }
    struct identities *all = calloc(1, sizeof(*all));
    if (!all) {
        load_error(l, at, "memory is short");
        return NULL;
    }
    all->good = true;
    read_identities(l, v, at, all);
    if (all->good) {
        server = tls_server_new(all->list, all->n, &err);
        if (!server) {
            load_error(l, at, "%s", err.text);
        }
    }
    for (size_t i = 0; i < all->n; i++) {
        pem_release(&all->cert[i]);
        pem_release(&all->key[i]);
    }
    free(all);
    return server;
}

static struct tls_server *server_at(struct load *l, const struct value *v, struct path *at) {
    size_t before = path_field(at, "tls");
    struct tls_server *server = make_server(l, value_field(v, "tls"), at);
    path_cut(at, before);
    return server;
}

static void listeners(struct load *l, const struct value *listen, struct config *c) {
    struct path at;
    path_init(&at);
    path_field(&at, "listen");
    if (!listen || listen->type != VALUE_TABLE) {
        return;
    }
    if (listen->as.t.n_fields > 0) {
        c->listen_tls[0] = server_at(l, listen, &at);
        return;
    }
    for (size_t i = 0; i < listen->as.t.n_items && i < MAX_LISTENERS; i++) {
        size_t before = path_item(&at, i + 1);
        c->listen_tls[i] = server_at(l, &listen->as.t.items[i], &at);
        path_cut(&at, before);
    }
}

/* ---- Providers ---- */

static bool given(const struct value *v, const char *name) {
    return value_field(v, name) != NULL;
}

/* One of cert and key without the other. */
static bool is_half(struct load *l, const struct value *v, struct path *at) {
    if (given(v, "cert") == given(v, "key")) {
        return false;
    }
    load_error(l, at, "%s is given without %s; expected both, or neither",
               given(v, "cert") ? "cert" : "key", given(v, "cert") ? "key" : "cert");
    return true;
}

static void warn_of_no_use(struct load *l, struct config_provider *p, const struct value *v,
                           struct path *at, bool verify) {
    if (str_starts(str_of(p->base_url), "http://")) {
        load_warn(l, at, "is of no use: base_url begins with http://, so nothing is encrypted");
    } else if (!verify) {
        size_t before = path_field(at, "verify");
        load_warn(l, at,
                  "whoever stands between may pretend to be the provider and read its api_key%s",
                  given(v, "ca") ? "" : "; better give its authority as ca");
        path_cut(at, before);
    }
}

static void make_client(struct load *l, const struct value *v, struct path *at,
                        struct config_provider *p) {
    struct err err;
    const struct value *verify = value_field(v, "verify");
    struct tls_client_options o = {.verify = !verify || verify->type != VALUE_BOOL || verify->as.b};
    struct pem ca = read_pem(l, v, at, "ca");
    struct pem cert = {NULL, 0}, key = {NULL, 0};
    bool good = !given(v, "ca") || ca.text;
    if (ca.text && tls_check_ca(pem_str(&ca), &err) != 0) {
        tell_file(l, at, "ca", file_name(v, "ca"), err.text);
        good = false;
    }
    bool half = is_half(l, v, at);
    if (given(v, "cert") || given(v, "key")) {
        good = read_identity(l, v, at, &cert, &key) && good && !half;
    }
    warn_of_no_use(l, p, v, at, o.verify);
    if (good) {
        o.ca = pem_str(&ca);
        o.cert = pem_str(&cert);
        o.key = pem_str(&key);
        p->tls = tls_client_new(&o, &err);
        if (!p->tls) {
            load_error(l, at, "%s", err.text);
        }
    }
    pem_release(&ca);
    pem_release(&cert);
    pem_release(&key);
}

/* Providers were built in the order of the tree. */
static void providers(struct load *l, const struct value *v, struct config *c) {
    struct path at;
    path_init(&at);
    path_field(&at, "providers");
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct value *tls = value_field(&v->as.t.fields[i].value, "tls");
        size_t before = path_field(&at, c->providers[i].name);
        path_field(&at, "tls");
        if (tls && tls->type == VALUE_TABLE) {
            make_client(l, tls, &at, &c->providers[i]);
        }
        path_cut(&at, before);
    }
}

void config_tls(struct load *l, const struct value *root, struct config *c) {
    struct path at;
    listeners(l, value_field(root, "listen"), c);
    providers(l, value_field(root, "providers"), c);
    path_init(&at);
    path_field(&at, "admin");
    c->admin_tls = server_at(l, value_field(root, "admin"), &at);
}
