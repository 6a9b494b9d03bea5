/* SPDX-License-Identifier: MIT */
/* moongate test: policies against scripted providers in virtual time, dialects against the
 * conformance kit; TAP on stdout. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/hash.h"
#include "cli/sim_run.h"

static const char HELP[] =
    "Usage: moongate test [-c FILE] [--filter TEXT] [--watch] [PATH…]\n\n"
    "Runs the simulator tests of policies: *_test.lua files, which use moongate.sim. What they "
    "can\n"
    "say stands in policies/README.md, with examples; what tests a dialect's file, in\n"
    "lua/dialects/README.md. PATH is such a file, or a folder that is searched for them; without\n"
    "one it is policies/ and lua/dialects/ beside the configuration. Nothing is sent anywhere and\n"
    "no time passes.\n\n"
    "  -c, --config FILE  the configuration beside which policies/ and lua/ lie (default:\n"
    "                     gateway.lua beside those of the first PATH, or here; it need not be\n"
    "                     there)\n"
    "  -f, --filter TEXT  only tests whose \"FILE: NAME\" contains TEXT\n"
    "  -w, --watch        run again whenever a file has changed, until interrupted\n"
    "  -h, --help         this text\n\n"
    "Prints TAP (version 13). Exit status: 0 every test passed, 1 one failed or there was none,\n"
    "2 wrong usage.\n"
    "\nExample:\n\n"
    "  $ moongate test --filter short\n"
    "  TAP version 13\n"
    "  1..1\n"
    "  ok 1 - policies/by_length_test.lua: short requests go to the small model\n"
    "  # 1 passed, 0 failed (0.05 s)\n";

#define POLL_NS 300000000L /* between two looks at the files */

/* Where tests stand beside a configuration. */
static const char *const USUAL[] = {"policies", "lua/dialects"};
#define N_USUAL (sizeof(USUAL) / sizeof(*USUAL))

struct testing {
    struct cli_config config;
    bool given, watch;
    const char *filter;
    char *const *paths; /* NULL-terminated; none: the usual ones that are there */
    char usual[N_USUAL][4096 + 16];
    char beside[4096 + 16]; /* the configuration that the first PATH belongs to */
};

/* Cuts the last name off a path; false when there is none before it. */
static bool cut_name(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash || slash == path) {
        return false;
    }
    *slash = '\0';
    return true;
}

/* Cuts `last` off a path that ends so, and the slash before it. */
static bool cut_if(char *path, const char *last) {
    size_t n = strlen(path), m = strlen(last);
    if (n < m || strcmp(path + n - m, last) != 0 || (n > m && path[n - m - 1] != '/')) {
        return false;
    }
    path[n > m ? n - m - 1 : 0] = '\0';
    return true;
}

