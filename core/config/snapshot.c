/* SPDX-License-Identifier: MIT */
/*
 * Reading of a configuration's source files into memory, looking them up, and hashing them. Owns
 * the texts. Uses files and folders only; knows no Lua. Folders are walked in byte order, so that
 * the same files always give the same snapshot.
 */
#include "config/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"

#define CONFIG_NAME "gateway.lua"

struct snapshot {
    atomic_int refs;
    char *config_path;
    char *dir;
    struct snapshot_file *files; /* room for MAX_SNAPSHOT_FILES; [0] is gateway.lua */
    size_t n;
    unsigned char sources[HASH_SIZE]; /* of all names and texts */
    unsigned char (
        *inputs)[HASH_SIZE]; /* room for MAX_SNAPSHOT_INPUTS; what was mixed in, each once */
    size_t n_inputs;
};

/* The walk of one read. */
struct walk {
    struct snapshot *s;
    const char *root;    /* the folder whose policies/ and lua/ are walked */
    char name[PATH_MAX]; /* of the folder or file being looked at, below root */
    struct err *err;
};

static char *dir_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return str_dup(STR("."));
    }
    return str_dup(str_make(path, slash == path ? 1 : (size_t)(slash - path)));
}

static char *join(const char *dir, const char *name) {
    char *path = NULL;
    if (strcmp(dir, ".") == 0) {
        return str_dup(str_of(name));
    }
    const char *slash = str_ends(str_of(dir), "/") ? "" : "/";
    return asprintf(&path, "%s%s%s", dir, slash, name) < 0 ? NULL : path;
}

/* Reads at most max bytes; one more means that the file is too large. */
static int read_all(int fd, struct snapshot_file *f, size_t max, struct err *err) {
    size_t cap = 0;
    for (;;) {
        if (f->len == cap) {
            cap = cap ? cap * 2 : 4096;
            cap = cap > max + 1 ? max + 1 : cap;
            char *text = realloc(f->text, cap + 1);
            if (!text) {
                return err_set(err, "%s: memory is short", f->path);
            }
            f->text = text;
        }
        ssize_t n = read(fd, f->text + f->len, cap - f->len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_set(err, "%s: cannot be read: %s", f->path, strerror(errno));
        }
        f->len += (size_t)n;
        f->text[f->len] = '\0';
        if (n == 0) {
            return 0;
        }
        if (f->len > max) {
            return err_set(err, "%s: larger than the %zu bytes that are allowed", f->path, max);
        }
    }
}

/* O_NONBLOCK: a named pipe in the folder must not stop a reload. */
static int read_file(struct snapshot_file *f, size_t max, struct err *err) {
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_set(err, "%s: cannot be opened: %s", f->path, strerror(errno));
    }
    int rc = -1;
    if (fstat(fd, &st)) {
        err_set(err, "%s: cannot be read: %s", f->path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        err_set(err, "%s: is a folder; expected a file", f->path);
    } else {
        rc = read_all(fd, f, max, err);
    }
    close(fd);
    return rc;
}

static void file_release(struct snapshot_file *f) {
    free(f->name);
    free(f->path);
    free(f->text);
    *f = (struct snapshot_file){0};
}

/* Takes `path`. */
static int add_file(struct snapshot *s, const char *name, char *path, size_t max, struct err *err) {
    struct snapshot_file f = {.name = str_dup(str_of(name)), .path = path};
    int rc = -1;
    if (!f.name || !f.path) {
        err_set(err, "%s: memory is short", name);
    } else if (s->n >= MAX_SNAPSHOT_FILES) {
        err_set(err, "%s: one more than the %d source files that are allowed", path,
                MAX_SNAPSHOT_FILES);
    } else {
        rc = read_file(&f, max, err);
    }
    if (rc) {
        file_release(&f);
        return -1;
    }
    s->files[s->n++] = f;
    return 0;
}

static int walk_dir(struct walk *w, int depth);

/* w->name is a file or folder, maybe behind a symbolic link. */
static int walk_entry(struct walk *w, int depth) {
    struct stat st;
    char *path = join(w->root, w->name);
    if (!path) {
        return err_set(w->err, "%s: memory is short", w->name);
    }
    int rc = stat(path, &st);
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        free(path);
        return walk_dir(w, depth + 1);
    }
    struct str name = str_of(w->name);
    bool wanted = str_ends(name, ".lua") && !str_ends(name, "_test.lua");
    if (!wanted || snapshot_find(w->s, w->name)) {
        free(path);
        return 0;
    }
    return add_file(w->s, w->name, path, MAX_POLICY_FILE, w->err);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int walk_entries(struct walk *w, struct dirent **list, int n, int depth) {
    size_t before = strlen(w->name);
    for (int i = 0; i < n; i++) {
        int len = snprintf(w->name + before, sizeof(w->name) - before, "/%s", list[i]->d_name);
        bool fits = len >= 0 && (size_t)len < sizeof(w->name) - before;
        int rc = fits ? walk_entry(w, depth)
                      : err_set(w->err, "%s: the path is too long", list[i]->d_name);
        w->name[before] = '\0';
        if (rc) {
            return -1;
        }
    }
    return 0;
}

/* The folder w->name; none is no mistake. Symbolic links may make a circle: the depth ends it. */
static int walk_dir(struct walk *w, int depth) {
    struct dirent **list = NULL;
    if (depth > MAX_SNAPSHOT_DEPTH) {
        return err_set(w->err, "%s/%s: folders are nested deeper than %d levels", w->root, w->name,
                       MAX_SNAPSHOT_DEPTH);
    }
    char *path = join(w->root, w->name);
    if (!path) {
        return err_set(w->err, "%s: memory is short", w->name);
    }
    int n = scandir(path, &list, visible, by_name);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        err_set(w->err, "%s: cannot be read: %s", path, strerror(errno));
        free(path);
        return -1;
    }
    free(path);
    int rc = n > 0 ? walk_entries(w, list, n, depth) : 0;
    for (int i = 0; i < n; i++) {
        free(list[i]);
    }
    free(list);
    return rc;
}

