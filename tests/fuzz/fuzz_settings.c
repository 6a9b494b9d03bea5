/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: JSON that admins send and that settings.json holds. The first byte of the input
 * chooses what the rest is: settings of a route, the file, or the body of an admin call. Whatever
 * is taken reads the same after it was written; whatever is refused says why and changes nothing.
 * Reads: base/value.c base/value_json.c gateway/overlay.c admin/admin_body.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin_internal.h"
#include "base/file.h"
#include "gateway/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64]; /* the state_dir */

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void remove_folder(void) {
    char path[128];
    overlay_path(folder, path, sizeof(path));
    (void)unlink(path);
    (void)rmdir(folder);
}

static void make_folder(void) {
    const char *tmp = getenv("TMPDIR");
    if (!folder[0]) {
        snprintf(folder, sizeof(folder), "%.32s/moongate-fuzz-XXXXXX", tmp ? tmp : "/tmp");
        must(mkdtemp(folder) != NULL, "no folder");
        atexit(remove_folder);
    }
}

/* In place of the system's: nothing here has to outlive a crash. */
int fsync(int fd) {
    (void)fd;
    return 0;
}

static void put_file(struct str text) {
    char path[128];
    overlay_path(folder, path, sizeof(path));
    FILE *f = fopen(path, "wb");
    must(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0, "no file");
}

/* ---- values ---- */

static void write_again(const struct value *v) {
    struct value again;
    struct buf text;
    struct err err = {""};
    buf_init(&text, MIB(16));
    must(value_to_json(v, &text) == BUF_OK, "a value cannot be written");
    if (value_from_json(&again, buf_str(&text), &err)) {
        fprintf(stderr, "%s: %s\n", text.data, err.text);
        must(false, "what was written cannot be read");
    }
    must(value_equal(v, &again), "what was written reads otherwise");
    value_release(&again);
    buf_release(&text);
}

/* ---- the overlay ---- */

static void text_of(const struct overlay *o, struct buf *out) {
    buf_init(out, MAX_OVERLAY);
    must(overlay_text(o, out) == 0, "an overlay cannot be written as text");
}

/* Through the file and back. */
static void keep(const struct overlay *o) {
    struct overlay again;
    struct buf one, two;
    struct err err = {""};
    overlay_init(&again);
    must(overlay_write(o, folder, &err) == 0, err.text);
    must(overlay_read(&again, folder, &err) == 0, err.text);
    text_of(o, &one);
    text_of(&again, &two);
    must(str_eq(buf_str(&one), buf_str(&two)), "the overlay reads otherwise");
    must(o->version == again.version && o->n == again.n, "the overlay's versions differ");
    buf_release(&one);
    buf_release(&two);
    overlay_release(&again);
}

static void as_settings(struct str text) {
    struct value v;
    struct overlay o;
    struct err err = {""};
    if (value_from_json(&v, text, &err)) {
        must(v.type == VALUE_NIL && err.text[0], "a refusal without a reason");
        return;
    }
    write_again(&v);
    overlay_init(&o);
    if (overlay_set(&o, "chat", &v, &err) == 0) {
        must(overlay_version(&o, "chat") == 1, "a change without a version");
        keep(&o);
    } else {
        must(o.n == 0 && o.version == 0 && err.text[0], "a refusal changed something");
    }
    overlay_release(&o);
    value_release(&v);
}

static void as_file(struct str text) {
    struct overlay o;
    struct err err = {""};
    put_file(text);
    overlay_init(&o);
    if (overlay_read(&o, folder, &err)) {
        must(o.n == 0 && o.routes == NULL && err.text[0], "a damaged file left something");
        return;
    }
    struct value more = value_table();
    if (overlay_set(&o, "chat", &more, &err) == 0) {
        must(overlay_version(&o, "chat") == o.version, "a version that is not the last");
        keep(&o);
    }
    value_release(&more);
    overlay_release(&o);
}

/* ---- bodies ---- */

static void read_fields(struct admin_request *r, struct admin_answer *a) {
    static const char *const names[] = {"settings", "why", "seconds", "enabled", NULL};
    double number = 0;
    bool flag = false;
    char text[64];
    bool good = admin_body_fields(r, a, names);
    good = good && admin_body_number(r, a, "seconds", &number);
    good = good && admin_body_bool(r, a, "enabled", &flag);
    good = good && admin_body_text(r, a, "why", text, sizeof(text));
    must(good || a->status == 400, "a body was refused without an answer");
    if (good && value_field(&r->body, "why")) {
        must(memchr(text, 0, sizeof(text)) != NULL, "a text without its end");
    }
}

static void as_body(struct str text) {
    static const struct admin_call call = {.method = "PUT", .path = "/v1/x", .body = BODY_REQUIRED};
    struct config config = {0};
    struct http_request http = {0};
    struct admin_answer a = {0};
    headers_init(&http.headers, MAX_HEADERS, MAX_HEADER_BYTES);
    buf_init(&http.body, MAX_ADMIN_BODY);
    must(buf_add_str(&http.body, text) == BUF_OK, "no body");
    struct admin_request r = {.http = &http, .call = &call, .config = &config};
    if (admin_read_body(&r, &a)) {
        read_fields(&r, &a);
        admin_read_cause(&r);
        for (const char *p = r.why; *p; p++) {
            must((unsigned char)*p >= ' ' && *p != 127, "a cause with control bytes");
        }
    } else {
        must(a.status == 400 && a.json, "a body was refused without an answer");
    }
    value_release(&r.body);
    json_free(a.json);
    buf_release(&http.body);
    headers_release(&http.headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const uses[])(struct str text) = {as_settings, as_file, as_body};
    if (size < 1) {
        return 0;
    }
    make_folder();
    uses[data[0] % 3](str_make((const char *)data + 1, size - 1));
    return 0;
}
