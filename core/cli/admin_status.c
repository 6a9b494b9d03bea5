/* SPDX-License-Identifier: MIT */
/* moongate status: what runs, since when, on whose word, and what is wrong with it. */
#include <stdio.h>

#include "cli/admin_client.h"
#include "cli/table.h"

static const struct admin_command COMMAND = {
    .help = "Usage: moongate status [OPTION…]\n\n"
            "Shows a running gateway: its version, the generation in force and who loaded it,\n"
            "requests under way, reloads, and its policies.\n",
    .sample = "  $ moongate status\n"
              "  moongate 0.1.0 at http://127.0.0.1:9090, up 3 h 12 min\n"
              "  generation  8 (3f1c09aa52d1e0b7), loaded 2026-11-21 12:48:22 UTC by SIGHUP\n"
              "  requests    3 under way on 12 connections, 2 workers\n"
              "  reloads     4 applied, 1 refused, 2 unchanged; files are watched\n\n"
              "  policy    state    calls  errors  kills  reason\n"
              "  failover  running   1204       0      0  -\n",
};

static void print_line(const char *label) {
    printf("%-11s ", label);
}

static void put(struct str text) {
    term_put(stdout, text);
}

static void print_head(const struct admin_client *c, const struct json *status) {
    char up[32];
    term_duration(json_get_num(status, "uptime", -1), up, sizeof(up));
    struct str parts = json_get_str(status, "version"), version;
    if (str_split(&parts, '(', &version)) { /* the libraries' versions are for moongate version */
        put(str_trim(version));
    }
    printf(" at %s, up %s\n", c->url, up);
    if (json_get_bool(status, "draining")) {
        printf("%sit is stopping: requests under way may finish, new ones are refused%s\n",
               term_begin(stdout, TERM_YELLOW), term_end(stdout, TERM_YELLOW));
    }
}

static void print_generation(const struct json *status, struct str who) {
    char when[32];
    term_time(json_get_str(status, "loaded_at"), when, sizeof(when));
    print_line("generation");
    printf("%.0f (", json_get_num(status, "generation", 0));
    put(json_get_str(status, "hash"));
    printf("), loaded %s", when);
    if (who.n > 0) {
        printf(" by ");
        put(who);
    }
    putchar('\n');
}

static void print_counts(const struct json *status) {
    const struct json *reloads = json_get(status, "reloads");
    double refused = json_get_num(reloads, "refused", 0);
    enum term_colour colour = refused > 0 ? TERM_YELLOW : TERM_PLAIN;
    print_line("requests");
    printf("%.0f under way on %.0f connections, %.0f workers\n",
           json_get_num(status, "requests_inflight", 0), json_get_num(status, "connections", 0),
           json_get_num(status, "workers", 0));
    print_line("reloads");
    printf("%.0f applied, %s%.0f refused%s, %.0f unchanged; files are %swatched\n",
           json_get_num(reloads, "applied", 0), term_begin(stdout, colour), refused,
           term_end(stdout, colour), json_get_num(reloads, "unchanged", 0),
           json_get_bool(status, "watch") ? "" : "not ");
}

static int print_policies(const struct json *policies) {
    static const struct table_column columns[] = {{"policy", false}, {"state", false},
                                                  {"calls", true},   {"errors", true},
                                                  {"kills", true},   {"reason", false}};
    struct table t;
    int off = 0;
    if (json_len(policies) == 0) {
        return CLI_OK;
    }
    table_init(&t, columns, 6);
    for (const struct json *p = json_at(policies, 0); p; p = json_next(p)) {
        bool dead = str_is(json_get_str(p, "state"), "switched_off");
        off += dead;
        table_add(&t, dead ? TERM_RED : TERM_PLAIN, json_get_str(p, "policy"));
        table_add(&t, dead ? TERM_RED : TERM_GREEN,
                  dead ? STR("SWITCHED OFF") : json_get_str(p, "state"));
        table_num(&t, json_get_num(p, "calls", 0));
        table_num(&t, json_get_num(p, "errors", 0));
        table_num(&t, json_get_num(p, "kills", 0));
        table_add(&t, TERM_PLAIN, json_get_str(p, "reason"));
    }
    putchar('\n');
    int bad = table_print(&t, stdout);
    table_release(&t);
    if (off > 0) {
        printf("\nA policy that is switched off is answered for by the default plan until a load "
               "is applied: mend it,\nthen moongate reload; or moongate activate an earlier "
               "generation.\n");
    }
    return bad ? CLI_FAILED : CLI_OK;
}

/* The record of the generation in force, of /admin/generations. */
static const struct json *active_one(const struct json *all) {
    double active = json_get_num(all, "active", -1);
    for (const struct json *g = json_at(json_get(all, "generations"), 0); g; g = json_next(g)) {
        if (json_get_num(g, "id", -2) == active) {
            return g;
        }
    }
    return NULL;
}

static void print_last_refused(const struct json *refused) {
    char when[32];
    size_t n = json_len(json_get(refused, "diagnostics"));
    if (!json_is_object(refused)) {
        return;
    }
    term_time(json_get_str(refused, "at"), when, sizeof(when));
    print_line("refused");
    printf("%sthe last load, %s by ", term_begin(stdout, TERM_YELLOW), when);
    put(json_get_str(refused, "who"));
    printf(": %zu mistake%s%s; moongate generations tells\n", n, n == 1 ? "" : "s",
           term_end(stdout, TERM_YELLOW));
}

/* Who loaded what is in force, and what was refused, stands with the generations. */
static int print_all(struct admin_client *c) {
    struct json *about = c->body;
    c->body = NULL;
    int status = admin_get(c, "/admin/generations", "generations", NULL);
    if (status == CLI_OK) {
        print_head(c, about);
        print_generation(about, json_get_str(active_one(c->body), "who"));
        print_counts(about);
        if (json_get_bool(json_get(about, "reloads"), "last_was_refused")) {
            print_last_refused(json_get(c->body, "last_refused"));
        }
        status = print_policies(json_get(about, "policies"));
    }
    json_free(about);
    return status;
}

int cli_status(int argc, char **argv) {
    struct admin_client c;
    int status;
    if (!admin_open(&c, &COMMAND, argc, argv, &status)) {
        return status;
    }
    status = admin_show(&c, "/admin/status", "generation", NULL, print_all);
    admin_close(&c);
    return status;
}
