/* SPDX-License-Identifier: MIT */
/* One call of admin_client.h, and what is said when it fails. */
#include "cli/admin_client.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/term.h"

int admin_add_escaped(struct buf *path, struct str part) {
    int bad = 0;
    for (size_t i = 0; i < part.n; i++) {
        unsigned char ch = (unsigned char)part.p[i];
        bool plain = ch < 0x80 && (isalnum(ch) || strchr("-._~/", ch));
        bad |= plain && ch ? buf_addc(path, (char)ch) : buf_addf(path, "%%%02X", ch);
    }
    return bad;
}

/* ---- What is printed of answers ---- */

void admin_print_json(const struct admin_client *c) {
    const struct buf *body = &c->answer.body;
    fwrite(body->data, 1, body->len, stdout);
    if (body->len == 0 || body->data[body->len - 1] != '\n') {
        putchar('\n');
    }
}

int admin_print_diagnostics(const struct json *list, bool warnings) {
    int errors = 0, count = 0;
    struct buf file, message;
    buf_init(&file, MAX_FETCH_BODY);
    buf_init(&message, MAX_FETCH_BODY);
    for (const struct json *d = json_at(list, 0); d; d = json_next(d)) {
        buf_clear(&file);
        buf_clear(&message);
        double line = json_get_num(d, "line", 0);
        if (term_clean(&file, json_get_str(d, "file")) == BUF_OK &&
            term_clean(&message, json_get_str(d, "message")) == BUF_OK) {
            int at = line > 0 && line < 1e9 ? (int)line : 0;
            cli_print_diagnostic(&errors, file.len ? file.data : "moongate", at, warnings,
                                 message.data);
            count++;
        }
    }
    buf_release(&file);
    buf_release(&message);
    return count;
}

void admin_print_warnings(const struct admin_client *c) {
    admin_print_diagnostics(json_get(c->body, "warnings"), true);
}

/* ---- What went wrong ---- */

/* The API's own words, or the status where there are none. */
static void print_api_message(const struct admin_client *c) {
    struct str message = json_get_str(json_get(c->body, "error"), "message");
    if (message.n == 0) {
        fprintf(stderr, "the gateway answered with status %d", c->answer.status);
    }
    term_put(stderr, message);
    fputc('\n', stderr);
}

static void print_look(const struct admin_call *call) {
    if (call->look) {
        fprintf(stderr, "moongate %s shows what there is.\n", call->look);
    }
}

static int told_unreachable(const struct admin_client *c, const struct admin_call *call,
                            const char *why) {
    fprintf(stderr, "moongate: cannot reach the gateway's admin API at %s: ", c->url);
    term_put(stderr, str_of(why));
    fputc('\n', stderr);
    if (fetch_unreachable(&c->answer)) {
        fprintf(stderr, "Does it run, with admin = { listen = … } in its configuration? Another "
                        "address is given with --admin URL\nor the variable MOONGATE_ADMIN.\n");
    } else if (strcmp(call->method, "GET") != 0) {
        fprintf(stderr, "The change may have been made or not: moongate generations tells.\n");
    }
    return CLI_UNREACHABLE;
}

static int told_unauthorised(const struct admin_client *c) {
    if (c->token[0]) {
        fprintf(
            stderr,
            "moongate: the gateway at %s refuses the token from %s: it is to be what admin.token "
            "(or, to look only, admin.read_token) in its configuration says\n",
            c->url, c->token_from);
    } else {
        fprintf(stderr,
                "moongate: the gateway at %s wants a token: set the variable MOONGATE_ADMIN_TOKEN, "
                "or give --token-file FILE\n",
                c->url);
    }
    return CLI_FAILED;
}

static int told_forbidden(const struct admin_client *c) {
    struct str code = json_get_str(json_get(c->body, "error"), "code");
    if (str_is(code, "read_only_token")) {
        fprintf(stderr,
                "moongate: the token from %s may look, not change (it is admin.read_token): this "
                "needs the one of admin.token\n",
                c->token_from ? c->token_from : "nowhere");
    } else {
        fprintf(stderr, "moongate: forbidden: ");
        print_api_message(c);
    }
    return CLI_FAILED;
}

static int told_not_found(const struct admin_client *c, const struct admin_call *call) {
    struct str code = json_get_str(json_get(c->body, "error"), "code");
    if (code.n == 0 || str_is(code, "unknown_path")) {
        fprintf(stderr,
                "moongate: %s has no %s: is it the admin address of a gateway of this version?\n",
                c->url, call->path);
    } else {
        fprintf(stderr, "moongate: ");
        print_api_message(c);
        print_look(call);
    }
    return CLI_FAILED;
}

static int told_changed(const struct admin_client *c, const struct admin_call *call) {
    double version = json_get_num(c->body, "version", -1);
    fprintf(stderr, "moongate: changed meanwhile: ");
    if (version >= 0) {
        fprintf(stderr, "now version %.0f; ", version);
    }
    fprintf(stderr, "look at it with moongate %s, and try again\n",
            call->look ? call->look : "status");
    return CLI_FAILED;
}

