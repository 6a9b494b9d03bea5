/* SPDX-License-Identifier: MIT */
/*
 * Requests: whose paths and fields they bear, what a path says of model and stream, and the path of
 * a request that is translated.
 */
#include "upstream/dialect_impl.h"
#include "upstream/outbound.h"

#define MODEL "{model}"

/* ---- Compiling ---- */

static struct path_pattern pattern_of(const char *text) {
    struct path_pattern p = {.before = str_of(text)};
    const char *model = strstr(text, MODEL);
    struct str *last = &p.before;
    if (model) {
        p.model = true;
        p.before.n = (size_t)(model - text);
        p.after = str_of(model + strlen(MODEL));
        last = &p.after;
    }
    if (last->n && last->p[last->n - 1] == '*') {
        p.open = true;
        last->n--;
    }
    return p;
}

static struct path_patterns compile_patterns(struct reader *r, const struct value *client,
                                             const char *name) {
    struct texts texts = reader_texts(r, client, name);
    struct path_patterns out = {texts.n ? reader_alloc(r, texts.n, sizeof *out.list) : NULL, 0};
    size_t before = path_field(&r->at, name);
    for (size_t i = 0; out.list && i < texts.n; i++) {
        if (texts.list[i][0] != '/') {
            reader_error(r, "expected a path that begins with \"/\", found \"%.100s\"",
                         texts.list[i]);
        }
        out.list[out.n++] = pattern_of(texts.list[i]);
    }
    path_cut(&r->at, before);
    return out;
}

/* Header fields are compared in lower case. */
static struct words lower_words(struct reader *r, struct words w) {
    for (size_t i = 0; i < w.n; i++) {
        char *low = reader_alloc(r, w.list[i].text.n + 1, 1);
        for (size_t k = 0; low && k < w.list[i].text.n; k++) {
            char c = w.list[i].text.p[k];
            low[k] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        }
        w.list[i].text.p = low ? low : "";
        w.list[i].text.n = low ? w.list[i].text.n : 0;
    }
    return w;
}

void compile_client(struct reader *r, const struct value *data) {
    static const char *const names[] = {"generate", "stream", "stream_query", "paths", "headers",
                                        "drop",     NULL};
    const struct value *client = reader_field(r, data, "client", VALUE_TABLE);
    struct client_rules *c = &r->d->client;
    size_t before = path_field(&r->at, "client");
    reader_known(r, client, names);
    c->known = client != NULL;
    c->generate = compile_patterns(r, client, "generate");
    c->stream = compile_patterns(r, client, "stream");
    c->stream_query = reader_text(r, client, "stream_query");
    c->paths = compile_patterns(r, client, "paths");
    c->headers = reader_texts(r, client, "headers");
    c->drop = lower_words(r, reader_words(r, client, "drop"));
    path_cut(&r->at, before);
}

/* ---- Telling ---- */

static bool begins(struct str s, struct str head) {
    return s.n >= head.n && (head.n == 0 || memcmp(s.p, head.p, head.n) == 0);
}

/* Where `after` stands last in s, from byte 1 on; 0: nowhere. */
static size_t last_place(struct str s, struct str after) {
    for (size_t i = s.n >= after.n ? s.n - after.n : 0; i > 0; i--) {
        if (begins(str_make(s.p + i, s.n - i), after)) {
            return i;
        }
    }
    return 0;
}

static bool fits(const struct path_pattern *p, struct str path, struct str *model) {
    if (!begins(path, p->before) || (!p->model && !p->open && path.n != p->before.n)) {
        return false;
    }
    if (!p->model) {
        return true;
    }
    struct str rest = str_make(path.p + p->before.n, path.n - p->before.n);
    size_t n = last_place(rest, p->after);
    if (n == 0 || (!p->open && n + p->after.n != rest.n)) {
        return false;
    }
    *model = str_make(rest.p, n);
    return true;
}

static bool fits_any(const struct path_patterns *list, struct str path, struct str *model) {
    for (size_t i = 0; i < list->n; i++) {
        if (fits(&list->list[i], path, model)) {
            return true;
        }
    }
    return false;
}

bool dialect_has_path(const struct dialect *d, struct str path, struct client_path *out) {
    const struct client_rules *c = &d->client;
    *out = (struct client_path){.says_stream = c->stream.n > 0};
    if (fits_any(&c->stream, path, &out->model)) {
        out->generate = out->stream = true;
        out->stream_query = c->stream_query;
    } else if (fits_any(&c->generate, path, &out->model)) {
        out->generate = true;
    } else {
        return fits_any(&c->paths, path, &out->model);
    }
    return true;
}

bool dialect_has_header(const struct dialect *d, const struct headers *headers) {
    struct str unused;
    for (size_t i = 0; i < d->client.headers.n; i++) {
        if (headers_get(headers, d->client.headers.list[i], &unused)) {
            return true;
        }
    }
    return false;
}

bool dialect_model_in_path(const struct dialect *d) {
    return d->model_in_path;
}

bool dialect_drops_header(const struct dialect *d, struct str name) {
    char low[128];
    if (name.n >= sizeof low || d->client.drop.n == 0) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        low[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
    }
    return words_match(&d->client.drop, str_make(low, name.n));
}

int dialect_generate_path(const struct dialect *d, struct str model, bool stream, struct buf *out) {
    const char *path = stream && d->stream ? d->stream : d->generate;
    return path && outbound_fill_model(path, model, out) == 0 ? 0 : -1;
}
