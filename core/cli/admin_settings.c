/* SPDX-License-Identifier: MIT */
/*
 * moongate set, unset: settings put over those of the file. Both read what is set and change it
 * under the version that they read: a change made meanwhile by somebody else is told,
 * never overwritten and never tried again, since what was to be set may no longer be wanted.
 */
#include <stdio.h>

#include "cli/admin_client.h"
#include "cli/term.h"

static const struct admin_command SET = {
    .help =
        "Usage: moongate set ROUTE KEY=VALUE… [OPTION…]\n\n"
        "Puts settings of a route over those of the configuration, for requests that come from "
        "now\non. VALUE is JSON, or plain text when it is none. Other settings stay as they are. "
        "It is\nkept over restarts when the configuration names a state_dir, until moongate "
        "unset.\n",
    .sample = "  $ moongate set chat suspend=30 trigger=any 'targets=[\"a/m\",\"b/m\"]'\n"
              "  chat: suspend = 30\n"
              "  chat: trigger = \"any\"\n"
              "  chat: targets = [\"a/m\",\"b/m\"]\n"
              "  generation 9 is active (version 5 of the settings of chat)\n",
    .words = "ROUTE KEY=VALUE…",
    .min_words = 2,
    .max_words = MAX_SET_FIELDS + 1,
    .takes = ADMIN_WHY,
};

static const struct admin_command UNSET = {
    .help = "Usage: moongate unset ROUTE [KEY…] [OPTION…]\n\n"
            "Takes back what moongate set did: the named settings, or all of the route's. The\n"
            "configuration's own value holds again, or else the default.\n",
    .sample = "  $ moongate unset chat suspend\n"
              "  chat: suspend is no longer set\n"
              "  generation 10 is active (version 6 of the settings of chat)\n",
    .words = "ROUTE [KEY…]",
    .min_words = 1,
    .max_words = MAX_SET_FIELDS + 1,
    .takes = ADMIN_WHY,
};

/* One KEY=VALUE. */
struct change {
    char *key;          /* the word, cut at "=" */
    struct json *value; /* an object with the value in "value", so that bare text needs no parser */
};

struct changes {
    struct change list[MAX_SET_FIELDS];
    size_t n;
};

static const struct json *value_of(const struct change *change) {
    return json_get(change->value, "value");
}

static void changes_release(struct changes *changes) {
    for (size_t i = 0; i < changes->n; i++) {
        json_free(changes->list[i].value);
    }
    changes->n = 0;
}

/* ---- Reading the words ---- */

/* Looks like the beginning of JSON that is no plain word: a mistake, not text. */
static bool meant_as_json(const char *text) {
    return *text && strchr("[{\"", *text);
}

static int read_value(struct change *change, const char *text) {
    struct json *parsed = json_parse(str_of(text));
    struct json *holder = json_object();
    change->value = holder;
    if (parsed && !json_is_null(parsed)) {
        json_add_copy(holder, "value", parsed);
    } else if (!parsed && !meant_as_json(text)) {
        json_add_str(holder, "value", str_of(text));
    } else if (parsed) {
        fprintf(stderr,
                "moongate set: null is no value; to drop a setting: moongate unset ROUTE %s\n",
                change->key);
    } else {
        fprintf(stderr,
                "moongate set: the value of %s begins like JSON and is none: %s\n"
                "(the shell takes quotes away: write 'KEY=[\"a\",\"b\"]')\n",
                change->key, text);
    }
    json_free(parsed);
    return value_of(change) ? CLI_OK : CLI_USAGE;
}

static int read_change(struct changes *changes, char *word) {
    char *equals = strchr(word, '=');
    if (!equals || equals == word) {
        fprintf(stderr, "moongate set: found \"%s\", expected KEY=VALUE, such as suspend=30\n",
                word);
        return CLI_USAGE;
    }
    *equals = '\0';
    for (size_t i = 0; i < changes->n; i++) {
        if (strcmp(changes->list[i].key, word) == 0) {
            fprintf(stderr, "moongate set: %s is given twice\n", word);
            return CLI_USAGE;
        }
    }
    struct change *change = &changes->list[changes->n++];
    change->key = word;
    return read_value(change, equals + 1);
}

static int read_changes(struct changes *changes, char **words, int n) {
    int status = CLI_OK;
    for (int i = 0; i < n && status == CLI_OK; i++) {
        status = read_change(changes, words[i]);
    }
    return status;
}

