/* SPDX-License-Identifier: MIT */
/* A request as libcurl is told of it: URL, method, fields, body, TLS and proxy of an easy handle.
 */
#include <stdlib.h>

#include "net/tls.h"
#include "upstream/curl_internal.h"

/* The header lines as libcurl wants them: one without a value must end in ';' to be sent at all,
 * and "Name:" takes away a field of libcurl's own that the request does not have. */
static struct curl_slist *make_list(struct curl_transfer *x, const struct headers *headers) {
    static const char *const own[][2] = {{"Expect", "Expect:"},
                                         {"Accept", "Accept:"},
                                         {"Content-Type", "Content-Type:"},
                                         {"User-Agent", "User-Agent:"}};
    const size_t n_own = sizeof own / sizeof *own;
    struct curl_slist *list = malloc((x->out.n_lines + n_own) * sizeof *list);
    size_t n = 0;
    if (!list) {
        return NULL;
    }
    for (; n < x->out.n_lines; n++) {
        char *line = x->out.line[n];
        size_t end = strlen(line);
        if (end > 1 && line[end - 2] == ':' && strchr(line, ':') == line + end - 2) {
            memcpy(line + end - 2, ";", 2);
        }
        list[n] = (struct curl_slist){line, &list[n + 1]};
    }
    for (size_t i = 0; i < n_own; i++) {
        struct str unused;
        if (i == 0 || !headers_get(headers, own[i][0], &unused)) {
            list[n] = (struct curl_slist){(char *)(uintptr_t)own[i][1], &list[n + 1]};
            n++;
        }
    }
    list[n - 1].next = NULL;
    return list;
}

static int set_method(struct curl_transfer *x, const struct transfer_request *r) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    CURLcode code = CURLE_OK;
    set(x->easy, CURLOPT_HTTPGET, 1L); /* takes back what the handle's last request set */
    set(x->easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (str_is(r->method, "HEAD")) {
        set(x->easy, CURLOPT_NOBODY, 1L);
        return 0;
    }
    if (r->has_body) {
        set(x->easy, CURLOPT_POST, 1L);
        set(x->easy, CURLOPT_POSTFIELDS, x->out.joined); /* NULL: through on_read */
        set(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->out.body_size);
    }
    if (!str_is(r->method, r->has_body ? "POST" : "GET")) {
        char *method = str_dup(r->method);
        code = method ? set(x->easy, CURLOPT_CUSTOMREQUEST, method) : CURLE_OUT_OF_MEMORY;
        free(method);
    }
    return code == CURLE_OK ? 0 : -1;
}

static CURLcode set_text(struct curl_transfer *x, CURLoption option, struct str text) {
    struct curl_blob blob = {(char *)(uintptr_t)text.p, text.n, CURL_BLOB_NOCOPY};
    return x->owner->lib.easy_setopt(x->easy, option, text.n ? &blob : NULL);
}

/* Connections remember what they were made with: libcurl shares none between different options. The
 * system's folder of authorities would be trusted beside ours. */
static int set_tls(struct curl_transfer *x, struct tls_client *tls) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    static const struct tls_client_options none = {.verify = true};
    const struct tls_client_options *o = tls ? tls_client_options(tls) : &none;
    const char *folder = o->ca.n ? NULL : x->owner->lib.info->capath;
    x->tls = tls ? tls_client_ref(tls) : NULL;
    set(x->easy, CURLOPT_SSL_VERIFYPEER, o->verify ? 1L : 0L);
    set(x->easy, CURLOPT_SSL_VERIFYHOST, o->verify ? 2L : 0L);
    return set_text(x, CURLOPT_CAINFO_BLOB, o->ca) == CURLE_OK &&
                   set_text(x, CURLOPT_SSLCERT_BLOB, o->cert) == CURLE_OK &&
                   set_text(x, CURLOPT_SSLKEY_BLOB, o->key) == CURLE_OK &&
                   set(x->easy, CURLOPT_CAPATH, folder) == CURLE_OK
               ? 0
               : -1;
}

int curl_request_set(struct curl_transfer *x, const struct transfer_request *r) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    if (outgoing_init(&x->out, r) != 0) {
        return -1;
    }
    x->list = make_list(x, r->headers);
    if (!x->list || set_method(x, r) != 0 || set_tls(x, r->tls) != 0 ||
        set(x->easy, CURLOPT_PROXY, r->proxy ? r->proxy : "") != CURLE_OK ||
        set(x->easy, CURLOPT_URL, r->url) != CURLE_OK) {
        return -1;
    }
    set(x->easy, CURLOPT_HTTPHEADER, x->list);
    set(x->easy, CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L);
    set(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)((r->connect_timeout + 999) / 1000));
    return 0;
}

void curl_request_drop(struct curl_transfer *x) {
    outgoing_release(&x->out);
    free(x->list);
    x->list = NULL;
    if (x->tls) {
        set_text(x, CURLOPT_CAINFO_BLOB, str_make(NULL, 0));
        set_text(x, CURLOPT_SSLCERT_BLOB, str_make(NULL, 0));
        set_text(x, CURLOPT_SSLKEY_BLOB, str_make(NULL, 0));
    }
    tls_client_unref(x->tls);
    x->tls = NULL;
}
