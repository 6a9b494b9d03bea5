/* SPDX-License-Identifier: MIT */
/* moongate routes: the routes, or the settings of one with where each comes from. */
#include <stdio.h>

#include "cli/admin_client.h"
#include "cli/table.h"

static const struct admin_command COMMAND = {
    .help =
        "Usage: moongate routes [ROUTE] [OPTION…]\n\n"
        "Shows the routes; or, of one, every setting with its value, where that comes from\n"
        "(\"set\": moongate set; \"file\": the configuration; \"default\": the policy), its unit "
        "and\nits meaning.\n",
    .sample =
        "  $ moongate routes\n"
        "  route  path                  models  policy      failover  set here\n"
        "  chat   /v1/chat/completions  any     failover 1  on        suspend\n"
        "  $ moongate routes chat\n"
        "  chat: /v1/chat/completions, policy failover, version 1 of its settings\n\n"
        "  setting          value  source          unit  meaning\n"
        "  request_timeout  30     file            s     one attempt, up to its commit; 0 = off\n"
        "  suspend          60     set (file: 30)  s     a failed target is left alone so long\n",
    .words = "[ROUTE]",
    .max_words = 1,
};

static int add_name(struct buf *text, struct str name) {
    return (text->len > 0 ? buf_adds(text, ", ") : 0) | buf_add_str(text, name);
}

/* The names of aliases and the models, "a, b", or "any". */
static void add_models(struct table *t, const struct json *route) {
    const struct json *aliases = json_get(route, "aliases");
    const char *alias = NULL;
    struct buf text;
    buf_init(&text, MAX_FETCH_BODY);
    int bad = 0;
    for (const struct json *a = json_each(aliases, NULL, &alias); a;
         a = json_each(aliases, a, &alias)) {
        bad |= add_name(&text, str_of(alias));
    }
    for (const struct json *n = json_at(json_get(route, "models"), 0); n; n = json_next(n)) {
        struct str name = STR("");
        json_str(n, &name);
        bad |= add_name(&text, name);
    }
    table_add(t, TERM_PLAIN, text.len > 0 ? buf_str(&text) : STR("any"));
    t->bad = t->bad || bad;
    buf_release(&text);
}

/* ---- The list ---- */

static void add_policy(struct table *t, const struct json *route) {
    struct str policy = json_get_str(route, "policy"), text = STR("");
    double version = 0;
    const struct json *v = json_get(route, "policy_version");
    if (json_num(v, &version)) {
        table_addf(t, TERM_PLAIN, "%.*s %.15g", (int)policy.n, policy.p, version);
    } else if (json_str(v, &text)) {
        table_addf(t, TERM_PLAIN, "%.*s %.*s", (int)policy.n, policy.p, (int)text.n, text.p);
    } else {
        table_add(t, TERM_PLAIN, policy);
    }
}

static void add_failover(struct table *t, const struct json *route) {
    bool on = false;
    if (json_bool(json_get(route, "failover"), &on)) {
        table_add(t, on ? TERM_GREEN : TERM_YELLOW, on ? STR("on") : STR("off"));
    } else {
        table_add(t, TERM_PLAIN, STR(""));
    }
}

static bool is_set_here(const struct json *setting) {
    return str_is(json_get_str(setting, "source"), "overlay");
}

static void add_set_here(struct table *t, const struct json *settings) {
    struct buf text;
    const char *name = NULL;
    int bad = 0;
    buf_init(&text, MAX_FETCH_BODY);
    for (const struct json *s = json_each(settings, NULL, &name); s;
         s = json_each(settings, s, &name)) {
        if (is_set_here(s)) {
            bad |= text.len > 0 ? buf_adds(&text, ", ") : 0;
            bad |= buf_adds(&text, name);
        }
    }
    table_add(t, TERM_YELLOW, buf_str(&text));
    t->bad = t->bad || bad;
    buf_release(&text);
}

static int print_routes(struct admin_client *c) {
    const struct json *routes = json_get(c->body, "routes");
    static const struct table_column columns[] = {{"route", false},    {"path", false},
                                                  {"models", false},   {"policy", false},
                                                  {"failover", false}, {"set here", false}};
    struct table t;
    table_init(&t, columns, sizeof(columns) / sizeof(*columns));
    for (const struct json *r = json_at(routes, 0); r; r = json_next(r)) {
        table_add(&t, TERM_PLAIN, json_get_str(r, "name"));
        table_add(&t, TERM_PLAIN, json_get_str(r, "path"));
        add_models(&t, r);
        add_policy(&t, r);
        add_failover(&t, r);
        add_set_here(&t, json_get(r, "settings"));
    }
    int bad = table_print(&t, stdout);
    table_release(&t);
    return bad ? CLI_FAILED : CLI_OK;
}