/* ---- Read, modify, write ---- */

static int make_path(const struct admin_client *c, struct buf *path) {
    int bad = buf_adds(path, "/admin/routes/");
    bad |= admin_add_escaped(path, str_of(c->words[0])) | buf_adds(path, "/settings");
    if (bad) {
        fprintf(stderr, "moongate: the route's name is too long\n");
    }
    return bad ? CLI_USAGE : CLI_OK;
}

/* What follows a message of 412 or 404: "routes chat". */
static void make_look(const struct admin_client *c, char *out, size_t size) {
    snprintf(out, size, "routes %s", c->words[0]);
}

static bool changed(const struct changes *changes, const char *name) {
    for (size_t i = 0; i < changes->n; i++) {
        if (strcmp(changes->list[i].key, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The API hides secrets as "***": a value with one in it cannot be written back as it was. */
static bool hides_secret(const struct json *value) {
    struct buf text;
    buf_init(&text, MAX_FETCH_BODY);
    bool hides = json_print(value, &text) != BUF_OK || str_has(buf_str(&text), "***");
    buf_release(&text);
    return hides;
}

static int check_secrets(const struct admin_client *c, const struct changes *changes) {
    const struct json *overlay = json_get(c->body, "overlay");
    const char *name = NULL;
    for (const struct json *s = json_each(overlay, NULL, &name); s;
         s = json_each(overlay, s, &name)) {
        if (!changed(changes, name) && hides_secret(s)) {
            fprintf(stderr, "moongate: ");
            term_put(stderr, str_of(name));
            fprintf(stderr, " is set to something with a secret in it, which the gateway does not "
                            "show and which would be lost: give it in full in the same command, or "
                            "unset it alone\n");
            return CLI_FAILED;
        }
    }
    return CLI_OK;
}

/* The overlay as read, without what changes, then what is set. */
static int merge(const struct json *overlay, const struct changes *changes, struct buf *out) {
    struct json *root = json_object();
    const char *name = NULL;
    for (const struct json *s = json_each(overlay, NULL, &name); s;
         s = json_each(overlay, s, &name)) {
        if (!changed(changes, name)) {
            json_add_copy(root, name, s);
        }
    }
    for (size_t i = 0; i < changes->n; i++) {
        if (changes->list[i].value) {
            json_add_copy(root, changes->list[i].key, value_of(&changes->list[i]));
        }
    }
    int bad = json_print(root, out);
    json_free(root);
    return bad;
}

static int put_merged(struct admin_client *c, const char *path, const struct changes *changes) {
    struct buf body;
    char look[MAX_ADMIN_URL];
    double version = json_get_num(c->body, "version", -1);
    int status = check_secrets(c, changes);
    if (status != CLI_OK) {
        return status;
    }
    make_look(c, look, sizeof(look));
    buf_init(&body, MAX_ADMIN_BODY);
    if (merge(json_get(c->body, "overlay"), changes, &body) == BUF_OK) {
        struct admin_call call = {.method = "PUT",
                                  .path = path,
                                  .body = buf_str(&body),
                                  .version = version,
                                  .look = look};
        status = admin_call(c, &call);
    } else {
        fprintf(stderr,
                "moongate: the settings of %s are too large to be set (at most %zu bytes)\n",
                c->words[0], body.max);
        status = CLI_FAILED;
    }
    buf_release(&body);
    return status;
}

static void print_now_active(const struct admin_client *c) {
    printf("generation %.0f is active (version %.0f of the settings of ",
           json_get_num(c->body, "active", 0), json_get_num(c->body, "version", 0));
    term_put(stdout, str_of(c->words[0]));
    printf(")\n");
    admin_print_warnings(c);
}

static void print_if_forgotten(const struct admin_client *c) {
    bool kept = true;
    if (json_bool(json_get(c->body, "persistent"), &kept) && !kept) {
        fprintf(stderr, "moongate: warning: a restart forgets this: the configuration names no "
                        "state_dir\n");
    }
}

/* ---- set ---- */

static void print_changes(const struct admin_client *c, const struct changes *changes) {
    struct buf line;
    buf_init(&line, MAX_FETCH_BODY);
    for (size_t i = 0; i < changes->n; i++) {
        buf_clear(&line);
        if (buf_addf(&line, "%s: %s = ", c->words[0], changes->list[i].key) == BUF_OK &&
            json_print(value_of(&changes->list[i]), &line) == BUF_OK) {
            term_put(stdout, buf_str(&line));
            putchar('\n');
        }
    }
    buf_release(&line);
}

static int set(struct admin_client *c, const struct changes *changes, const char *path) {
    int status = admin_get(c, path, "version", "routes");
    status = status == CLI_OK ? put_merged(c, path, changes) : status;
    if (status == CLI_OK && c->json) {
        admin_print_json(c);
    } else if (status == CLI_OK) {
        print_changes(c, changes);
        print_now_active(c);
        print_if_forgotten(c);
    }
    return status;
}

int cli_set(int argc, char **argv) {
    struct admin_client c;
    struct changes changes = {.n = 0};
    struct buf path;
    int status;
    if (!admin_open(&c, &SET, argc, argv, &status)) {
        return status;
    }
    buf_init(&path, MAX_REQUEST_LINE);
    status = read_changes(&changes, c.words + 1, c.n_words - 1);
    status = status == CLI_OK ? make_path(&c, &path) : status;
    status = status == CLI_OK ? set(&c, &changes, path.data) : status;
    changes_release(&changes);
    buf_release(&path);
    admin_close(&c);
    return status;
}

/* ---- unset ---- */

/* Every key has to be set: a mistyped one would otherwise seem to have worked. */
static int check_set(const struct admin_client *c, const struct changes *keys) {
    const struct json *overlay = json_get(c->body, "overlay");
    const char *name = NULL;
    for (size_t i = 0; i < keys->n; i++) {
        if (json_get(overlay, keys->list[i].key)) {
            continue;
        }
        fprintf(stderr, "moongate: %s is not set for %s; set are:", keys->list[i].key, c->words[0]);
        const struct json *s = json_each(overlay, NULL, &name);
        fputs(s ? "" : " none", stderr);
        for (; s; s = json_each(overlay, s, &name)) {
            fputc(' ', stderr);
            term_put(stderr, str_of(name));
        }
        fputc('\n', stderr);
        return CLI_FAILED;
    }
    return CLI_OK;
}

static int drop(struct admin_client *c, const char *path, double version) {
    char look[MAX_ADMIN_URL];
    make_look(c, look, sizeof(look));
    struct admin_call call = {.method = "DELETE", .path = path, .version = version, .look = look};
    return admin_call(c, &call);
}

/* A single key: the others are left alone where they are. */
static int unset_one(struct admin_client *c, const char *key, struct buf *path) {
    double version = json_get_num(c->body, "version", -1);
    if (buf_addc(path, '/') != BUF_OK || admin_add_escaped(path, str_of(key)) != BUF_OK) {
        fprintf(stderr, "moongate: the setting's name is too long\n");
        return CLI_USAGE;
    }
    return drop(c, path->data, version);
}

static int unset(struct admin_client *c, const struct changes *keys, struct buf *path) {
    if (keys->n == 0) {
        return drop(c, path->data, -1);
    }
    int status = admin_get(c, path->data, "version", "routes");
    status = status == CLI_OK ? check_set(c, keys) : status;
    if (status != CLI_OK) {
        return status;
    }
    return keys->n == 1 ? unset_one(c, keys->list[0].key, path) : put_merged(c, path->data, keys);
}

static void print_unset(const struct admin_client *c, const struct changes *keys) {
    for (size_t i = 0; i < keys->n; i++) {
        printf("%s: %s is no longer set\n", c->words[0], keys->list[i].key);
    }
    if (keys->n == 0) {
        printf("%s: nothing is set any more\n", c->words[0]);
    }
    print_now_active(c);
}

int cli_unset(int argc, char **argv) {
    struct admin_client c;
    struct changes keys = {.n = 0};
    struct buf path;
    int status;
    if (!admin_open(&c, &UNSET, argc, argv, &status)) {
        return status;
    }
    for (int i = 1; i < c.n_words; i++) {
        keys.list[keys.n++] = (struct change){.key = c.words[i]};
    }
    buf_init(&path, MAX_REQUEST_LINE);
    status = make_path(&c, &path);
    status = status == CLI_OK ? unset(&c, &keys, &path) : status;
    if (status == CLI_OK && c.json) {
        admin_print_json(&c);
    } else if (status == CLI_OK) {
        print_unset(&c, &keys);
    }
    buf_release(&path);
    admin_close(&c);
    return status;
}
