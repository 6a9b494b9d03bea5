/* SPDX-License-Identifier: MIT */
/* moongate targets, suspend, resume: who is asked, who is left alone, and changing that. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/admin_client.h"
#include "cli/table.h"

/* ---- targets ---- */

static const struct admin_command TARGETS = {
    .help = "Usage: moongate targets [OPTION…]\n\n"
            "Shows every target that the routes name or that was asked: whether it is used, and "
            "how it\nfared. Times are moving averages of answers that succeeded.\n",
    .sample = "  $ moongate targets\n"
              "  target         state                          inflight  first token  total   ok  "
              "failed  last error\n"
              "  openai/gpt-4o  suspended 12 s: rate_limited          0       312 ms  2.1 s  120"
              "       3  rate_limited\n"
              "  spare/llama3   up                                    1        80 ms  1.4 s   14"
              "       0  -\n",
};

static void add_part(struct buf *out, const char *text) {
    if (out->len > 0) {
        (void)!buf_adds(out, ", ");
    }
    (void)!buf_adds(out, text);
}

static void add_suspension(struct buf *out, const struct json *t) {
    double left = json_get_num(t, "suspended_for", 0);
    struct str reason = json_get_str(t, "reason");
    char text[64], time[32];
    bool endless = json_get_bool(t, "until_resumed");
    if (left <= 0 && !endless) {
        return;
    }
    term_duration(ceil(left), time, sizeof(time));
    if (left < 10) {
        snprintf(time, sizeof(time), "%.0f s", ceil(left));
    }
    snprintf(text, sizeof(text), "suspended %s", endless ? "until resumed" : time);
    add_part(out, text);
    if (reason.n > 0) {
        (void)!buf_addf(out, ": %.*s", (int)reason.n, reason.p);
    }
}

/* "up", or all that speaks against asking it. */
static void add_state(struct table *table, const struct json *t) {
    struct buf state;
    struct str breaker = json_get_str(t, "breaker");
    bool down = !json_get_bool(t, "up");
    buf_init(&state, KIB(4));
    if (down) {
        add_part(&state, "down");
    }
    add_suspension(&state, t);
    if (breaker.n > 0 && !str_is(breaker, "closed")) {
        char text[64];
        snprintf(text, sizeof(text), "breaker %.*s", (int)(breaker.n < 40 ? breaker.n : 40),
                 breaker.p);
        add_part(&state, text);
    }
    bool up = state.len == 0;
    table_add(table,
              up     ? TERM_GREEN
              : down ? TERM_RED
                     : TERM_YELLOW,
              up ? STR("up") : buf_str(&state));
    buf_release(&state);
}

static void add_time(struct table *table, double seconds) {
    char text[32] = "";
    if (seconds > 0) {
        term_duration(seconds, text, sizeof(text));
    }
    table_add(table, TERM_PLAIN, str_of(text));
}

static void add_target(struct table *table, const struct json *t) {
    table_add(table, TERM_PLAIN, json_get_str(t, "target"));
    add_state(table, t);
    table_num(table, json_get_num(t, "inflight", 0));
    add_time(table, json_get_num(t, "ewma_first_token", 0));
    add_time(table, json_get_num(t, "ewma_total", 0));
    table_num(table, json_get_num(t, "successes", 0));
    table_num(table, json_get_num(t, "failures", 0));
    table_add(table, TERM_PLAIN, json_get_str(t, "last_error"));
}

static int print_targets(struct admin_client *c) {
    const struct json *targets = json_get(c->body, "targets");
    static const struct table_column columns[] = {
        {"target", false}, {"state", false}, {"inflight", true}, {"first token", true},
        {"total", true},   {"ok", true},     {"failed", true},   {"last error", false}};
    struct table table;
    if (json_len(targets) == 0) {
        printf("no target is known yet\n");
        return CLI_OK;
    }
    table_init(&table, columns, sizeof(columns) / sizeof(*columns));
    for (const struct json *t = json_at(targets, 0); t; t = json_next(t)) {
        add_target(&table, t);
    }
    int bad = table_print(&table, stdout);
    table_release(&table);
    return bad ? CLI_FAILED : CLI_OK;
}

int cli_targets(int argc, char **argv) {
    struct admin_client c;
    int status;
    if (!admin_open(&c, &TARGETS, argc, argv, &status)) {
        return status;
    }
    status = admin_show(&c, "/admin/targets", "targets", NULL, print_targets);
    admin_close(&c);
    return status;
}

/* ---- suspend, resume ---- */