/* ---- One route ---- */

static void add_value(struct table *t, const struct json *value, enum term_colour colour) {
    struct buf text;
    buf_init(&text, MAX_FETCH_BODY);
    if (value && !json_is_null(value) && json_print(value, &text) != BUF_OK) {
        t->bad = true;
    }
    table_add(t, colour, buf_str(&text));
    buf_release(&text);
}

/* What a setting that is set hides of the file, as long as it is short. */
static void add_source(struct table *t, const struct json *setting) {
    enum { SHORT = 24 };
    const struct json *file = json_get(setting, "file");
    struct buf text;
    if (!is_set_here(setting)) {
        table_add(t, TERM_PLAIN, json_get_str(setting, "source"));
        return;
    }
    buf_init(&text, MAX_FETCH_BODY);
    if (!file || json_is_null(file)) {
        table_add(t, TERM_YELLOW, STR("set"));
    } else if (json_print(file, &text) == BUF_OK && text.len <= SHORT) {
        table_addf(t, TERM_YELLOW, "set (file: %s)", text.data);
    } else {
        table_add(t, TERM_YELLOW, STR("set (file: …)"));
    }
    buf_release(&text);
}

static void add_setting(struct table *t, const char *name, const struct json *setting,
                        const struct json *field) {
    bool is_default = str_is(json_get_str(setting, "source"), "default");
    enum term_colour colour = is_default             ? TERM_DIM
                              : is_set_here(setting) ? TERM_YELLOW
                                                     : TERM_PLAIN;
    table_add(t, colour, str_of(name));
    add_value(t, json_get(setting, "value"), colour);
    add_source(t, setting);
    table_add(t, TERM_PLAIN, json_get_str(field, "unit"));
    table_add(t, TERM_PLAIN, json_get_str(field, "help"));
}

/* The settings that there are, then those that the policy knows and nothing gives. */
static int print_settings(const struct json *settings, const struct json *schema) {
    static const struct table_column columns[] = {{"setting", false},
                                                  {"value", false},
                                                  {"source", false},
                                                  {"unit", false},
                                                  {"meaning", false}};
    struct table t;
    const char *name = NULL;
    table_init(&t, columns, sizeof(columns) / sizeof(*columns));
    for (const struct json *s = json_each(settings, NULL, &name); s;
         s = json_each(settings, s, &name)) {
        add_setting(&t, name, s, json_get(schema, name));
    }
    for (const struct json *f = json_each(schema, NULL, &name); f;
         f = json_each(schema, f, &name)) {
        if (!json_get(settings, name)) {
            add_setting(&t, name, NULL, f);
        }
    }
    int bad = table_print(&t, stdout);
    table_release(&t);
    return bad ? CLI_FAILED : CLI_OK;
}

static int print_route(struct admin_client *c) {
    const struct json *route = c->body;
    term_put(stdout, json_get_str(route, "name"));
    printf(": ");
    term_put(stdout, json_get_str(route, "path"));
    printf(", policy ");
    term_put(stdout, json_get_str(route, "policy"));
    printf(", version %.0f of its settings\n\n", json_get_num(route, "version", 0));
    return print_settings(json_get(route, "settings"), json_get(route, "schema"));
}

int cli_routes(int argc, char **argv) {
    struct admin_client c;
    struct buf path;
    int status;
    if (!admin_open(&c, &COMMAND, argc, argv, &status)) {
        return status;
    }
    bool one = c.n_words == 1;
    buf_init(&path, MAX_REQUEST_LINE);
    if (buf_adds(&path, "/admin/routes") != BUF_OK ||
        (one && (buf_addc(&path, '/') != BUF_OK ||
                 admin_add_escaped(&path, str_of(c.words[0])) != BUF_OK))) {
        fprintf(stderr, "moongate routes: the route's name is too long\n");
        status = CLI_USAGE;
    } else {
        status = admin_show(&c, path.data, one ? "settings" : "routes", "routes",
                            one ? print_route : print_routes);
    }
    buf_release(&path);
    admin_close(&c);
    return status;
}
