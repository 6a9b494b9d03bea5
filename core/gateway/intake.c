/* SPDX-License-Identifier: MIT */
/* From a request as read to its policy's first step: key, body scan, route; what needs no policy is
 * answered here. */
#include <stdlib.h>

#include "gateway/answer.h"
#include "gateway/exchange_internal.h"
#include "gateway/models.h"
#include "gateway/route.h"
#include "upstream/outbound.h"

static void refuse(struct exchange *x, int status, const char *code, const char *message) {
    answer_error(x, status, "invalid_request_error", code, message, END_REFUSED);
}

/* RFC 9110 section 8.3: without a Content-Type the data may be looked at. */
static bool looks_like_object(struct str body) {
    size_t i = 0;
    while (i < body.n && strchr(" \t\r\n", body.p[i]) && body.p[i]) {
        i++;
    }
    return i == body.n || body.p[i] == '{';
}

static bool is_json(const struct http_request *r) {
    struct str type, media;
    if (!r->body.len) {
        return false;
    }
    if (!headers_get(&r->headers, "content-type", &type)) {
        return looks_like_object(buf_str(&r->body));
    }
    str_split(&type, ';', &media);
    media = str_trim(media);
    struct str tail = media.n > 5 ? str_make(media.p + media.n - 5, 5) : media;
    return str_case_eq(tail, STR("/json")) || str_case_eq(tail, STR("+json"));
}

/* A step of a path is no name: it would change where a URL that holds it leads. */
static bool is_step(const struct buf *model) {
    return str_is(buf_str(model), ".") || str_is(buf_str(model), "..");
}

/* The model that the path names, decoded. False: refused, the exchange is gone. */
static bool take_path_model(struct exchange *x) {
    struct buf model;
    buf_init(&model, MAX_TARGET_NAME / 2);
    bool ok = buf_add_decoded(&model, x->asked.model) == 0 && !is_step(&model);
    x->model = ok && model.len ? buf_take(&model) : NULL;
    buf_release(&model);
    if (!ok) {
        refuse(x, 400, "invalid_model", "the model in the path is not a name of at most 250 bytes");
    }
    return ok;
}

static bool has_parameter(struct str query, const char *wanted) {
    struct str parameter;
    while (wanted && query.n > 0 && str_split(&query, '&', &parameter)) {
        if (str_is(parameter, wanted)) {
            return true;
        }
    }
    return !wanted;
}

/* Finds model and stream. False: refused, the exchange is gone. */
static bool scan_body(struct exchange *x) {
    struct jfield fields[] = {{.name = "model"}, {.name = "stream"}};
    struct str body = buf_str(&x->request->body);
    struct err err;
    if (x->asked.model.n && !take_path_model(x)) {
        return false;
    }
    x->stream = x->asked.stream && has_parameter(x->request->query, x->asked.stream_query);
    if (!is_json(x->request)) {
        return true;
    }
    if (jscan_object(body, fields, 2, &err) != JSCAN_OK) {
        refuse(x, 400, "invalid_json", err.text);
        return false;
    }
    x->json = true;
    if (!x->asked.says_stream) {
        x->stream = fields[1].value.type == JTYPE_TRUE;
    }
    if (fields[0].value.type != JTYPE_STRING || x->model || dialect_model_in_path(x->dialect)) {
        return true;
    }
    struct buf model;
    buf_init(&model, MAX_TARGET_NAME / 2);
    bool ok = jscan_string(body, &fields[0].value, &model) == 0 &&
              !memchr(model.data, '\0', model.len) && !is_step(&model);
    if (ok && model.len) {
        x->model = buf_take(&model);
        x->model_at = fields[0].value;
    }
    buf_release(&model);
    if (!ok) {
        refuse(x, 400, "invalid_model", "\"model\" is not a name of at most 250 bytes");
    }
    return ok;
}

/* False: refused, the exchange is gone. */
static bool authorise(struct exchange *x) {
    if (!x->config->n_keys) {
        return true;
    }
    struct str secret = client_key(&x->request->headers);
    x->key = secret.n ? route_key(x->config, secret) : NULL;
    if (x->key) {
        return true;
    }
    answer_error(x, 401, "invalid_request_error", secret.n ? "invalid_api_key" : "missing_api_key",
                 secret.n
                     ? "This gateway does not know the API key that was sent."
                     : "This gateway asks for an API key: send it as Authorization: Bearer KEY.",
                 END_REFUSED);
    return false;
}

/* A route's own dialect goes before what the request looks like. */
static void set_dialect(struct exchange *x) {
    const char *name = x->route->dialect;
    const struct dialect *d = name ? generation_dialect(x->held, str_of(name)) : NULL;
    if (d && d != x->dialect) {
        x->dialect = d;
        (void)dialect_has_path(d, x->request->path, &x->asked);
    }
}

static bool find_route(struct exchange *x) {
    struct route_miss miss;
    int i = route_find(x->config, x->request->method, x->request->path, x->model, &miss);
    if (i >= 0) {
        x->route_index = config_variant_of(x->config, (size_t)i, x->model);
        x->route = &x->config->routes[i];
        set_dialect(x);
        return true;
    }
    if (miss.path && !miss.method) {
        refuse(x, 405, "method_not_allowed", "no route of this path takes this method");
    } else if (miss.path) {
        refuse(x, 404, "model_not_found",
               x->model ? "no route serves the model that was asked for"
                        : "no route serves a request without \"model\" here");
    } else {
        refuse(x, 404, "unknown_path", "no route of this gateway has this path");
    }
    return false;
}

/* A request without a body asks for no model. One whose body hides it is not let through. */
static bool may_use_model(const struct exchange *x) {
    return (!x->model && !x->request->body.len) || route_key_allows(x->key, x->model);
}

void exchange_begin(struct worker *w, struct conn *conn, struct http_request *request) {
    struct exchange *x = exchange_new(w, conn, request);
    if (!x) {
        conn_kill(conn);
        return;
    }
    conn_set_request_ctx(conn, x);
    struct http_request *r = x->request;
    if (str_is(r->path, "/") &&
        str_is(r->method, "HEAD")) { /* agent programs ask whether anybody is there */
        x->decision.status = 200;
        answer_response(x);
        return;
    }
    if (!authorise(x)) {
        return;
    }
    struct str id;
    if (models_asked(x, &id)) {
        models_answer(x, id);
        return;
    }
    if (!scan_body(x) || !find_route(x)) {
        return;
    }
    if (!may_use_model(x)) {
        refuse(x, 403, "model_not_allowed",
               x->model ? "this API key may not use the model that was asked for"
                        : "this API key is limited to some models, and the request names none that "
                          "can be read");
        return;
    }
    exchange_decide(x);
}
