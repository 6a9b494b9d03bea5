/* SPDX-License-Identifier: MIT */
/*
 * Help for tests of config/: a folder of its own for each test, and a Lua without a sandbox in the
 * shape that config_load takes.
 */
#ifndef SUPPORT_CONFIG_FILES_H
#define SUPPORT_CONFIG_FILES_H

#include <ftw.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

struct folder {
    char path[256];
};

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int folder_make(void **state) {
    struct folder *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    if (!f) {
        return -1;
    }
    snprintf(f->path, sizeof(f->path), "%s/moongate-config-XXXXXX", tmp ? tmp : "/tmp");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static inline int folder_remove(void **state) {
    struct folder *f = *state;
    nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* The path of a file in the folder; the caller frees it. */
static inline char *folder_path(const struct folder *f, const char *name) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", f->path, name) < 0) {
        abort();
    }
    return path;
}

/* Writes a file, making the folders above it. */
static inline void folder_write_bytes(const struct folder *f, const char *name, const char *text,
                                      size_t n) {
    char *path = folder_path(f, name);
    for (char *c = path + strlen(f->path) + 1; *c; c++) {
        if (*c == '/') {
            *c = '\0';
            mkdir(path, 0700);
            *c = '/';
        }
    }
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(text, 1, n, out) != n || fclose(out) != 0) {
        abort();
    }
    free(path);
}

static inline void folder_write(const struct folder *f, const char *name, const char *text) {
    folder_write_bytes(f, name, text, strlen(text));
}

static inline lua_State *plain_open(void *ctx) {
    (void)ctx;
    lua_State *L = luaL_newstate();
    if (L) {
        luaL_openlibs(L);
    }
    return L;
}

static inline int plain_call(void *ctx, lua_State *L, int nargs, int nresults, struct err *err) {
    (void)ctx;
    if (lua_pcall(L, nargs, nresults, 0) == LUA_OK) {
        return 0;
    }
    err_set(err, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return -1;
}

static inline void plain_close(void *ctx, lua_State *L) {
    (void)ctx;
    lua_close(L);
}

static const struct config_lua plain_lua = {plain_open, plain_call, plain_close, NULL};

#endif
