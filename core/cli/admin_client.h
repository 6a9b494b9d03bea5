/* SPDX-License-Identifier: MIT */
/*
 * Commands that speak to the admin API of a running gateway: their common options, one call, and
 * the messages for all that can go wrong with it. The token comes from MOONGATE_ADMIN_TOKEN or a
 * file, never from the command line (which other users can read), and is never printed.
 */
#ifndef CLI_ADMIN_CLIENT_H
#define CLI_ADMIN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/str.h"
#include "cli/cli.h"
#include "upstream/fetch.h"

/* Options beyond those that every such command takes. */
enum { ADMIN_WHY = 1, ADMIN_REASON = 2, ADMIN_GROUP = 4 };

struct admin_command {
    const char *help;   /* usage and what it does, before the list of options */
    const char *sample; /* an example with what it prints, after the list */
    const char *words;  /* "TARGET [SECONDS]", for messages; NULL = it takes none */
    int min_words, max_words;
    unsigned takes; /* ADMIN_… */
};

struct admin_client {
    char url[MAX_ADMIN_URL];     /* without a slash at its end */
    char token[MAX_ADMIN_TOKEN]; /* SECRET; "" = none */
    const char *token_from;      /* the variable or file it came from */
    char *ca;                    /* PEM: authorities for https; owned; NULL = the system's */
    bool json;                   /* --json */
    bool group;                  /* --group */
    const char *why, *reason;    /* NULL = not given; borrowed from argv */
    char **words;                /* what is no option; borrowed from argv */
    int n_words;
    struct fetch_answer answer; /* of the last call */
    struct json *body;          /* of the last call; NULL = none */
};

/* Reads the command line. True: go on, and end with admin_close. False: *status is the exit status,
 * help or a message was printed, nothing is to be closed. */
bool admin_open(struct admin_client *c, const struct admin_command *command, int argc, char **argv,
                int *status);
void admin_close(struct admin_client *c);

struct admin_call {
    const char *method;
    const char *path; /* "/admin/routes/chat", escaped (admin_add_escaped) */
    struct str body;  /* JSON; empty = none */
    double version;   /* below 0: no If-Match */
    const char
        *holds; /* a field that the answer must have to be one of the API's; NULL = "ok": true */
    const char *look; /* words of the command that shows what may be there instead, for messages:
                         "routes chat"; NULL = none */
};

/* One call. CLI_OK: a 2xx, its JSON in c->body. Else the exit status, after a message on stderr
 * (and with --json the API's answer on stdout). */
int admin_call(struct admin_client *c, const struct admin_call *call);
/* The same for a GET. */
int admin_get(struct admin_client *c, const char *path, const char *holds, const char *look);
/* And shows what came: with --json as it is, else by `print`, which gives the exit status. */
int admin_show(struct admin_client *c, const char *path, const char *holds, const char *look,
               int (*print)(struct admin_client *c));

/* Adds a part of a path; what is not plain goes as %XX. "/" stays, as a target's name has it. */
int admin_add_escaped(struct buf *path, struct str part) __attribute__((warn_unused_result));

/* The last answer as it came, on stdout. */
void admin_print_json(const struct admin_client *c);
/* "warnings" of the last answer, like the diagnostics of a check. */
void admin_print_warnings(const struct admin_client *c);
/* [{"file","line","message"}] as cli_print_diagnostic does it; how many. */
int admin_print_diagnostics(const struct json *list, bool warnings);

#endif
