/* SPDX-License-Identifier: MIT */
/* moongate explain: what the configuration would do with a request, step by step, and why. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin_client.h"
#include "cli/sim_run.h"

static const char HELP[] =
    "Usage: moongate explain [-c FILE] [OPTION…]\n\n"
    "Runs one request through the configuration, in virtual time and with pretended providers, "
    "and\n"
    "tells each step of the policy with its reason. Nothing is sent to any provider.\n\n"
    "  -c, --config FILE        the configuration (default: gateway.lua)\n"
    "      --route NAME         the route to ask (default: the first)\n"
    "      --path PATH          the path to ask for, instead of a route's\n"
    "      --model NAME         the model that the client names\n"
    "      --stream             the client asks for a stream\n"
    "      --key NAME           the client has this key of the configuration\n"
    "      --header 'NAME: VALUE'  a header of the client's; may be given several times\n"
    "      --outcome TARGET=REPLY[,REPLY…]\n"
    "                           what a provider, or one of its models, does on its first call,\n"
    "                           its second, …; the last repeats. REPLY is a status, an outcome\n"
    "                           (server_error, timeout_first_token, …) or a word (ok, refuse,\n"
    "                           never, reset, stale, cut, stall, empty, error_event, quota,\n"
    "                           context, credential, filtered), then /SECONDS for a\n"
    "                           Retry-After and @SECONDS for how long it takes. May be given\n"
    "                           several times; what is not named answers well\n"
    "      --live               begin with what a running gateway has suspended, found down and\n"
    "                           opened breakers for\n"
    "      --admin URL          its admin address (default: $MOONGATE_ADMIN, else\n"
    "                           http://127.0.0.1:9090); implies --live\n"
    "      --cacert FILE        PEM certificates to trust for https (default:\n"
    "                           $MOONGATE_ADMIN_CACERT, else the system's)\n"
    "      --token-file FILE    holds its admin token (default: $MOONGATE_ADMIN_TOKEN)\n"
    "      --json               steps for programs\n"
    "  -h, --help               this text\n\n"
    "Exit status: 0 well, 1 the configuration or the request is wrong, 2 wrong usage, 3 no "
    "running\n"
    "gateway was reached.\n"
    "\nExample:\n\n"
    "  $ moongate explain --model gpt-4o --outcome openai=429/20,200 --outcome spare=503\n";

enum { OPT_JSON = 256, OPT_STREAM, OPT_TEXT, OPT_LIVE, OPT_ADMIN };

/* Options that go to the program as they are, with their value. */
static const struct option OPTIONS[] = {{"config", required_argument, NULL, 'c'},
                                        {"help", no_argument, NULL, 'h'},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"stream", no_argument, NULL, OPT_STREAM},
                                        {"route", required_argument, NULL, OPT_TEXT},
                                        {"path", required_argument, NULL, OPT_TEXT},
                                        {"model", required_argument, NULL, OPT_TEXT},
                                        {"key", required_argument, NULL, OPT_TEXT},
                                        {"header", required_argument, NULL, OPT_TEXT},
                                        {"outcome", required_argument, NULL, OPT_TEXT},
                                        {"live", no_argument, NULL, OPT_LIVE},
                                        {"admin", required_argument, NULL, OPT_ADMIN},
                                        {"cacert", required_argument, NULL, OPT_ADMIN},
                                        {"token-file", required_argument, NULL, OPT_ADMIN},
                                        {NULL, 0, NULL, 0}};

struct explanation {
    struct cli_config config;
    struct cli_list args;
    bool live;
    struct cli_list admin; /* the command line for admin_open */
};

static int add_pair(struct cli_list *args, const char *name, const char *value) {
    return cli_list_add(args, name) | cli_list_add(args, value) ? CLI_FAILED : CLI_OK;
}

static int read_option(struct explanation *e, int opt, int index) {
    char name[32];
    switch (opt) {
    case 'c':
        e->config.file = optarg;
        return CLI_OK;
    case 'h':
        e->config.help = true;
        return CLI_OK;
    case OPT_JSON:
        return cli_list_add(&e->args, "--json") ? CLI_FAILED : CLI_OK;
    case OPT_STREAM:
        return cli_list_add(&e->args, "--stream") ? CLI_FAILED : CLI_OK;
    case OPT_LIVE:
        e->live = true;
        return CLI_OK;
    case OPT_ADMIN:
        e->live = true;
        snprintf(name, sizeof(name), "--%s", OPTIONS[index].name);
        return add_pair(&e->admin, name, optarg);
    case OPT_TEXT:
        snprintf(name, sizeof(name), "--%s", OPTIONS[index].name);
        return add_pair(&e->args, name, optarg);
    default:
        return CLI_USAGE;
    }
}

/* Asks the running gateway what state its targets are in. */
static int add_live_state(struct explanation *e) {
    static const struct admin_command command = {.help = HELP, .sample = ""};
    struct admin_client client;
    int status = CLI_FAILED;
    if (!admin_open(&client, &command, (int)e->admin.n, e->admin.items, &status)) {
        return status;
    }
    status = admin_get(&client, "/admin/targets", "targets", NULL);
    struct buf *body = &client.answer.body;
    if (!status && buf_addc(body, '\0') != BUF_OK) {
        status = CLI_FAILED;
    }
    if (!status) {
        status = add_pair(&e->args, "--live-state", body->data);
    }
    admin_close(&client);
    return status;
}

static int explain(struct explanation *e) {
    struct cli_list none = {0};
    int failed = e->live ? add_live_state(e) : CLI_OK;
    if (failed) {
        return failed;
    }
    struct snapshot *snapshot = cli_read_snapshot(&e->config, true);
    int status =
        snapshot ? cli_run_program(snapshot, &none, "moongate.explain", &e->args, CLI_PROGRAM_CPU)
                 : CLI_FAILED;
    snapshot_unref(snapshot);
    return status;
}

int cli_explain(int argc, char **argv) {
    struct explanation e = {.args = {0}};
    int status = CLI_OK, index = 0;
    cli_init_config(&e.config);
    if (cli_list_add(&e.admin, argv[0]) != 0) {
        return CLI_FAILED;
    }
    optind = 1;
    for (int opt = getopt_long(argc, argv, "c:h", OPTIONS, &index); opt != -1 && !status;
         opt = getopt_long(argc, argv, "c:h", OPTIONS, &index)) {
        status = read_option(&e, opt, index);
    }
    if (!status && optind < argc) {
        fprintf(stderr, "moongate explain: \"%s\" was not expected\n", argv[optind]);
        status = CLI_USAGE;
    }
    if (status == CLI_USAGE) {
        fprintf(stderr, "moongate explain --help tells the options.\n");
    } else if (!status && e.config.help) {
        fputs(HELP, stdout);
    } else if (!status) {
        status = explain(&e);
    }
    cli_list_release(&e.args);
    cli_list_release(&e.admin);
    return status;
}
