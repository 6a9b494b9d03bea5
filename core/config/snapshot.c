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
    struct snapshot_file *tests; /* room for MAX_SNAPSHOT_FILES; the files that end in _test.lua */
    size_t n_tests;
    unsigned char sources[HASH_SIZE]; /* of all names and texts */
    unsigned char (
        *inputs)[HASH_SIZE]; /* room for MAX_SNAPSHOT_INPUTS; what was mixed in, each once */
    size_t n_inputs;
    char **read; /* paths that file() read; NULL-terminated once there are any */
    size_t n_read;
    struct snapshot *original; /* whose files these are: a reference; NULL: its own */
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

static bool is_test(struct str name) {
    return str_ends(name, "_test.lua");
}

/* Takes `path`. */
static int add_file(struct snapshot *s, const char *name, char *path, size_t max, struct err *err) {
    bool test = is_test(str_of(name));
    size_t *n = test ? &s->n_tests : &s->n;
    struct snapshot_file f = {.name = str_dup(str_of(name)), .path = path};
    int rc = -1;
    if (!f.name || !f.path) {
        err_set(err, "%s: memory is short", name);
    } else if (*n >= MAX_SNAPSHOT_FILES) {
        err_set(err, "%s: one more than the %d %s files that are allowed", path, MAX_SNAPSHOT_FILES,
                test ? "test" : "source");
    } else {
        rc = read_file(&f, max, err);
    }
    if (rc) {
        file_release(&f);
        return -1;
    }
    (test ? s->tests : s->files)[(*n)++] = f;
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
    if (!str_ends(name, ".lua") || snapshot_find(w->s, w->name) ||
        snapshot_test_find(w->s, w->name)) {
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

static int read_folders(struct snapshot *s, const char *const *library, struct err *err) {
    if (walk_root(s, s->dir, err)) {
        return -1;
    }
    for (; library && *library; library++) {
        if (walk_root(s, *library, err)) {
            return -1;
        }
    }
    return hash_sources(s, err);
}

/* Takes both strings. */
static struct snapshot *snapshot_new(char *config_path, char *dir, struct err *err) {
    struct snapshot *s = calloc(1, sizeof(*s));
    if (!s) {
        free(config_path);
        free(dir);
        err_set(err, "memory is short");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->config_path = config_path;
    s->dir = dir;
    s->files = calloc(MAX_SNAPSHOT_FILES, sizeof(*s->files));
    s->tests = calloc(MAX_SNAPSHOT_FILES, sizeof(*s->tests));
    s->inputs = calloc(MAX_SNAPSHOT_INPUTS, sizeof(*s->inputs));
    if (!s->config_path || !s->dir || !s->files || !s->tests || !s->inputs) {
        err_set(err, "memory is short");
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

/* A file whose text is there already. */
static int add_text(struct snapshot *s, struct str name, const char *path, struct str text,
                    size_t max, struct err *err) {
    if (text.n > max) {
        return err_set(err, "%.*s: larger than the %zu bytes that are allowed", (int)name.n, name.p,
                       max);
    }
    if (s->n >= MAX_SNAPSHOT_FILES) {
        return err_set(err, "%.*s: one more than the %d source files that are allowed", (int)name.n,
                       name.p, MAX_SNAPSHOT_FILES);
    }
    struct snapshot_file f = {.name = str_dup(name),
                              .path = str_dup(path ? str_of(path) : name),
                              .text = str_dup(text),
                              .len = text.n};
    if (!f.name || !f.path || !f.text) {
        file_release(&f);
        return err_set(err, "memory is short");
    }
    s->files[s->n++] = f;
    return 0;
}

struct snapshot *snapshot_read(const char *config_file, const char *const *library,
                               struct err *err) {
    struct snapshot *s = snapshot_new(str_dup(str_of(config_file)), dir_of(config_file), err);
    if (s && (add_file(s, CONFIG_NAME, str_dup(str_of(config_file)), MAX_CONFIG_FILE, err) ||
              read_folders(s, library, err))) {
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

struct snapshot *snapshot_read_folder(const char *dir, const char *const *library,
                                      struct err *err) {
    struct snapshot *s = snapshot_new(join(dir, CONFIG_NAME), str_dup(str_of(dir)), err);
    if (s && (add_text(s, STR(CONFIG_NAME), NULL, STR(""), MAX_CONFIG_FILE, err) ||
              read_folders(s, library, err))) {
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

static bool is_given(const struct snapshot_text *files, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (str_is(files[i].name, name)) {
            return true;
        }
    }
    return false;
}

static int check_name(struct str name, struct err *err) {
    bool place = str_starts(name, "policies/") || str_starts(name, "lua/");
    if (place && str_ends(name, ".lua") && name.n < PATH_MAX && !memchr(name.p, '\0', name.n)) {
        return 0;
    }
    return err_set(err,
                   "\"%.*s\" is no source file's name; expected policies/NAME.lua or lua/NAME.lua",
                   (int)(name.n < 200 ? name.n : 200), name.p);
}

static int copy_files(struct snapshot *s, const struct snapshot *from,
                      const struct snapshot_text *files, size_t n, struct err *err) {
    for (size_t i = 0; i < n; i++) {
        if (check_name(files[i].name, err) ||
            add_text(s, files[i].name, NULL, files[i].text, MAX_POLICY_FILE, err)) {
            return -1;
        }
    }
    for (size_t i = 1; i < from->n; i++) {
        const struct snapshot_file *f = &from->files[i];
        if (!is_given(files, n, f->name) &&
            add_text(s, str_of(f->name), f->path, str_make(f->text, f->len), f->len, err)) {
            return -1;
        }
    }
    return 0;
}

struct snapshot *snapshot_derive(const struct snapshot *from, struct str config,
                                 const struct snapshot_text *files, size_t n, struct err *err) {
    struct snapshot *s = snapshot_new(str_dup(STR(CONFIG_NAME)), str_dup(str_of(from->dir)), err);
    if (s && (add_text(s, STR(CONFIG_NAME), NULL, config, MAX_CONFIG_FILE, err) ||
              copy_files(s, from, files, n, err) || hash_sources(s, err))) {
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

struct snapshot *snapshot_again(struct snapshot *s) {
    struct snapshot *original = s->original ? s->original : s;
    struct snapshot *again = calloc(1, sizeof(*again));
    if (!again) {
        return NULL;
    }
    *again = (struct snapshot){.config_path = original->config_path,
                               .dir = original->dir,
                               .files = original->files,
                               .n = original->n,
                               .tests = original->tests,
                               .n_tests = original->n_tests,
                               .inputs = calloc(MAX_SNAPSHOT_INPUTS, sizeof(*again->inputs)),
                               .original = original};
    memcpy(again->sources, original->sources, HASH_SIZE);
    if (!again->inputs) {
        free(again);
        return NULL;
    }
    atomic_init(&again->refs, 1);
    snapshot_ref(original);
    return again;
}

int snapshot_note_input(struct snapshot *s, const char *path) {
    for (size_t i = 0; i < s->n_read; i++) {
        if (strcmp(s->read[i], path) == 0) {
            return 0;
        }
    }
    if (s->n_read == MAX_SNAPSHOT_INPUTS) {
        return 0;
    }
    char **grown = realloc(s->read, (s->n_read + 2) * sizeof(*grown));
    if (!grown) {
        return -1;
    }
    s->read = grown;
    s->read[s->n_read] = str_dup(str_of(path));
    s->read[s->n_read + 1] = NULL;
    return s->read[s->n_read++] ? 0 : -1;
}

const char *snapshot_input(const struct snapshot *s, size_t i) {
    return i < s->n_read ? s->read[i] : NULL;
}

struct snapshot *snapshot_ref(struct snapshot *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void files_free(struct snapshot *s) {
    for (size_t i = 0; i < s->n; i++) {
        file_release(&s->files[i]);
    }
    for (size_t i = 0; i < s->n_tests; i++) {
        file_release(&s->tests[i]);
    }
    free(s->files);
    free(s->tests);
    free(s->dir);
    free(s->config_path);
}

void snapshot_unref(struct snapshot *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < s->n_read; i++) {
        free(s->read[i]);
    }
    free(s->read);
    free(s->inputs);
    if (s->original) {
        snapshot_unref(s->original);
    } else {
        files_free(s);
    }
    free(s);
}

static const struct snapshot_file *find_in(const struct snapshot_file *list, size_t n,
                                           const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

const struct snapshot_file *snapshot_find(const struct snapshot *s, const char *name) {
    return find_in(s->files, s->n, name);
}

static const struct snapshot_file *test_at_path(const struct snapshot *s, const char *path) {
    for (size_t i = 0; i < s->n_tests; i++) {
        if (strcmp(s->tests[i].path, path) == 0) {
            return &s->tests[i];
        }
    }
    return NULL;
}

const struct snapshot_file *snapshot_test_find(const struct snapshot *s, const char *name) {
    const struct snapshot_file *f = test_at_path(s, name);
    return f ? f : find_in(s->tests, s->n_tests, name);
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

size_t snapshot_test_count(const struct snapshot *s) {
    return s->n_tests;
}

const struct snapshot_file *snapshot_test_at(const struct snapshot *s, size_t i) {
    return i < s->n_tests ? &s->tests[i] : NULL;
}

int snapshot_add_test(struct snapshot *s, const char *path, struct err *err) {
    if (test_at_path(s, path)) {
        return 0;
    }
    if (s->n_tests >= MAX_SNAPSHOT_FILES) {
        return err_set(err, "%s: one more than the %d test files that are allowed", path,
                       MAX_SNAPSHOT_FILES);
    }
    struct snapshot_file f = {.name = str_dup(str_of(path)), .path = str_dup(str_of(path))};
    if (!f.name || !f.path) {
        file_release(&f);
        return err_set(err, "%s: memory is short", path);
    }
    if (read_file(&f, MAX_POLICY_FILE, err)) {
        file_release(&f);
        return -1;
    }
    s->tests[s->n_tests++] = f;
    return 0;
}

void snapshot_mix_tests(struct snapshot *s) {
    for (size_t i = 0; i < s->n_tests; i++) {
        unsigned char both[2 * HASH_SIZE];
        hash_sha256(str_of(s->tests[i].name), both);
        hash_sha256(str_make(s->tests[i].text, s->tests[i].len), both + HASH_SIZE);
        snapshot_mix(s, str_make((const char *)both, sizeof(both)));
    }
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
