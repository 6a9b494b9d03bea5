/* SPDX-License-Identifier: MIT */
/*
 * Folders under inotify. What is wanted is drawn up anew before each reload (folders come and go),
 * and a watch is added before the files behind it are read, so no edit falls between. A folder that
 * is not there is waited for in the nearest one above it. Only the loop's thread comes here.
 */
#include "gateway/watch.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |       \
     IN_MOVE_SELF | IN_ONLYDIR)

struct folder {
    int wd; /* two paths to the same folder share it */
    char *path;
    bool code;   /* *.lua in it are sources */
    bool wanted; /* in the list that is being drawn up */
};

struct paths {
    char **list;
    size_t n;
};

struct watch {
    struct watch_options options;
    int fd;
    struct event *readable, *timer;
    bool on, tests;
    usec debounce;
    usec first;           /* monotonic, of the first change not told yet; 0: none */
    struct paths roots;   /* folders that hold policies/ and lua/ */
    struct paths sources; /* single files: the configuration and what file() read */
    struct paths awaited; /* names in watched folders that matter: sources, folders that may come */
    struct folder *folders; /* room for MAX_WATCHED_FOLDERS */
    size_t n;
    bool told; /* that something cannot be watched */
};

/* ---- paths ---- */

static void paths_clear(struct paths *p) {
    for (size_t i = 0; i < p->n; i++) {
        free(p->list[i]);
    }
    free(p->list);
    *p = (struct paths){0};
}

static bool paths_have(const struct paths *p, const char *path) {
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->list[i], path) == 0) {
            return true;
        }
    }
    return false;
}

static void cannot_watch(struct watch *w, const char *path, const char *why) {
    if (!w->told) {
        w->told = true;
        log_warn(w->options.log,
                 "file watch: %s cannot be watched: %s; reload by signal when it "
                 "changes",
                 path, why);
    }
}

static void paths_add(struct watch *w, struct paths *p, const char *path) {
    if (paths_have(p, path)) {
        return;
    }
    char **grown = realloc(p->list, (p->n + 1) * sizeof(*grown));
    char *copy = strdup(path);
    p->list = grown ? grown : p->list;
    if (!grown || !copy) {
        free(copy);
        cannot_watch(w, path, "memory is short");
        return;
    }
    p->list[p->n++] = copy;
}

/* dir/name; false when it does not fit. */
static bool join(char out[PATH_MAX], const char *dir, const char *name) {
    const char *slash = dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/";
    int n = snprintf(out, PATH_MAX, "%s%s%s", dir, slash, name);
    return n >= 0 && n < PATH_MAX;
}

/* The folder that the path lies in. */
static void folder_of(const char *path, char out[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    snprintf(out, PATH_MAX, "%.*s", (int)(n ? n : 1), slash ? path : ".");
}

/* The same path as join(folder_of(path), its name) gives. */
static void plain(const char *path, char out[PATH_MAX]) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    folder_of(path, dir);
    if (!join(out, dir, slash ? slash + 1 : path)) {
        out[0] = '\0';
    }
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- what is watched ---- */

static bool shared(const struct watch *w, int wd) {
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) {
        n += w->folders[i].wd == wd;
    }
    return n > 1;
}

static void remember(struct watch *w, int wd, const char *path, bool code) {
    for (size_t i = 0; i < w->n; i++) {
        struct folder *f = &w->folders[i];
        if (strcmp(f->path, path) == 0) {
            f->code = (f->wanted && f->code) || code;
            if (f->wd >= 0 && f->wd != wd && !shared(w, f->wd)) {
                (void)inotify_rm_watch(w->fd, f->wd); /* another folder took its place */
            }
            f->wd = wd;
            f->wanted = true;
            return;
        }
    }
    char *copy = w->n < MAX_WATCHED_FOLDERS ? strdup(path) : NULL;
    if (!copy) {
        cannot_watch(w, path, "there are too many folders");
        return;
    }
    w->folders[w->n++] = (struct folder){wd, copy, code, true};
}