static int walk_root(struct snapshot *s, const char *root, struct err *err) {
    static const char *const folders[] = {"policies", "lua"};
    struct walk w = {.s = s, .root = root, .err = err};
    for (size_t i = 0; i < 2; i++) {
        snprintf(w.name, sizeof(w.name), "%s", folders[i]);
        if (walk_dir(&w, 1)) {
            return -1;
        }
    }
    return 0;
}

/* Name, zero byte, hash of the text: no two lists of files give the same bytes. */
static int hash_sources(struct snapshot *s, struct err *err) {
    struct buf all;
    int rc = 0;
    buf_init(&all, (size_t)MAX_SNAPSHOT_FILES * (PATH_MAX + HASH_SIZE));
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        unsigned char text[HASH_SIZE];
        hash_sha256(str_make(s->files[i].text, s->files[i].len), text);
        rc = buf_add(&all, s->files[i].name, strlen(s->files[i].name) + 1);
        if (rc == 0) {
            rc = buf_add(&all, text, sizeof(text));
        }
    }
    hash_sha256(buf_str(&all), s->sources);
    buf_release(&all);
    return rc ? err_set(err, "memory is short") : 0;
}

static int read_everything(struct snapshot *s, const char *const *library, struct err *err) {
    char *path = str_dup(str_of(s->config_path));
    if (add_file(s, CONFIG_NAME, path, MAX_CONFIG_FILE, err) || walk_root(s, s->dir, err)) {
        return -1;
    }
    for (; library && *library; library++) {
        if (walk_root(s, *library, err)) {
            return -1;
        }
    }
    return hash_sources(s, err);
}

struct snapshot *snapshot_read(const char *config_file, const char *const *library,
                               struct err *err) {
    struct snapshot *s = calloc(1, sizeof(*s));
    if (!s) {
        err_set(err, "memory is short");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->config_path = str_dup(str_of(config_file));
    s->dir = dir_of(config_file);
    s->files = calloc(MAX_SNAPSHOT_FILES, sizeof(*s->files));
    s->inputs = calloc(MAX_SNAPSHOT_INPUTS, sizeof(*s->inputs));
    if (!s->config_path || !s->dir || !s->files || !s->inputs) {
        err_set(err, "memory is short");
        snapshot_unref(s);
        return NULL;
    }
    if (read_everything(s, library, err)) {
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        file_release(&s->files[i]);
    }
    free(s->inputs);
    free(s->files);
    free(s->dir);
    free(s->config_path);
    free(s);
}

const struct snapshot_file *snapshot_find(const struct snapshot *s, const char *name) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->files[i].name, name) == 0) {
            return &s->files[i];
        }
    }
    return NULL;
}

const struct snapshot_file *snapshot_module(const struct snapshot *s, const char *module) {
    static const struct {
        const char *before, *after;
    } places[] = {{"lua/", ".lua"}, {"lua/", "/init.lua"}, {"policies/", ".lua"}};
    char slashed[MAX_MODULE_NAME + 1];
    size_t n = strlen(module);
    if (n == 0 || n > MAX_MODULE_NAME) {
        return NULL;
    }
    for (size_t i = 0; i <= n; i++) {
        slashed[i] = (char)(module[i] == '.' ? '/' : module[i]);
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char name[MAX_MODULE_NAME + 32];
        snprintf(name, sizeof(name), "%s%s%s", places[i].before, slashed, places[i].after);
        const struct snapshot_file *f = snapshot_find(s, name);
        if (f) {
            return f;
        }
    }
    return NULL;
}

size_t snapshot_count(const struct snapshot *s) {
    return s->n;
}

const struct snapshot_file *snapshot_at(const struct snapshot *s, size_t i) {
    return i < s->n ? &s->files[i] : NULL;
}

const char *snapshot_config_path(const struct snapshot *s) {
    return s->config_path;
}

const char *snapshot_dir(const struct snapshot *s) {
    return s->dir;
}

/* An input counts once: loading the same snapshot again (a rollback) must not change its hash.
 * Beyond the room, the last place gathers the rest. */
void snapshot_mix(struct snapshot *s, struct str more) {
    unsigned char pair[2 * HASH_SIZE];
    unsigned char *hash = pair + HASH_SIZE;
    hash_sha256(more, hash);
    for (size_t i = 0; i < s->n_inputs; i++) {
        if (memcmp(s->inputs[i], hash, HASH_SIZE) == 0) {
            return;
        }
    }
    if (s->n_inputs < MAX_SNAPSHOT_INPUTS) {
        memcpy(s->inputs[s->n_inputs++], hash, HASH_SIZE);
        return;
    }
    memcpy(pair, s->inputs[MAX_SNAPSHOT_INPUTS - 1], HASH_SIZE);
    hash_sha256(str_make((const char *)pair, sizeof(pair)), s->inputs[MAX_SNAPSHOT_INPUTS - 1]);
}

void snapshot_hash(const struct snapshot *s, unsigned char out[HASH_SIZE]) {
    unsigned char both[2 * HASH_SIZE];
    memcpy(both, s->sources, HASH_SIZE);
    hash_sha256(str_make((const char *)s->inputs, s->n_inputs * HASH_SIZE), both + HASH_SIZE);
    hash_sha256(str_make((const char *)both, sizeof(both)), out);
}