static int told_refused(const struct admin_client *c) {
    int n = admin_print_diagnostics(json_get(c->body, "diagnostics"), false);
    double active = json_get_num(c->body, "active", 0);
    admin_print_warnings(c);
    if (n == 0) {
        fprintf(stderr, "moongate: refused: ");
        print_api_message(c);
        return CLI_FAILED;
    }
    fprintf(stderr, "moongate: refused: %d mistake%s", n, n == 1 ? "" : "s");
    if (active > 0) {
        fprintf(stderr, "; generation %.0f stays active", active);
    }
    fputc('\n', stderr);
    return CLI_FAILED;
}

static int told_failure(const struct admin_client *c, const struct admin_call *call) {
    if (c->json && c->body) {
        admin_print_json(c);
    }
    switch (c->answer.status) {
    case 401:
        return told_unauthorised(c);
    case 403:
        return told_forbidden(c);
    case 404:
        return told_not_found(c, call);
    case 412:
        return told_changed(c, call);
    case 422:
        return told_refused(c);
    default:
        fprintf(stderr, "moongate: %s %s at %s failed (%d): ", call->method, call->path, c->url,
                c->answer.status);
        print_api_message(c);
        return CLI_FAILED;
    }
}

/* ---- The call ---- */

static int add_fields(const struct admin_client *c, const struct admin_call *call,
                      struct headers *fields) {
    struct buf text;
    buf_init(&text, MAX_ADMIN_TOKEN + 64);
    int bad = headers_add(fields, STR("Accept"), STR("application/json"));
    if (c->token[0]) {
        bad |= buf_addf(&text, "Bearer %s", c->token);
        bad |= headers_add(fields, STR("Authorization"), buf_str(&text));
    }
    if (call->body.n > 0) {
        bad |= headers_add(fields, STR("Content-Type"), STR("application/json"));
    }
    if (c->why && strcmp(call->method, "GET") != 0) {
        bad |= headers_add(fields, STR("X-Moongate-Why"), str_of(c->why));
    }
    if (call->version >= 0) {
        buf_clear(&text);
        bad |= buf_addf(&text, "\"%.0f\"", call->version);
        bad |= headers_add(fields, STR("If-Match"), buf_str(&text));
    }
    if (text.cap > 0) {
        explicit_bzero(text.data, text.cap);
    }
    buf_release(&text);
    return bad;
}

static int exchange(struct admin_client *c, const struct admin_call *call, struct err *err) {
    struct headers fields;
    struct buf url;
    headers_init(&fields, 8, MAX_HEADER_BYTES);
    buf_init(&url, MAX_ADMIN_URL + MAX_REQUEST_LINE);
    int bad = add_fields(c, call, &fields) | buf_addf(&url, "%s%s", c->url, call->path);
    if (bad) {
        err_set(err, "memory is short, or what it is asked for is too long");
    } else {
        bool changes = strcmp(call->method, "GET") != 0;
        struct fetch_request request = {.method = call->method,
                                        .url = url.data,
                                        .headers = &fields,
                                        .body = call->body,
                                        .ca = str_of(c->ca),
                                        .has_body = changes || call->body.n > 0};
        bad = fetch(&request, &c->answer, err);
    }
    headers_release(&fields);
    buf_release(&url);
    return bad;
}

static bool is_ours(const struct admin_client *c, const struct admin_call *call) {
    bool ok = false;
    if (call->holds) {
        return json_get(c->body, call->holds) != NULL;
    }
    return json_bool(json_get(c->body, "ok"), &ok) && ok;
}

int admin_call(struct admin_client *c, const struct admin_call *call) {
    struct err err = {""};
    json_free(c->body);
    c->body = NULL;
    if (exchange(c, call, &err) != 0) {
        return told_unreachable(c, call, err.text);
    }
    c->body = json_parse(buf_str(&c->answer.body));
    if (c->answer.status < 200 || c->answer.status > 299) {
        return told_failure(c, call);
    }
    if (!is_ours(c, call)) {
        fprintf(stderr,
                "moongate: what %s answers is none of the admin API's answers: is it the gateway's "
                "admin address? Another is given with --admin URL or the variable MOONGATE_ADMIN\n",
                c->url);
        return CLI_FAILED;
    }
    return CLI_OK;
}

int admin_get(struct admin_client *c, const char *path, const char *holds, const char *look) {
    struct admin_call call = {
        .method = "GET", .path = path, .version = -1, .holds = holds, .look = look};
    return admin_call(c, &call);
}

int admin_show(struct admin_client *c, const char *path, const char *holds, const char *look,
               int (*print)(struct admin_client *c)) {
    int status = admin_get(c, path, holds, look);
    if (status != CLI_OK || !c->json) {
        return status == CLI_OK ? print(c) : status;
    }
    admin_print_json(c);
    return CLI_OK;
}