static bool is_folder(const char *path, const char *name) {
    char full[4096 + 16];
    struct stat about;
    snprintf(full, sizeof(full), "%s%s%s", path, name ? "/" : "", name ? name : "");
    return stat(full, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Without -c the first PATH tells whose tests these are: it is a folder that has policies/ or
 * lua/dialects/, one of those, or a file in either. Anything else belongs to the current folder. */
static void use_folder_of(struct testing *t, const char *path) {
    struct stat about;
    size_t n = (size_t)snprintf(t->beside, sizeof(t->beside), "%s", path);
    if (n >= sizeof(t->beside) - sizeof("/gateway.lua") || stat(path, &about) != 0) {
        return;
    }
    while (n > 1 && t->beside[n - 1] == '/') {
        t->beside[--n] = '\0';
    }
    if (!S_ISDIR(about.st_mode) && !cut_name(t->beside)) {
        return;
    }
    bool inside = false, there = false;
    for (size_t i = 0; i < N_USUAL && !inside; i++) {
        inside = cut_if(t->beside, USUAL[i]);
    }
    for (size_t i = 0; i < N_USUAL && !there && *t->beside; i++) {
        there = is_folder(t->beside, USUAL[i]);
    }
    if (there) {
        n = strlen(t->beside);
        snprintf(t->beside + n, sizeof(t->beside) - n, "/gateway.lua");
        t->config.file = t->beside;
    }
}

static int read_options(struct testing *t, int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"filter", required_argument, NULL, 'f'},
                                            {"watch", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    memset(t, 0, sizeof(*t));
    cli_init_config(&t->config);
    optind = 1;
    for (int opt = getopt_long(argc, argv, "c:f:wh", options, NULL); opt != -1;
         opt = getopt_long(argc, argv, "c:f:wh", options, NULL)) {
        switch (opt) {
        case 'c':
            t->config.file = optarg;
            t->given = true;
            break;
        case 'f':
            t->filter = optarg;
            break;
        case 'w':
            t->watch = true;
            break;
        case 'h':
            t->config.help = true;
            break;
        default:
            fprintf(stderr, "moongate %s --help tells the options.\n", argv[0]);
            return CLI_USAGE;
        }
    }
    t->paths = argv + optind;
    if (!t->given && *t->paths) {
        use_folder_of(t, *t->paths);
    }
    const char *slash = strrchr(t->config.file, '/');
    int n = slash ? (int)(slash + 1 - t->config.file) : 0;
    for (size_t i = 0; i < N_USUAL; i++) {
        snprintf(t->usual[i], sizeof(t->usual[i]), "%.*s%s", n, t->config.file, USUAL[i]);
    }
    return CLI_OK;
}

static int find_tests(const struct testing *t, struct cli_list *files) {
    for (size_t i = 0; i < N_USUAL && !*t->paths; i++) {
        bool asked = i == 0 && !is_folder(t->usual[1], NULL); /* the message names policies/ */
        if ((asked || is_folder(t->usual[i], NULL)) && cli_add_tests(files, t->usual[i]) != 0) {
            return -1;
        }
    }
    for (char *const *path = t->paths; *path; path++) {
        if (cli_add_tests(files, *path) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What is known of a file without reading it, as a number that changes with it. */
static uint64_t print_of(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) {
        return 1;
    }
    long long parts[] = {about.st_mtim.tv_sec, about.st_mtim.tv_nsec, (long long)about.st_size,
                         (long long)about.st_ino};
    return hash_quick(str_make((const char *)parts, sizeof(parts)));
}

/* A file and its folder, whose time changes when a file comes or goes. */
static uint64_t print_of_both(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return print_of(path) * 31 + print_of(folder);
}

static uint64_t fingerprint(const struct testing *t, const struct snapshot *s) {
    struct cli_list files = {0};
    uint64_t sum = print_of_both(t->config.file);
    for (size_t i = 0; s && i < snapshot_count(s); i++) {
        sum = sum * 31 + print_of_both(snapshot_at(s, i)->path);
    }
    if (find_tests(t, &files) == 0) {
        for (size_t i = 0; i < files.n; i++) {
            sum = sum * 31 + print_of_both(files.items[i]);
        }
    }
    cli_list_release(&files);
    return sum;
}

/* What a watcher compares: the files of a run, and how they were just before it. */
struct seen {
    struct snapshot *snapshot;
    uint64_t fingerprint;
};

static int run_tests(const struct testing *t, struct seen *seen) {
    struct cli_list files = {0}, args = {0};
    int status = CLI_FAILED;
    seen->snapshot = cli_read_snapshot(&t->config, t->given);
    seen->fingerprint = t->watch ? fingerprint(t, seen->snapshot) : 0;
    int bad = !seen->snapshot || find_tests(t, &files) != 0;
    if (!bad && t->filter) {
        bad = cli_list_add(&args, "--filter") | cli_list_add(&args, t->filter);
    }
    for (size_t i = 0; i < files.n && !bad; i++) {
        bad = cli_list_add(&args, files.items[i]);
    }
    if (!bad && files.n == 0) {
        fprintf(stderr, "moongate: no *_test.lua was found\n");
    } else if (!bad) {
        status =
            cli_run_program(seen->snapshot, &files, "moongate.sim_main", &args, CLI_PROGRAM_CPU);
    }
    cli_list_release(&files);
    cli_list_release(&args);
    return status;
}

/* Until a signal ends the program. */
static void watch(const struct testing *t) {
    const struct timespec pause = {.tv_nsec = POLL_NS};
    for (;;) {
        struct seen seen;
        run_tests(t, &seen);
        fputs("# waiting for a change\n", stdout);
        fflush(stdout);
        while (fingerprint(t, seen.snapshot) == seen.fingerprint) {
            nanosleep(&pause, NULL);
        }
        snapshot_unref(seen.snapshot);
    }
}

int cli_test(int argc, char **argv) {
    struct testing t;
    int bad = read_options(&t, argc, argv);
    if (bad || t.config.help) {
        fputs(bad ? "" : HELP, stdout);
        return bad;
    }
    if (t.watch) {
        watch(&t);
    }
    struct seen seen;
    int status = run_tests(&t, &seen);
    snapshot_unref(seen.snapshot);
    return status;
}