static const struct admin_command SUSPEND = {
    .help = "Usage: moongate suspend TARGET [SECONDS] [OPTION…]\n\n"
            "Policies leave TARGET (\"provider/model\", or \"provider\") alone for SECONDS, or, "
            "without\nthem, until moongate resume. Requests under way go on.\n",
    .sample = "  $ moongate suspend openai/gpt-4o 600 --reason \"maintenance until noon\"\n"
              "  openai/gpt-4o is suspended for 10 min\n",
    .words = "TARGET [SECONDS]",
    .min_words = 1,
    .max_words = 2,
    .takes = ADMIN_REASON | ADMIN_GROUP | ADMIN_WHY,
};

static const struct admin_command RESUME = {
    .help = "Usage: moongate resume TARGET [OPTION…]\n\n"
            "Ends a suspension of TARGET, whoever made it: policies may choose it again.\n",
    .sample = "  $ moongate resume openai/gpt-4o\n"
              "  openai/gpt-4o is no longer suspended\n",
    .words = "TARGET",
    .min_words = 1,
    .max_words = 1,
    .takes = ADMIN_WHY,
};

/* "90", "90s", "10m", "2h": seconds, or below 0. */
static double read_seconds(const char *text) {
    char *end = NULL;
    double n = strtod(text, &end);
    double unit = str_is(str_of(end), "m")                   ? 60
                  : str_is(str_of(end), "h")                 ? 3600
                  : *end == '\0' || str_is(str_of(end), "s") ? 1
                                                             : NAN;
    double seconds = n * unit;
    return end != text && isfinite(seconds) && seconds > 0 ? seconds : -1;
}

static int write_suspension(const struct admin_client *c, double seconds, struct buf *body) {
    struct json *root = json_object();
    if (seconds > 0) {
        json_add_num(root, "seconds", seconds);
    }
    if (c->reason) {
        json_add_str(root, "reason", str_of(c->reason));
    }
    if (c->group) {
        json_add_bool(root, "group", true);
    }
    int bad = json_print(root, body);
    json_free(root);
    return bad;
}

/* POST /admin/targets/NAME/verb. */
static int post(struct admin_client *c, const char *verb, struct str body) {
    struct buf path;
    int status = CLI_FAILED;
    buf_init(&path, MAX_REQUEST_LINE);
    if (buf_adds(&path, "/admin/targets/") == BUF_OK &&
        admin_add_escaped(&path, str_of(c->words[0])) == BUF_OK &&
        buf_addf(&path, "/%s", verb) == BUF_OK) {
        struct admin_call call = {
            .method = "POST", .path = path.data, .body = body, .version = -1, .look = "targets"};
        status = admin_call(c, &call);
    } else {
        fprintf(stderr, "moongate: the target's name is too long\n");
    }
    buf_release(&path);
    return status;
}

static void print_suspended(const struct admin_client *c) {
    const struct json *kept = json_get(c->body, "persistent");
    bool endless = json_get_bool(c->body, "until_resumed"), is_kept = true;
    char left[32];
    term_duration(json_get_num(c->body, "suspended_for", -1), left, sizeof(left));
    term_put(stdout, str_of(c->words[0]));
    printf(" is suspended %s%s\n", endless ? "until moongate resume" : "for ", endless ? "" : left);
    if (endless && json_bool(kept, &is_kept) && !is_kept) {
        fprintf(stderr, "moongate: warning: a restart forgets this: the configuration names no "
                        "state_dir\n");
    }
}

int cli_suspend(int argc, char **argv) {
    struct admin_client c;
    struct buf body;
    int status;
    if (!admin_open(&c, &SUSPEND, argc, argv, &status)) {
        return status;
    }
    double seconds = c.n_words > 1 ? read_seconds(c.words[1]) : 0;
    buf_init(&body, MAX_ADMIN_BODY);
    if (seconds < 0) {
        fprintf(stderr, "moongate suspend: \"%s\" is no time above 0: 90, 90s, 10m or 2h\n",
                c.words[1]);
        status = CLI_USAGE;
    } else if (write_suspension(&c, seconds, &body) != BUF_OK) {
        fprintf(stderr, "moongate suspend: the reason is too long\n");
        status = CLI_FAILED;
    } else {
        status = post(&c, "suspend", buf_str(&body));
    }
    if (status == CLI_OK && c.json) {
        admin_print_json(&c);
    } else if (status == CLI_OK) {
        print_suspended(&c);
    }
    buf_release(&body);
    admin_close(&c);
    return status;
}

int cli_resume(int argc, char **argv) {
    struct admin_client c;
    int status;
    if (!admin_open(&c, &RESUME, argc, argv, &status)) {
        return status;
    }
    status = post(&c, "resume", STR(""));
    if (status == CLI_OK && c.json) {
        admin_print_json(&c);
    } else if (status == CLI_OK) {
        term_put(stdout, str_of(c.words[0]));
        printf(" is no longer suspended\n");
    }
    admin_close(&c);
    return status;
}
