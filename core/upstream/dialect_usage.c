/* SPDX-License-Identifier: MIT */
/*
 * What an answer or an event says about tokens: which numbers are looked for, and how they add up
 * to the four counts.
 */
#include "upstream/dialect_impl.h"

static const char *const counts[] = {"input", "output", "cached", "reasoning", NULL};

/* The number at that path, each path once. -1: told. */
static int number_of(struct reader *r, struct str path) {
    struct usage_rules *u = &r->d->usage;
    for (size_t i = 0; i < u->n_paths; i++) {
        if (str_eq(u->path[i], path)) {
            return (int)i;
        }
    }
    if (u->n_paths >= MAX_DIALECT_NUMBERS) {
        reader_error(r, "more than %d different numbers", MAX_DIALECT_NUMBERS);
        return -1;
    }
    u->path[u->n_paths] = path;
    return (int)u->n_paths++;
}

/* "usage.input_tokens + usage.cache_read_input_tokens" */
static void compile_sum(struct reader *r, const char *text, struct usage_sum *sum) {
    struct str rest = str_of(text), term;
    while (str_split(&rest, '+', &term)) {
        term = str_trim(term);
        if (term.n == 0 || sum->n >= MAX_DIALECT_TERMS) {
            reader_error(r, "expected at most %d paths with \"+\" between them", MAX_DIALECT_TERMS);
            return;
        }
        int number = number_of(r, term);
        if (number < 0) {
            return;
        }
        sum->number[sum->n++] = (unsigned char)number;
    }
}

static void compile_count(struct reader *r, const struct value *usage, size_t i) {
    struct texts ways = reader_texts(r, usage, counts[i]);
    struct usage_count *c = &r->d->usage.count[i];
    size_t before = path_field(&r->at, counts[i]);
    c->ways = ways.n ? reader_alloc(r, ways.n, sizeof *c->ways) : NULL;
    for (size_t k = 0; c->ways && k < ways.n; k++) {
        if (reader_path_ok(r, ways.list[k])) {
            compile_sum(r, ways.list[k], &c->ways[c->n++]);
        }
    }
    path_cut(&r->at, before);
}

void compile_usage(struct reader *r, const struct value *data) {
    const struct value *usage = reader_field(r, data, "usage", VALUE_TABLE);
    size_t before = path_field(&r->at, "usage");
    reader_known(r, usage, counts);
    for (size_t i = 0; usage && i < 4; i++) {
        compile_count(r, usage, i);
    }
    path_cut(&r->at, before);
    usage_watch(r, &r->d->usage.root);
}

void usage_watch(struct reader *r, struct jnode *root) {
    const struct usage_rules *u = &r->d->usage;
    for (size_t i = 0; i < u->n_paths; i++) {
        struct jtest *t = jtest_add(r, jnode_at(r, root, u->path[i]), TEST_NUMBER);
        if (t) {
            t->number = (unsigned)i;
        }
    }
}

static long long sum_of(const struct usage_sum *sum, const struct jfacts *f) {
    long long total = -1;
    for (size_t i = 0; i < sum->n; i++) {
        if (f->numbers & (UINT64_C(1) << sum->number[i])) {
            total = (total < 0 ? 0 : total) + f->number[sum->number[i]];
        }
    }
    return total;
}

static long long count_of(const struct usage_count *c, const struct jfacts *f) {
    long long n = -1;
    for (size_t i = 0; i < c->n && n < 0; i++) {
        n = sum_of(&c->ways[i], f);
    }
    return n;
}

void usage_count(const struct usage_rules *u, const struct jfacts *f, struct usage *out) {
    long long n[4];
    if (!f->numbers) {
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        n[i] = count_of(&u->count[i], f);
    }
    if (n[0] < 0 && n[1] < 0) {
        return;
    }
    out->seen = true;
    out->input = n[0] < 0 ? out->input : n[0];
    out->output = n[1] < 0 ? out->output : n[1];
    out->cached = n[2] < 0 ? out->cached : n[2];
    out->reasoning = n[3] < 0 ? out->reasoning : n[3];
}
