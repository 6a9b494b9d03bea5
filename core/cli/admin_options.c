/* SPDX-License-Identifier: MIT */
/* The command line of admin_client.h: address, token, words. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/admin_client.h"
#include "cli/term.h"

static const char OPTIONS[] =
    "  --admin URL        the gateway's admin address (default: MOONGATE_ADMIN, else\n"
    "                     http://127.0.0.1:9090)\n"
    "  --cacert FILE      PEM certificates to trust for https (default: MOONGATE_ADMIN_CACERT,\n"
    "                     else the system's)\n"
    "  --token-file FILE  holds the admin token (default: the variable MOONGATE_ADMIN_TOKEN)\n"
    "  --json             print the API's answer as it is\n"
    "  -h, --help         this text\n\n"
    "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the gateway cannot be reached.\n";

static void print_help(const struct admin_command *command) {
    printf("%s\n", command->help);
    if (command->takes & ADMIN_REASON) {
        printf("  --reason TEXT      told wherever the suspension shows\n");
    }
    if (command->takes & ADMIN_GROUP) {
        printf("  --group            all targets that share its provider's quota group\n");
    }
    if (command->takes & ADMIN_WHY) {
        printf("  --why TEXT         kept with the generation and in the audit log\n");
    }
    printf("%s\nExample:\n\n%s", OPTIONS, command->sample);
}

/* ---- Address ---- */

static int set_address(struct admin_client *c, const char *given, const char *from) {
    const char *scheme = strstr(given, "://") ? "" : "http://";
    int n = snprintf(c->url, sizeof(c->url), "%s%s", scheme, given);
    bool http = strncmp(c->url, "http://", 7) == 0 || strncmp(c->url, "https://", 8) == 0;
    if (n < 0 || (size_t)n >= sizeof(c->url) || !http || strpbrk(c->url, " ?#") || !*given) {
        fprintf(stderr, "moongate: %s is no address such as http://127.0.0.1:9090\n", from);
        return CLI_USAGE;
    }
    if (strchr(c->url, '@')) {
        fprintf(stderr,
                "moongate: %s holds a name or password: the token is given with "
                "MOONGATE_ADMIN_TOKEN or --token-file\n",
                from);
        return CLI_USAGE;
    }
    while (n > 0 && c->url[n - 1] == '/') {
        c->url[--n] = '\0';
    }
    return CLI_OK;
}

static int find_address(struct admin_client *c, const char *option) {
    const char *variable = getenv("MOONGATE_ADMIN");
    if (option) {
        return set_address(c, option, "--admin");
    }
    if (variable && *variable) {
        return set_address(c, variable, "the variable MOONGATE_ADMIN");
    }
    return set_address(c, "http://127.0.0.1:9090", "the default");
}

/* ---- Token ---- */

static int set_token(struct admin_client *c, struct str token, const char *from) {
    while (token.n > 0 && (token.p[token.n - 1] == '\n' || token.p[token.n - 1] == '\r')) {
        token.n--;
    }
    token = str_trim(token);
    if (token.n == 0 || token.n >= sizeof(c->token) || !header_value_ok(token)) {
        fprintf(stderr,
                "moongate: %s holds no token: one line of text is expected, of at most "
                "%zu bytes\n",
                from, sizeof(c->token) - 1);
        return CLI_FAILED;
    }
    memcpy(c->token, token.p, token.n);
    c->token[token.n] = '\0';
    c->token_from = from;
    return CLI_OK;
}

static int read_token(struct admin_client *c, const char *file) {
    char text[MAX_ADMIN_TOKEN + 1];
    struct stat about;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    if (n < 0) {
        fprintf(stderr, "moongate: the token file %s cannot be read: %s\n", file, strerror(errno));
    } else if (fstat(fd, &about) == 0 && (about.st_mode & S_IROTH)) {
        fprintf(stderr, "moongate: warning: everybody may read %s: chmod 600 it\n", file);
    }
    if (fd >= 0) {
        close(fd);
    }
    return n < 0 ? CLI_FAILED : set_token(c, str_make(text, (size_t)n), file);
}

static int find_token(struct admin_client *c, const char *file) {
    const char *variable = getenv("MOONGATE_ADMIN_TOKEN");
    if (file) {
        return read_token(c, file);
    }
    return variable && *variable ? set_token(c, str_of(variable), "MOONGATE_ADMIN_TOKEN") : CLI_OK;
}

/* ---- Whom to trust ---- */

static int find_ca(struct admin_client *c, const char *option) {
    const char *file = option ? option : getenv("MOONGATE_ADMIN_CACERT");
    struct buf text;
    struct err err;
    if (!file || !*file) {
        return CLI_OK;
    }
    buf_init(&text, MAX_PEM);
    int found = file_read(file, &text, &err);
    if (found == 1 && text.len > 0) {
        c->ca = buf_take(&text);
    } else {
        fprintf(stderr, "moongate: %s: %s\n", file,
                found < 0    ? err.text
                : found == 0 ? "there is no such file"
                             : "holds no certificates");
    }
    buf_release(&text);
    return c->ca ? CLI_OK : CLI_FAILED;
}

