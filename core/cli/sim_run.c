/* SPDX-License-Identifier: MIT */
#include "cli/sim_run.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "sim/sim.h"

#define SUFFIX "_test.lua"

int cli_list_add(struct cli_list *list, const char *text) {
    if (list->n + 2 > list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        char **items = realloc(list->items, room * sizeof(*items));
        if (!items) {
            fputs("moongate: memory is short\n", stderr);
            return -1;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->n] = strdup(text);
    if (!list->items[list->n]) {
        fputs("moongate: memory is short\n", stderr);
        return -1;
    }
    list->items[++list->n] = NULL;
    return 0;
}

void cli_list_release(struct cli_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i]);
    }
    free(list->items);
    memset(list, 0, sizeof(*list));
}

static bool is_test(const char *name) {
    size_t n = strlen(name), end = sizeof(SUFFIX) - 1;
    return name[0] != '.' && n > end && strcmp(name + n - end, SUFFIX) == 0;
}

static int add_folder(struct cli_list *files, const char *path, int depth);

static int add_entry(struct cli_list *files, const char *folder, const char *name, int depth) {
    char path[PATH_MAX];
    struct stat about;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &about) != 0) {
        return 0; /* it has just gone, or is beyond what can be named */
    }
    if (S_ISDIR(about.st_mode)) {
        return name[0] == '.' || depth >= MAX_SNAPSHOT_DEPTH ? 0
                                                             : add_folder(files, path, depth + 1);
    }
    return is_test(name) ? cli_list_add(files, path) : 0;
}

static int add_folder(struct cli_list *files, const char *path, int depth) {
    struct dirent **entries;
    int bad = 0;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "moongate: %s cannot be read\n", path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        bad |= bad ? 0 : add_entry(files, path, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return bad;
}

int cli_add_tests(struct cli_list *files, const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) {
        fprintf(stderr, "moongate: there is no %s\n", path);
        return -1;
    }
    return S_ISDIR(about.st_mode) ? add_folder(files, path, 0) : cli_list_add(files, path);
}

static struct snapshot *read_folder(const struct cli_config *c, struct err *err) {
    char folder[PATH_MAX];
    const char *slash = strrchr(c->file, '/');
    int n = slash ? (int)(slash - c->file) : 1;
    snprintf(folder, sizeof(folder), "%.*s", n, slash ? c->file : ".");
    return snapshot_read_folder(folder, c->library, err);
}

struct snapshot *cli_read_snapshot(const struct cli_config *c, bool given) {
    struct err err;
    bool there = access(c->file, F_OK) == 0;
    struct snapshot *s =
        there || given ? snapshot_read(c->file, c->library, &err) : read_folder(c, &err);
    if (!s) {
        fprintf(stderr, "moongate: %s\n", err.text);
    }
    return s;
}

static void print(void *ctx, const char *text, size_t n) {
    (void)ctx;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void progress(void *ctx, const char *text, size_t n) {
    (void)ctx;
    fwrite(text, 1, n, stderr);
}

int cli_run_program(struct snapshot *snapshot, const struct cli_list *files, const char *module,
                    const struct cli_list *args, usec cpu) {
    struct err err;
    struct sim_run_options options = {.snapshot = snapshot,
                                      .args = (const char *const *)args->items,
                                      .cpu = cpu,
                                      .print = print,
                                      .progress = progress};
    for (size_t i = 0; i < files->n; i++) {
        if (snapshot_add_test(snapshot, files->items[i], &err) != 0) {
            fprintf(stderr, "moongate: %s\n", err.text);
            return CLI_FAILED;
        }
    }
    int status = sim_run(&options, module, &err);
    if (status < 0) {
        fprintf(stderr, "moongate: %s\n", err.text);
        return CLI_FAILED;
    }
    return status;
}