/* The folder, or, while it is not there, the nearest one above it. */
static void want(struct watch *w, const char *path, bool code) {
    char here[PATH_MAX], above[PATH_MAX];
    snprintf(here, sizeof(here), "%s", path);
    while (!is_folder(here)) {
        char name[PATH_MAX];
        folder_of(here, above);
        plain(here, name);
        if (strcmp(above, here) == 0) {
            return;
        }
        paths_add(w, &w->awaited, name);
        snprintf(here, sizeof(here), "%s", above);
        code = false;
    }
    int wd = inotify_add_watch(w->fd, here, EVENTS);
    if (wd < 0) {
        cannot_watch(w, here, strerror(errno));
        return;
    }
    remember(w, wd, here, code);
}

static void want_tree(struct watch *w, const char *path, int depth) {
    want(w, path, true);
    DIR *dir = depth < MAX_SNAPSHOT_DEPTH ? opendir(path) : NULL;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        char below[PATH_MAX];
        if (e->d_name[0] != '.' && join(below, path, e->d_name) && is_folder(below)) {
            want_tree(w, below, depth + 1);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void want_root(struct watch *w, const char *root) {
    static const char *const names[] = {"policies", "lua"};
    want(w, root, false);
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        if (join(path, root, names[i])) {
            paths_add(w, &w->awaited, path); /* it may come, or be replaced as a whole */
            want_tree(w, path, 0);
        }
    }
}

/* Where it is written and, behind symbolic links, where it really is. */
static void want_source(struct watch *w, const char *path) {
    char name[PATH_MAX], dir[PATH_MAX];
    char *real = realpath(path, NULL);
    const char *both[] = {path, real};
    for (size_t i = 0; i < 2 && both[i]; i++) {
        plain(both[i], name);
        folder_of(both[i], dir);
        paths_add(w, &w->awaited, name);
        want(w, dir, false);
    }
    free(real);
}

static void forget(struct watch *w, size_t i) {
    struct folder *f = &w->folders[i];
    if (f->wd >= 0 && !shared(w, f->wd)) {
        (void)inotify_rm_watch(w->fd, f->wd);
    }
    free(f->path);
    w->folders[i] = w->folders[--w->n];
}

static void draw_up(struct watch *w) {
    for (size_t i = 0; i < w->n; i++) {
        w->folders[i].wanted = false;
    }
    paths_clear(&w->awaited);
    for (size_t i = 0; w->on && i < w->roots.n; i++) {
        want_root(w, w->roots.list[i]);
    }
    for (size_t i = 0; w->on && i < w->sources.n; i++) {
        want_source(w, w->sources.list[i]);
    }
    for (size_t i = w->n; i > 0; i--) {
        if (!w->folders[i - 1].wanted) {
            forget(w, i - 1);
        }
    }
}

/* ---- what happens ---- */

static bool is_source_name(const struct watch *w, const char *name) {
    struct str s = str_of(name);
    return name[0] != '.' && str_ends(s, ".lua") && (w->tests || !str_ends(s, "_test.lua"));
}

/* A new file is empty: what counts is when it is closed. A link is whole at once. */
static bool is_unfinished(const struct stat *st, uint32_t mask) {
    return mask & IN_CREATE && S_ISREG(st->st_mode) && st->st_nlink == 1;
}

static bool matters(const struct watch *w, const struct folder *f, const struct inotify_event *e) {
    char path[PATH_MAX];
    struct stat st;
    if (e->len == 0) { /* the folder itself is gone */
        return e->mask & (IN_DELETE_SELF | IN_MOVE_SELF);
    }
    if (!join(path, f->path, e->name)) {
        return false;
    }
    bool there = lstat(path, &st) == 0;
    if (there && is_unfinished(&st, e->mask)) {
        return false;
    }
    if (paths_have(&w->awaited, path) || (f->code && is_source_name(w, e->name))) {
        return true;
    }
    if (there && S_ISLNK(st.st_mode)) {
        return is_folder(path); /* what others link through may have been switched */
    }
    return f->code && e->name[0] != '.' && e->mask & IN_ISDIR;
}

static void note(struct watch *w) {
    usec now = clock_now();
    w->first = w->first ? w->first : now;
    usec latest = w->first + MAX_WATCH_DELAY;
    usec at = now + w->debounce < latest ? now + w->debounce : latest;
    struct timeval in = usec_to_timeval(at - now);
    if (evtimer_add(w->timer, &in) != 0) {
        event_active(w->timer, EV_TIMEOUT, 0); /* early, rather than never */
    }
}

static void on_event(struct watch *w, const struct inotify_event *e) {
    bool counts = e->mask & IN_Q_OVERFLOW;
    for (size_t i = 0; i < w->n; i++) {
        struct folder *f = &w->folders[i];
        if (f->wd != e->wd) {
            continue;
        }
        counts = counts || matters(w, f, e);
        if (e->mask & IN_IGNORED) { /* the system has forgotten it */
            f->wd = -1;
        }
    }
    if (counts && w->on) {
        note(w);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    _Alignas(struct inotify_event) char events[16384];
    struct watch *w = arg;
    (void)what;
    ssize_t n = read((int)fd, events, sizeof(events));
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(const void *)(events + at);
        on_event(w, e);
        at += (ssize_t)(sizeof(*e) + e->len);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    (void)fd;
    (void)what;
    w->first = 0;
    if (w->on) {
        draw_up(w);
        w->options.changed(w->options.ctx);
    }
}

/* ---- life ---- */

struct watch *watch_new(struct event_base *base, const struct watch_options *options) {
    struct watch *w = calloc(1, sizeof(*w));
    if (!w) {
        return NULL;
    }
    w->options = *options;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    w->folders = calloc(MAX_WATCHED_FOLDERS, sizeof(*w->folders));
    w->timer = evtimer_new(base, on_timer, w);
    if (!w->folders || !w->timer) {
        watch_free(w);
        return NULL;
    }
    if (w->fd >= 0) { /* without one, configuring tells */
        w->readable = event_new(base, w->fd, EV_READ | EV_PERSIST, on_readable, w);
        if (!w->readable || event_add(w->readable, NULL) != 0) {
            watch_free(w);
            return NULL;
        }
    }
    return w;
}

void watch_free(struct watch *w) {
    if (!w) {
        return;
    }
    if (w->readable) {
        event_free(w->readable);
    }
    if (w->timer) {
        event_free(w->timer);
    }
    if (w->fd >= 0) {
        close(w->fd);
    }
    for (size_t i = 0; i < w->n; i++) {
        free(w->folders[i].path);
    }
    free(w->folders);
    paths_clear(&w->roots);
    paths_clear(&w->sources);
    paths_clear(&w->awaited);
    free(w);
}

static void read_config(struct watch *w, const struct config *config) {
    paths_clear(&w->roots);
    paths_clear(&w->sources);
    paths_add(w, &w->roots, config->dir);
    for (size_t i = 0; w->options.library && w->options.library[i]; i++) {
        paths_add(w, &w->roots, w->options.library[i]);
    }
    paths_add(w, &w->sources, config->file);
    for (size_t i = 0; config->input_files && config->input_files[i]; i++) {
        paths_add(w, &w->sources, config->input_files[i]);
    }
    w->tests = config->reload_tests;
    w->debounce = config->reload_debounce;
}

void watch_configure(struct watch *w, const struct config *config) {
    bool on = config->reload_watch;
    w->told = on == w->on && w->told;
    if (on && w->fd < 0) {
        cannot_watch(w, config->file, "the system gives no inotify");
        on = false;
    }
    if (on != w->on) {
        log_info(w->options.log, "file watch: %s", on ? "on" : "off");
    }
    bool was_on = w->on;
    w->on = on;
    read_config(w, config);
    draw_up(w);
    if (!on) {
        w->first = 0;
        evtimer_del(w->timer);
    } else if (!was_on) {
        note(w); /* what changed since the files were read and before the watch began */
    }
}