/* ---- All of it ---- */

enum { OPT_ADMIN = 256, OPT_CACERT, OPT_TOKEN_FILE, OPT_JSON, OPT_WHY, OPT_REASON, OPT_GROUP };

struct given {
    const char *admin, *cacert, *token_file;
    bool help;
};

static bool allowed(const struct admin_command *command, int opt) {
    return (opt != OPT_WHY || command->takes & ADMIN_WHY) &&
           (opt != OPT_REASON || command->takes & ADMIN_REASON) &&
           (opt != OPT_GROUP || command->takes & ADMIN_GROUP) && opt != '?';
}

static void take(struct admin_client *c, struct given *given, int opt) {
    switch (opt) {
    case OPT_ADMIN:
        given->admin = optarg;
        break;
    case OPT_CACERT:
        given->cacert = optarg;
        break;
    case OPT_TOKEN_FILE:
        given->token_file = optarg;
        break;
    case OPT_JSON:
        c->json = true;
        break;
    case OPT_WHY:
        c->why = optarg;
        break;
    case OPT_REASON:
        c->reason = optarg;
        break;
    case OPT_GROUP:
        c->group = true;
        break;
    default:
        given->help = true;
    }
}

/* getopt takes abbreviations, so --token SECRET would be --token-file SECRET, whose message shows
 * the secret. False after a message that repeats no value. */
static bool all_whole(const struct option *options, char **argv) {
    for (int i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        size_t n = strcspn(argv[i], "=");
        const struct option *o = options;
        if (strncmp(argv[i], "--", 2) != 0) {
            continue;
        }
        while (o->name && (strlen(o->name) != n - 2 || strncmp(o->name, argv[i] + 2, n - 2) != 0)) {
            o++;
        }
        if (!o->name) {
            fprintf(stderr, "moongate %s: there is no option %.*s\n", argv[0], (int)n, argv[i]);
            return false;
        }
        i += o->has_arg == required_argument && !argv[i][n] && argv[i + 1];
    }
    return true;
}

static int read_options(struct admin_client *c, const struct admin_command *command,
                        struct given *given, int argc, char **argv) {
    static const struct option options[] = {{"admin", required_argument, NULL, OPT_ADMIN},
                                            {"cacert", required_argument, NULL, OPT_CACERT},
                                            {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"why", required_argument, NULL, OPT_WHY},
                                            {"reason", required_argument, NULL, OPT_REASON},
                                            {"group", no_argument, NULL, OPT_GROUP},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int at = 0;
    if (!all_whole(options, argv)) {
        fprintf(stderr, "moongate %s --help tells the options.\n", argv[0]);
        return CLI_USAGE;
    }
    optind = 1;
    for (int opt = getopt_long(argc, argv, "h", options, &at); opt != -1;
         opt = getopt_long(argc, argv, "h", options, &at)) {
        if (!allowed(command, opt)) {
            if (opt != '?') {
                fprintf(stderr, "moongate %s: --%s is none of its options\n", argv[0],
                        options[at].name);
            }
            fprintf(stderr, "moongate %s --help tells the options.\n", argv[0]);
            return CLI_USAGE;
        }
        take(c, given, opt);
    }
    c->words = argv + optind;
    c->n_words = argc - optind;
    return CLI_OK;
}

static int check_words(const struct admin_client *c, const struct admin_command *command,
                       const char *name) {
    if (c->n_words > command->max_words) {
        fprintf(stderr, "moongate %s: \"%s\" was not expected\n", name,
                c->words[command->max_words]);
    } else if (c->n_words < command->min_words) {
        fprintf(stderr, "moongate %s: something is missing\n", name);
    } else if (c->why && !header_value_ok(str_of(c->why))) {
        fprintf(stderr, "moongate %s: --why takes one line of text\n", name);
    } else {
        return CLI_OK;
    }
    const char *words = command->words;
    fprintf(stderr, "Usage: moongate %s%s%s [OPTION…]; moongate %s --help tells more.\n", name,
            words ? " " : "", words ? words : "", name);
    return CLI_USAGE;
}

bool admin_open(struct admin_client *c, const struct admin_command *command, int argc, char **argv,
                int *status) {
    struct given given = {.help = false};
    memset(c, 0, sizeof(*c));
    setvbuf(stdout, NULL, _IOLBF, 0); /* in order with what goes to stderr */
    *status = read_options(c, command, &given, argc, argv);
    if (*status == CLI_OK && given.help) {
        print_help(command);
        return false;
    }
    *status = *status ? *status : check_words(c, command, argv[0]);
    *status = *status ? *status : find_address(c, given.admin);
    *status = *status ? *status : find_ca(c, given.cacert);
    *status = *status ? *status : find_token(c, given.token_file);
    fetch_answer_init(&c->answer);
    return *status == CLI_OK;
}

void admin_close(struct admin_client *c) {
    explicit_bzero(c->token, sizeof(c->token));
    free(c->ca);
    json_free(c->body);
    c->body = NULL;
    fetch_answer_release(&c->answer);
}
