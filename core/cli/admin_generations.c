/* SPDX-License-Identifier: MIT */
/* moongate generations, reload, activate: what was loaded, loading again, going back. */
#include <stdio.h>

#include "cli/admin_client.h"
#include "cli/table.h"

/* ---- generations ---- */

static const struct admin_command GENERATIONS = {
    .help = "Usage: moongate generations [OPTION…]\n\n"
            "Shows the loads of the configuration that are kept, the newest first; \"*\" marks the "
            "one\nthat new requests use. Any of them can be made that again: moongate activate "
            "ID.\n",
    .sample = "  $ moongate generations\n"
              "     id  hash              state   loaded                   by"
              "      why  requests   memory  calls  errors  kills\n"
              "  *   8  3f1c09aa52d1e0b7  active  2026-11-21 12:48:22 UTC  SI"
              "GHUP  -           3  1.2 MiB    412       0      0\n"
              "      7  90b2c1d0e4f5a6b7  kept    2026-11-21 09:12:02 UTC  st"
              "art   -           0        -  90210       2      0\n",
};

static void add_generation(struct table *t, const struct json *g, double active) {
    char when[32], memory[32] = "";
    double bytes = json_get_num(g, "memory", 0);
    double id = json_get_num(g, "id", 0);
    struct str state = json_get_str(g, "state");
    enum term_colour colour = id == active                ? TERM_GREEN
                              : str_is(state, "draining") ? TERM_YELLOW
                                                          : TERM_PLAIN;
    term_time(json_get_str(g, "loaded_at"), when, sizeof(when));
    if (bytes > 0) { /* else it is kept as files only */
        term_bytes(bytes, memory, sizeof(memory));
    }
    table_add(t, colour, id == active ? STR("*") : STR(" "));
    table_num(t, id);
    table_add(t, TERM_PLAIN, json_get_str(g, "hash"));
    table_add(t, colour, state);
    table_add(t, TERM_PLAIN, str_of(when));
    table_add(t, TERM_PLAIN, json_get_str(g, "who"));
    table_add(t, TERM_PLAIN, json_get_str(g, "why"));
    table_num(t, json_get_num(g, "references", 0));
    table_add(t, TERM_PLAIN, str_of(memory));
    table_num(t, json_get_num(g, "calls", 0));
    table_num(t, json_get_num(g, "errors", 0));
    table_num(t, json_get_num(g, "kills", 0));
}

static int print_generations(const struct json *all) {
    static const struct table_column columns[] = {
        {"", false},       {"id", true},    {"hash", false},  {"state", false},
        {"loaded", false}, {"by", false},   {"why", false},   {"requests", true},
        {"memory", true},  {"calls", true}, {"errors", true}, {"kills", true}};
    struct table t;
    double active = json_get_num(all, "active", -1);
    table_init(&t, columns, sizeof(columns) / sizeof(*columns));
    for (const struct json *g = json_at(json_get(all, "generations"), 0); g; g = json_next(g)) {
        add_generation(&t, g, active);
    }
    int bad = table_print(&t, stdout);
    table_release(&t);
    return bad ? CLI_FAILED : CLI_OK;
}

/* On stdout: it is a part of what was asked for, so its diagnostics go there, too. */
static void print_last_refused(const struct json *refused) {
    char when[32];
    if (!json_is_object(refused)) {
        return;
    }
    term_time(json_get_str(refused, "at"), when, sizeof(when));
    printf("\n%slast refused%s: %s by ", term_begin(stdout, TERM_YELLOW),
           term_end(stdout, TERM_YELLOW), when);
    term_put(stdout, json_get_str(refused, "who"));
    if (json_get_str(refused, "why").n > 0) {
        printf(" (");
        term_put(stdout, json_get_str(refused, "why"));
        putchar(')');
    }
    putchar('\n');
    const struct json *list = json_get(refused, "diagnostics");
    for (const struct json *d = json_at(list, 0); d; d = json_next(d)) {
        double line = json_get_num(d, "line", 0);
        printf("  ");
        term_put(stdout, json_get_str(d, "file"));
        if (line > 0) {
            printf(":%.0f", line);
        }
        printf(": ");
        term_put(stdout, json_get_str(d, "message"));
        putchar('\n');
    }
}

static int print_all(struct admin_client *c) {
    int status = print_generations(c->body);
    print_last_refused(json_get(c->body, "last_refused"));
    return status;
}

int cli_generations(int argc, char **argv) {
    struct admin_client c;
    int status;
    if (!admin_open(&c, &GENERATIONS, argc, argv, &status)) {
        return status;
    }
    status = admin_show(&c, "/admin/generations", "generations", NULL, print_all);
    admin_close(&c);
    return status;
}

/* ---- reload ---- */

static const struct admin_command RELOAD = {
    .help = "Usage: moongate reload [OPTION…]\n\n"
            "Loads the configuration and its policies again, as SIGHUP does, and tells how it "
            "went.\nOne that is wrong changes nothing.\n",
    .sample = "  $ moongate reload --why \"new prices\"\n"
              "  generation 9 is active\n",
    .takes = ADMIN_WHY,
};

int cli_reload(int argc, char **argv) {
    struct admin_client c;
    struct admin_call call = {.method = "POST", .path = "/admin/reload", .version = -1};
    int status;
    if (!admin_open(&c, &RELOAD, argc, argv, &status)) {
        return status;
    }
    status = admin_call(&c, &call);
    if (status == CLI_OK && c.json) {
        admin_print_json(&c);
    } else if (status == CLI_OK) {
        bool changed = json_get_bool(c.body, "changed");
        admin_print_warnings(&c);
        printf("%sgeneration %.0f %s active\n",
               changed ? "" : "nothing changed: ", json_get_num(c.body, "active", 0),
               changed ? "is" : "stays");
    }
    admin_close(&c);
    return status;
}

/* ---- activate ---- */

static const struct admin_command ACTIVATE = {
    .help = "Usage: moongate activate ID [OPTION…]\n\n"
            "Makes a generation that is kept the one that new requests use, with the settings that "
            "were\nset then. The files are left alone: the next reload loads them again.\n",
    .sample = "  $ moongate activate 7 --why \"8 times out\"\n"
              "  generation 7 is active\n",
    .words = "ID",
    .min_words = 1,
    .max_words = 1,
    .takes = ADMIN_WHY,
};

int cli_activate(int argc, char **argv) {
    struct admin_client c;
    unsigned long long id;
    char path[64];
    int status;
    if (!admin_open(&c, &ACTIVATE, argc, argv, &status)) {
        return status;
    }
    if (!str_to_u64(str_of(c.words[0]), &id)) {
        fprintf(stderr,
                "moongate activate: \"%s\" is no generation's number; moongate generations shows "
                "them\n",
                c.words[0]);
        status = CLI_USAGE;
    } else {
        snprintf(path, sizeof(path), "/admin/generations/%llu/activate", id);
        struct admin_call call = {
            .method = "POST", .path = path, .version = -1, .look = "generations"};
        status = admin_call(&c, &call);
    }
    if (status == CLI_OK && c.json) {
        admin_print_json(&c);
    } else if (status == CLI_OK) {
        admin_print_warnings(&c);
        printf("generation %.0f is active\n", json_get_num(c.body, "active", 0));
    }
    admin_close(&c);
    return status;
}
