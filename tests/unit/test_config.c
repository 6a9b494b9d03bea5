/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of config/: a good gateway.lua gives what it says with every default filled in; each
 * kind of mistake is told with its line, its path and the nearest valid name, all of them at once,
 * and no secret is ever repeated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/config_files.h"
#include "base/limits.h"
#include "base/log.h"
#include "config/config_text.h"
#include "config/luavalue.h"
#include "config/snapshot.h"

/* One load of the folder's gateway.lua. */
struct loaded {
    struct snapshot *snapshot;
    struct diags diags;
    struct config *config;
    struct buf said;
};

static void load_with(struct loaded *l, const struct folder *f, const char *text, size_t n,
                      bool all) {
    struct err err = {""};
    char *path = folder_path(f, "gateway.lua");
    folder_write_bytes(f, "gateway.lua", text, n);
    folder_write(f, "policies/failover.lua", "return {}");
    folder_write(f, "policies/other.lua", "return {}");
    l->snapshot = snapshot_read(path, NULL, &err);
    free(path);
    assert_non_null(l->snapshot);
    diags_init(&l->diags);
    l->config = all ? config_load_all(l->snapshot, &plain_lua, &l->diags)
                    : config_load(l->snapshot, &plain_lua, &l->diags);
    buf_init(&l->said, KIB(64));
    assert_int_equal(diags_format(&l->diags, &l->said), BUF_OK);
}

static void load_text(struct loaded *l, const struct folder *f, const char *text) {
    load_with(l, f, text, strlen(text), false);
}

static void loaded_release(struct loaded *l) {
    config_unref(l->config);
    diags_release(&l->diags);
    buf_release(&l->said);
    snapshot_unref(l->snapshot);
}

static struct config *load_good(struct loaded *l, const struct folder *f, const char *text) {
    load_text(l, f, text);
    if (!l->config || l->diags.n) {
        fail_msg("expected no diagnostics, got:\n%s", l->said.data);
    }
    return l->config;
}

static const char EVERYTHING[] =
    "return {\n"
    "  listen = { '127.0.0.1:0', { address = '[::1]:81' } },\n"
    "  workers = 3,\n"
    "  admin = { listen = 'localhost:9090', token = 'admin-token', read_token = "
    "'look-token' },\n"
    "  reload = { watch = true, tests = true, debounce = 1.5 }, "
    "  state_dir = 'state',\n"
    "  log = { level = 'debug', access = 'access.log', error = 'off', trail = false },\n"
    "  limits = { body = 2^20, header_time = 1, body_time = 2, idle_time = 3, write_time = 4, "
    "drain_time = 0, memory = 2^30, connections = 77 },\n"
    "  providers = {\n"
    "    spare = { dialect = 'openai', base_url = 'http://[::1]:8000/v1//' },\n"
    "    ['open-ai.1'] = { dialect = 'openai', base_url = 'https://api.example.com/v1', api_key = "
    "'sk-provider',\n"
    "      auth = 'header:api-key', connect_timeout = 0.5, first_byte_timeout = 6, "
    "first_packet_timeout = 7, idle_timeout = 8,\n"
    "      request_timeout = 9, max_inflight = 10, queue = 0, queue_timeout = 12, quota_group = "
    "'org',\n"
    "      headers = { ['x-org'] = 'o', authorization = 'Basic aGVhZGVyLXNlY3JldA' },\n"
    "      health = { method = 'POST', path = '/ping?x=1', body = '{}', status = '200, 3xx', "
    "interval = 13, timeout = 14,\n"
    "        up = 15, down = 16 } },\n"
    "    q = { base_url = 'http://q', auth = 'query:key', api_key = 'query-secret', health = true "
    "},\n"
    "    pass = { base_url = 'http://p', auth = 'passthrough' },\n"
    "  },\n"
    "  keys = {\n"
    "    { name = 'app', secret = 'client-secret', environment = 'sandbox', models = { 'gpt-4o*', "
    "'x' } },\n"
    "    { name = 'dev', secret = 'other-secret' },\n"
    "  },\n"
    "  routes = {\n"
    "    { name = 'chat', path = '/v1/chat/completions', policy = 'failover', on_error = 'deny', "
    "dialect = 'openai',\n"
    "      models = { 'a', 'b*' }, methods = { 'POST', 'GET' }, settings = { targets = { 'spare', "
    "{ target = 'q/m', n = 2 } } } },\n"
    "    { name = 'rest', path = '/v1/*', policy = 'other' },\n"
    "  },\n"
    "}\n";

static const struct config_provider *provider(const struct config *c, const char *name) {
    const struct config_provider *p = config_provider(c, str_of(name));
    assert_non_null(p);
    return p;
}

static void expect_path(const struct folder *f, const char *path, const char *name) {
    char *whole = folder_path(f, name);
    assert_string_equal(path, whole);
    free(whole);
}

static void check_top(const struct folder *f, const struct config *c) {
    expect_path(f, c->file, "gateway.lua");
    assert_string_equal(c->dir, f->path);
    expect_path(f, c->state_dir, "state");
    assert_string_equal(c->listen[0], "127.0.0.1:0");
    assert_string_equal(c->listen[1], "[::1]:81");
    assert_null(c->listen[2]);
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->admin_listen, "localhost:9090");
    assert_string_equal(c->admin_token, "admin-token");
    assert_string_equal(c->admin_read_token, "look-token");
    assert_true(c->reload_watch);
    assert_true(c->reload_tests);
    assert_int_equal(c->reload_debounce, 1500000);
    assert_non_null(c->input_files);
    assert_null(c->input_files[0]);
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    expect_path(f, c->log.access, "access.log");
    assert_string_equal(c->log.error, "off");
    assert_false(c->log.trail);
    assert_int_equal(c->body_max, 1 << 20);
    assert_int_equal(c->memory, 1 << 30);
    assert_int_equal(c->connections, 77);
    assert_int_equal(c->header_time, 1 * USEC_PER_SEC);
    assert_int_equal(c->body_time, 2 * USEC_PER_SEC);
    assert_int_equal(c->idle_time, 3 * USEC_PER_SEC);
    assert_int_equal(c->write_time, 4 * USEC_PER_SEC);
    assert_int_equal(c->drain_time, 0);
}

static void check_provider(const struct config_provider *p) {
    assert_string_equal(p->name, "open-ai.1");
    assert_string_equal(p->dialect, "openai");
    assert_string_equal(p->base_url, "https://api.example.com/v1");
    assert_int_equal(p->auth, AUTH_HEADER);
    assert_string_equal(p->auth_name, "api-key");
    assert_string_equal(p->api_key, "sk-provider");
    assert_int_equal(p->connect_timeout, USEC_PER_SEC / 2);
    assert_int_equal(p->first_byte_timeout, 6 * USEC_PER_SEC);
    assert_int_equal(p->first_packet_timeout, 7 * USEC_PER_SEC);
    assert_int_equal(p->idle_timeout, 8 * USEC_PER_SEC);
    assert_int_equal(p->request_timeout, 9 * USEC_PER_SEC);
    assert_int_equal(p->max_inflight, 10);
    assert_int_equal(p->queue, 0);
    assert_int_equal(p->queue_timeout, 12 * USEC_PER_SEC);
    assert_string_equal(p->quota_group, "org");
    assert_true(str_is(value_str(value_field(&p->headers, "x-org")), "o"));
    assert_true(p->health.enabled);
    assert_string_equal(p->health.method, "POST");
    assert_string_equal(p->health.path, "/ping?x=1");
    assert_string_equal(p->health.body, "{}");
    assert_string_equal(p->health.status, "200, 3xx");
    assert_int_equal(p->health.interval, 13 * USEC_PER_SEC);
    assert_int_equal(p->health.timeout, 14 * USEC_PER_SEC);
    assert_int_equal(p->health.up, 15);
    assert_int_equal(p->health.down, 16);
}

static void check_keys(const struct config *c) {
    unsigned char hash[HASH_SIZE];
    assert_int_equal(c->n_keys, 2);
    assert_string_equal(c->keys[0].name, "app");
    assert_string_equal(c->keys[0].environment, "sandbox");
    assert_string_equal(c->keys[0].models[0], "gpt-4o*");
    assert_string_equal(c->keys[0].models[1], "x");
    assert_null(c->keys[0].models[2]);
    hash_sha256(STR("client-secret"), hash);
    assert_memory_equal(c->keys[0].hash, hash, HASH_SIZE);
    assert_string_equal(c->keys[1].name, "dev");
    assert_string_equal(c->keys[1].environment, "production");
    assert_null(c->keys[1].models);
}

static void check_routes(const struct config *c) {
    const struct config_route *r = c->routes;
    assert_int_equal(c->n_routes, 2);
    assert_string_equal(r->name, "chat");
    assert_string_equal(r->path, "/v1/chat/completions");
    assert_false(r->prefix);
    assert_string_equal(r->models[1], "b*");
    assert_null(r->models[2]);
    assert_string_equal(r->methods[0], "POST");
    assert_string_equal(r->methods[1], "GET");
    assert_null(r->methods[2]);
    assert_string_equal(r->policy, "failover");
    assert_string_equal(r->dialect, "openai");
    assert_int_equal(r->on_error, ON_ERROR_DENY);
    struct buf json;
    buf_init(&json, 1000);
    assert_int_equal(value_to_json(&r->settings, &json), BUF_OK);
    assert_string_equal(json.data, "{\"targets\":[\"spare\",{\"n\":2,\"target\":\"q/m\"}]}");
    buf_release(&json);
    r++;
    assert_string_equal(r->path, "/v1/");
    assert_true(r->prefix);
    assert_null(r->models);
    assert_null(r->methods);
    assert_int_equal(r->on_error, ON_ERROR_DEFAULT_PLAN);
    assert_int_equal(r->settings.type, VALUE_TABLE);
}

static void everything_given(void **state) {
    /* Goal: each field of a configuration that says everything is what the file says. */
    struct loaded l;
    struct config *c = load_good(&l, *state, EVERYTHING);
    check_top(*state, c);
    assert_int_equal(c->n_providers, 4);
    check_provider(provider(c, "open-ai.1"));
    assert_string_equal(provider(c, "spare")->base_url, "http://[::1]:8000/v1");
    assert_int_equal(provider(c, "q")->auth, AUTH_QUERY);
    assert_string_equal(provider(c, "q")->auth_name, "key");
    assert_true(provider(c, "q")->health.enabled);
    assert_int_equal(provider(c, "pass")->auth, AUTH_PASSTHROUGH);
    assert_null(config_provider(c, STR("spar")));
    check_keys(c);
    check_routes(c);
    loaded_release(&l);
}

static void expect_masked(const struct config *c, const char *text, const char *masked) {
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_adds(&b, text), BUF_OK);
    config_mask(c, &b);
    assert_string_equal(b.data, masked);
    assert_int_equal(b.len, strlen(masked));
    buf_release(&b);
}

#define AWS_KEYS "aws = { access_key = 'AKID-a', secret_key = 'secret/aws'"

static void signed_for_aws(void **state) {
    /* Goal: the keys, and the region where it is given, or where the host tells it; all of the keys
     * are masked. */
    static const struct {
        const char *url, *more, *region, *service;
    } rows[] = {
        {"https://bedrock-runtime.us-east-1.amazonaws.com", "", "us-east-1", "bedrock"},
        {"https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/", ", session_token = ''",
         "us-gov-west-1", "bedrock"},
        {"https://vpce-1-2.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com:443/x", "",
         "ap-southeast-2", "bedrock"},
        {"https://bedrock-runtime.us-east-1.amazonaws.com", ", region = 'eu-west-3'", "eu-west-3",
         "bedrock"},
        {"http://127.0.0.1:8000", ", region = 'x1', service = 's', session_token = 'tok/en1'", "x1",
         "s"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct loaded l;
        char text[600];
        snprintf(text, sizeof(text),
                 "return { routes = {}, providers = { p = { base_url = '%s', " AWS_KEYS
                 "%s } } } }",
                 rows[i].url, rows[i].more);
        struct config *c = load_good(&l, *state, text);
        const struct config_provider *p = provider(c, "p");
        assert_int_equal(p->auth, AUTH_AWS);
        assert_string_equal(p->aws.region, rows[i].region);
        assert_string_equal(p->aws.service, rows[i].service);
        assert_string_equal(p->aws.access_key, "AKID-a");
        assert_string_equal(p->aws.secret_key, "secret/aws");
        expect_masked(c, "AKID-a secret/aws secret\\/aws", "*** *** ***");
        expect_masked(c, "tok/en1", i == 4 ? "***" : "tok/en1");
        loaded_release(&l);
    }
}

static void nothing_given(void **state) {
    /* Goal: every default, as DESIGN section 4 and config.h state them. */
    struct loaded l;
    struct config *c = load_good(&l, *state,
                                 "return { providers = { p = { base_url = 'http://p', api_key = "
                                 "'k' }, n = { base_url = 'http://n' } },\n"
                                 "  routes = { { name = 'r', path = '/*', policy = 'other' } } }");
    const struct config_provider *p = provider(c, "p");
    assert_string_equal(c->listen[0], "127.0.0.1:8080");
    assert_null(c->listen[1]);
    assert_in_range(c->workers, 1, MAX_WORKERS);
    assert_null(c->state_dir);
    assert_null(c->admin_listen);
    assert_null(c->admin_token);
    assert_null(c->admin_read_token);
    assert_false(c->reload_watch);
    assert_false(c->reload_tests);
    assert_int_equal(c->reload_debounce, 200000);
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    assert_string_equal(c->log.access, "stdout");
    assert_string_equal(c->log.error, "stderr");
    assert_true(c->log.trail);
    assert_int_equal(c->body_max, DEFAULT_BODY_MAX);
    assert_int_equal(c->memory, DEFAULT_MEMORY);
    assert_int_equal(c->connections, DEFAULT_CONNECTIONS);
    assert_int_equal(c->header_time, 10 * USEC_PER_SEC);
    assert_int_equal(c->body_time, 60 * USEC_PER_SEC);
    assert_int_equal(c->idle_time, 75 * USEC_PER_SEC);
    assert_int_equal(c->write_time, 60 * USEC_PER_SEC);
    assert_int_equal(c->drain_time, 30 * USEC_PER_SEC);
    assert_string_equal(p->dialect, "openai");
    assert_int_equal(p->auth, AUTH_BEARER);
    assert_null(p->auth_name);
    assert_int_equal(provider(c, "n")->auth, AUTH_NONE);
    assert_int_equal(p->connect_timeout, 5 * USEC_PER_SEC);
    assert_int_equal(p->first_byte_timeout, 0);
    assert_int_equal(p->first_packet_timeout, 0);
    assert_int_equal(p->idle_timeout, 0);
    assert_int_equal(p->request_timeout, 0);
    assert_int_equal(p->max_inflight, 1024);
    assert_int_equal(p->queue, 256);
    assert_int_equal(p->queue_timeout, 10 * USEC_PER_SEC);
    assert_null(p->quota_group);
    assert_int_equal(p->headers.type, VALUE_NIL);
    assert_false(p->health.enabled);
    assert_string_equal(p->health.method, "GET");
    assert_string_equal(p->health.path, "/models");
    assert_null(p->health.body);
    assert_string_equal(p->health.status, "2xx");
    assert_int_equal(p->health.interval, 10 * USEC_PER_SEC);
    assert_int_equal(p->health.timeout, 2 * USEC_PER_SEC);
    assert_int_equal(p->health.up, 1);
    assert_int_equal(p->health.down, 3);
    assert_int_equal(c->n_keys, 0);
    assert_true(c->routes[0].prefix);
    assert_string_equal(c->routes[0].path, "/");
    config_unref(config_ref(c));
    assert_string_equal(c->routes[0].name, "r");
    loaded_release(&l);
    config_unref(NULL);
}

/* A good file, of which each case below changes one thing. */
static const char GOOD[] =
    "return {\n"
    "  listen = '127.0.0.1:8080',\n"
    "  workers = 1,\n"
    "  log = { level = 'info' },\n"
    "  providers = {\n"
    "    openai = { dialect = 'openai', base_url = 'https://a.example/v1', api_key = "
    "'sk-very-secret', queue = 1 },\n"
    "  },\n"
    "  keys = { { name = 'app', secret = 'key-very-secret' } },\n"
    "  routes = {\n"
    "    { name = 'chat', path = '/v1/chat', policy = 'failover', settings = {} },\n"
    "    { name = 'rest', path = '/v1/*', policy = 'failover' },\n"
    "  },\n"
    "}\n";

/* The text with its first `old` replaced; the caller frees it. */
static char *replaced(const char *text, const char *old, const char *new) {
    char *out = NULL;
    const char *at = strstr(text, old);
    if (!at) {
        fail_msg("the text has no %s", old);
    }
    assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) > 0);
    return out;
}

struct mistake {
    const char *old, *new;
    int line;
    const char *message; /* how it begins */
};

static const struct mistake MISTAKES[] = {
    {"listen =", "lisen =", 2, "lisen: unknown key; did you mean \"listen\"?"},
    {"base_url", "base_ulr", 6,
     "providers.openai.base_ulr: unknown key; did you mean \"base_url\"?"},
    {"base_url = 'https://a.example/v1',", "", 6, "providers.openai.base_url: is missing"},
    {"name = 'chat'", "nam = 'chat'", 10, "routes[1].nam: unknown key; did you mean \"name\"?"},
    {"name = 'chat', ", "", 10, "routes[1].name: is missing"},
    {"name = 'chat'", "name = 'chat', zzz = 1", 10,
     "routes[1].zzz: unknown key; expected name, path, models, methods,"},
    {"level", "levle", 4, "log.levle: unknown key; did you mean \"level\"?"},
    {"'info'", "'inof'", 4,
     "log.level: expected \"debug\", \"info\", \"warn\" or \"error\", found string \"inof\"; did "
     "you mean \"info\"?"},
    {"dialect = 'openai'", "dialect = 'Open AI'", 6,
     "providers.openai.dialect: expected the name of a file in lua/dialects/, without \".lua\" "
     "(letters a to z, digits, '_' and '-'), found \"Open AI\""},
    {"dialect = 'openai'", "speaks = { 'openai', '' }", 6,
     "providers.openai.speaks[2]: expected the name of a file in lua/dialects/"},
    {"'127.0.0.1:8080'", "8080", 2,
     "listen: expected an address such as \"127.0.0.1:8080\", found 8080"},
    {"'127.0.0.1:8080'", "'127.0.0.1'", 2, "listen: expected an address such as"},
    {"'127.0.0.1:8080'", "'127.0.0.1:99999'", 2, "listen: expected an address such as"},
    {"'127.0.0.1:8080'", "{}", 2, "listen: expected 1 to 16 addresses, found 0"},
    {"'127.0.0.1:8080'", "{ ':80',\n 'x' }", 3, "listen[2]: expected an address such as"},
    {"'127.0.0.1:8080'", "{ ':80', ':80' }", 2, "listen[2]: \":80\" is given twice"},
    {"'127.0.0.1:8080'", "{ { address = ':80', tls = 'cert.pem' } }", 2,
     "listen[1].tls: expected a table"},
    {"'127.0.0.1:8080'", "{ { adress = ':80' } }", 2,
     "listen[1].adress: unknown key; did you mean \"address\"?"},
    {"workers = 1", "workers = 0", 3,
     "workers: expected \"auto\" or a whole number from 1 to 64, found 0"},
    {"workers = 1", "workers = 1.5", 3, "workers: expected"},
    {"workers = 1", "workers = 'many'", 3, "workers: expected"},
    {"workers = 1", "admin = { token = 'x' }", 3, "admin.listen: is missing"},
    {"workers = 1", "admin = { listen = ':9090' }", 3,
     "admin.listen: \":9090\" can be reached from other machines and there is no admin.token"},
    {"workers = 1", "admin = { listen = '127.0.0.1:8080' }", 2,
     "listen: \"127.0.0.1:8080\" is also the address of admin.listen"},
    {"workers = 1",
     "admin = { listen = '127.0.0.1:1', token = 'same-secret', read_token = "
     "'same-secret' }",
     3, "admin.read_token: is the same as admin.token"},
    {"workers = 1", "admin = { listen = '127.0.0.1:1', read_token = 'look-token' }", 3,
     "admin.read_token: there is no admin.token beside it"},
    {"workers = 1", "reload = { watch = 'yes' }", 3, "reload.watch: expected"},
    {"workers = 1", "reload = { debounce = 0 }", 3, "reload.debounce: expected seconds"},
    {"workers = 1", "reload = { debounce = 61 }", 3, "reload.debounce: expected seconds"},
    {"workers = 1", "reload = { wach = true }", 3,
     "reload.wach: unknown key; did you mean \"watch\"?"},
    {"workers = 1", "reload = true", 3, "reload: expected"},
    {"workers = 1", "limits = { body = 0.5 }", 3,
     "limits.body: expected a number of bytes from 1 to 536870912, found 0.5"},
    {"workers = 1", "limits = { idle_time = 0 }", 3,
     "limits.idle_time: expected seconds, a number from 0.001 to 86400, found 0"},
    {"workers = 1", "limits = { body_time = 0/0 }", 3, "limits.body_time: expected seconds"},
    {"workers = 1", "limits = { body_time = '10' }", 3,
     "limits.body_time: expected seconds, a number from 0.001 to 86400, found string \"10\""},
    {"workers = 1", "limits = 3", 3, "limits: expected a table, found a number"},
    {"workers = 1", "state_dir = ''", 3, "state_dir: expected some text, found an empty string"},
    {"workers = 1", "'workers'", 3, "[1]: expected named keys, found a list item"},
    {"level = 'info'", "trail = 1", 4, "log.trail: expected true or false, found 1"},
    {"openai = {", "['my openai'] = {", 6,
     "providers[\"my openai\"]: expected a name of at most 128 letters"},
    {"openai = {", "{", 6, "providers[1]: expected named entries, found a list item"},
    {"'https://a.example/v1'", "'a.example/v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "that does not start"},
    {"'https://a.example/v1'", "'https://user:sk-very-secret@a/v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "with user information"},
    {"'https://a.example/v1'", "'https://a/v1', proxy = 'http://user:pass/word@p:1'", 6,
     "providers.openai.proxy: expected the URL of a proxy such as "
     "\"http://proxy.example.com:3128\" or \"http://user:password@10.0.0.1:3128\", found one whose "
     "user or password holds a / ? # or @"},
    {"'https://a.example/v1'", "'https:///v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "without a host"},
    {"'https://a.example/v1'", "'https://a:0/v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "whose port"},
    {"'https://a.example/v1'", "'https://a?x@b=1/v1#x'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "with a fragment"},
    {"'https://a.example/v1'", "'https://a/v1#x'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "with a fragment"},
    {"'https://a.example/v1'", "'https://a b/v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "with characters"},
    {"'https://a.example/v1'", "'https://[a]/v1'", 6,
     "providers.openai.base_url: expected a URL such as \"https://api.example.com/v1\", found one "
     "without a host"},
    {"'sk-very-secret'", "'sk very-secret'", 6,
     "providers.openai.api_key: expected a secret of visible ASCII characters"},
    {"'sk-very-secret'", "''", 6,
     "providers.openai.api_key: expected a secret, found an empty string"},
    {"'sk-very-secret'", "1234567", 6,
     "providers.openai.api_key: expected a string, found a number"},
    {"queue = 1", "queue = -1", 6,
     "providers.openai.queue: expected a whole number from 0 to 1000000, found -1"},
    {"queue = 1", "queue = 'x'", 6,
     "providers.openai.queue: expected a whole number from 0 to 1000000, found string \"x\""},
    {"queue = 1", "auth = 'beaer'", 6,
     "providers.openai.auth: expected \"bearer\", \"header:NAME\""},
    {"queue = 1", "auth = 'sk-very-secret-0123'", 6, "providers.openai.auth: expected \"bearer\""},
    {"{ { name = 'app', secret = 'key-very-secret' } }", "{ 'key-very-secret' }", 8,
     "keys[1]: expected a table, found a string"},
    {"{ { name = 'app', secret = 'key-very-secret' } }", "'key-very-secret'", 8,
     "keys: expected a list, found a string"},
    {"queue = 1", "auth = 'aws'", 6,
     "providers.openai: auth = \"aws\" signs requests; expected aws ="},
    {"queue = 1", "aws = { access_key = 'abcdef', secret_key = 'abcdef' }", 6,
     "providers.openai: aws.region is missing, and the host of base_url names none"},
    {"api_key = 'sk-very-secret'",
     "api_keys = { { name = 'a', secret = 'abcdef' } }, aws = { access_key = 'abcdef', secret_key "
     "= "
     "'abcdef', region = 'r' }",
     6, "providers.openai: api_keys and aws: requests are signed with the one key of aws"},
    {"queue = 1", "aws = { access_key = 'abcdef', region = 'r' }", 6,
     "providers.openai.aws.secret_key: is missing"},
    {"queue = 1", "aws = { access_key = 'abcdef', secret_key = 'a b', region = 'r' }", 6,
     "providers.openai.aws.secret_key: expected a secret of visible ASCII characters"},
    {"queue = 1", "auth = 'header:'", 6, "providers.openai.auth: expected \"bearer\""},
    {"queue = 1", "auth = 'header:content-length'", 6,
     "providers.openai.auth: the header \"content-length\" is set by the gateway itself"},
    {"queue = 1", "headers = { ['x y'] = 'v' }", 6,
     "providers.openai.headers[\"x y\"]: expected the name of a header"},
    {"queue = 1", "headers = { x = 'a\\r\\nb: c' }", 6,
     "providers.openai.headers.x: expected the value of a header, found one with control "
     "characters"},
    {"queue = 1", "headers = { x = 1 }", 6,
     "providers.openai.headers.x: expected a string, found a number"},
    {"queue = 1", "health = { status = 'ok' }", 6,
     "providers.openai.health.status: expected a status such as"},
    {"queue = 1", "health = { path = 'models' }", 6,
     "providers.openai.health.path: expected a path such as \"/models\", found \"models\""},
    {"queue = 1", "health = { interval = 0 }", 6,
     "providers.openai.health.interval: expected seconds"},
    {"queue = 1", "health = 1", 6, "providers.openai.health: expected a table, found a number"},
    {"queue = 1", "queue = print", 6, "providers.openai.queue: a function is no data"},
    {"queue = 1", "[true] = 1", 6,
     "providers.openai: a key is a boolean; expected a name or a list index"},
    {"queue = 1", "['a\\0b'] = 1", 6, "providers.openai: a key contains a zero byte"},
    {"queue = 1", "queue = 1, queue = 2", 6,
     "\"queue\" is given twice in one table; the first is in line 6"},
    {"{ { name = 'app'", "{ x = 1, { name = 'app'", 8,
     "keys.x: expected list items, found a named key"},
    {"'key-very-secret'", "'key very-secret'", 8,
     "keys[1].secret: expected a secret of visible ASCII characters"},
    {"'key-very-secret' }", "'key-very-secret' }, { name = 'b', secret = 'key-very-secret' }", 8,
     "keys[2].secret: it is also the secret of keys[1]"},
    {"'key-very-secret' }", "'key-very-secret' }, { name = 'app', secret = 'key-other' }", 8,
     "keys[2].name: \"app\" is also the name of keys[1]"},
    {"'key-very-secret'", "'key-very-secret', models = {}", 8,
     "keys[1].models: expected a list of at least one string, found an empty one"},
    {"'key-very-secret'", "'key-very-secret', models = { [2] = 'x' }", 8,
     "keys[1].models: there is an item [2] but none at [1]"},
    {"'key-very-secret'", "'key-very-secret', models = 'gpt'", 8,
     "keys[1].models: expected a list, found string \"gpt\""},
    {"'key-very-secret'", "'key-very-secret', models = { 'a', 1 }", 8,
     "keys[1].models[2]: expected a string, found 1"},
    {"'rest'", "'chat'", 11, "routes[2].name: \"chat\" is also the name of routes[1]"},
    {"'/v1/chat'", "'v1/chat'", 10,
     "routes[1].path: expected a path such as \"/v1/chat/completions\" or \"/v1/*\""},
    {"'/v1/chat'", "'/v1/*/chat'", 10, "routes[1].path: expected a path"},
    {"'failover'", "'failovr'", 10,
     "routes[1].policy: there is no policies/failovr.lua; did you mean \"failover\"?"},
    {"'failover'", "'somethingelse'", 10,
     "routes[1].policy: there is no policies/somethingelse.lua, neither beside"},
    {"'failover'", "'failover.lua'", 10,
     "routes[1].policy: expected the name of a file in policies/, without \".lua\""},
    {"'failover'", "'../failover'", 10,
     "routes[1].policy: expected the name of a file in policies/"},
    {"'failover'", "'failover', methods = { 'post' }", 10,
     "routes[1].methods[1]: expected GET, HEAD, POST"},
    {"'failover'", "'failover', on_error = 'deni'", 10,
     "routes[1].on_error: expected \"default_plan\" or \"deny\", found string \"deni\"; did you "
     "mean \"deny\"?"},
    {"settings = {}", "settings = 'x'", 10,
     "routes[1].settings: expected a table, found string \"x\""},
    {"'key-very-secret'", "env('MOONGATE_TEST_NOT_SET')", 8,
     "env MOONGATE_TEST_NOT_SET is not set"},
    {"'key-very-secret'", "env('MOONGATE_TEST_EMPTY')", 8,
     "env MOONGATE_TEST_EMPTY is set but empty"},
    {"'key-very-secret'", "file('no-such-file')", 8, "file no-such-file: No such file"},
    {"'key-very-secret'", "file('policies')", 8, "file policies: is no regular file"},
    {"'https://a.example/v1'", "'https://' .. env('MOONGATE_TEST_NOT_SET')", 6,
     "env MOONGATE_TEST_NOT_SET is not set"},
    {"'/v1/chat'", "nothing.at.all", 10, "attempt to index a nil value"},
    {"'/v1/chat'", "= 1", 10, "unexpected symbol near '='"},
    {"'/v1/chat'", "\"sk-very-secret", 10, "unfinished string"},
    {"'/v1/chat'", "nil 'sk-very-secret'", 10, "'}' expected"},
    {"return", "local config =", 0, "must return a table, returned nothing"},
    {"return", "return 1,", 1, "must return a table, returned number"},
};

static void expect_one(const struct folder *f, const struct mistake *m) {
    struct loaded l;
    char *text = replaced(GOOD, m->old, m->new);
    load_text(&l, f, text);
    bool found = false;
    for (size_t i = 0; i < l.diags.n; i++) {
        const struct diag *d = &l.diags.list[i];
        found |= !d->warning && d->line == m->line && strstr(d->message, m->message) == d->message;
        expect_path(f, d->file, "gateway.lua");
    }
    if (l.config || !found || l.diags.errors != 1) {
        fail_msg("%s: expected only line %d, \"%s\", got:\n%s", m->new, m->line, m->message,
                 l.said.data);
    }
    assert_null(strstr(l.said.data, "very-secret"));
    loaded_release(&l);
    free(text);
}

static void one_mistake(void **state) {
    /* Goal: each kind of mistake is told once, with its line, its path, what was expected and the
     * nearest name; no secret is repeated. */
    struct loaded l;
    unsetenv("MOONGATE_TEST_NOT_SET");
    setenv("MOONGATE_TEST_EMPTY", "", 1);
    load_good(&l, *state, GOOD);
    loaded_release(&l);
    for (size_t i = 0; i < sizeof(MISTAKES) / sizeof(*MISTAKES); i++) {
        expect_one(*state, &MISTAKES[i]);
    }
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

static void all_mistakes_at_once(void **state) {
    /* Goal: one run tells the mistakes of all parts, wherever the file makes them, each in its own
     * line. */
    static const struct {
        int line;
        const char *message;
    } expected[] = {
        {1, "env MOONGATE_TEST_NOT_SET is not set"},
        {3, "lisen: unknown key; did you mean \"listen\"?"},
        {5, "providers.a.base_ulr: unknown key; did you mean \"base_url\"?"},
        {6, "providers.b.queue: expected a whole number"},
        {6, "providers.b.dialect: expected the name of a file in lua/dialects/"},
        {9, "keys[2].name: \"x\" is also the name of keys[1]"},
        {12, "routes[1].policy: there is no policies/failovr.lua; did you mean \"failover\"?"},
        {13, "routes[1].settings.f: a function is no data"},
        {15, "routes[2]: expected a table, found a number"},
    };
    struct loaded l;
    unsetenv("MOONGATE_TEST_NOT_SET");
    load_text(&l, *state,
              "local secret = env('MOONGATE_TEST_NOT_SET')\n"
              "return {\n"
              "  lisen = ':80',\n"
              "  providers = {\n"
              "    a = { base_ulr = 'http://x', api_key = secret },\n"
              "    b = { base_url = 'http://x', queue = -1, dialect = 'opn ai' },\n"
              "  },\n"
              "  keys = { { name = 'x', secret = secret },\n"
              "    { name = 'x', secret = secret } },\n"
              "  routes = {\n"
              "    { name = 'r', path = '/x',\n"
              "      policy = 'failovr',\n"
              "      settings = { f = function() end },\n"
              "    },\n"
              "    7,\n"
              "  },\n"
              "}\n");
    assert_null(l.config);
    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
        char line[256];
        snprintf(line, sizeof(line), "gateway.lua:%d: error: %s", expected[i].line,
                 expected[i].message);
        if (count(l.said.data, line) != 1) {
            fail_msg("expected once: %s\nin\n%s", line, l.said.data);
        }
    }
    if (l.diags.errors != sizeof(expected) / sizeof(*expected)) {
        fail_msg("expected no more than that:\n%s", l.said.data);
    }
    loaded_release(&l);
}

static void goes_on_with_mistakes(void **state) {
    /* Goal: config_load_all keeps what can be judged in a file with mistakes, and marks the routes
     * that cannot. */
    struct loaded l;
    static const char text[] =
        "return { lisen = 1, workers = -5, log = 7, keys = 'x',\n"
        "  providers = { a = { base_ulr = 1 }, b = 5 },\n"
        "  routes = { { name = 'ok', path = '/a', policy = 'failover', settings = { x = 1 } },\n"
        "    { name = 'gone', path = '/b', policy = 'nothere' },\n"
        "    { name = 'f', path = '/c', policy = 'failover', settings = { { print } } }, 9 } }";
    load_with(&l, *state, text, sizeof(text) - 1, true);
    assert_non_null(l.config);
    assert_true(l.diags.errors > 5);
    assert_int_equal(l.config->n_providers, 2);
    assert_string_equal(provider(l.config, "a")->base_url, "");
    assert_in_range(l.config->workers, 1, MAX_WORKERS);
    assert_int_equal(l.config->n_routes, 4);
    assert_string_equal(l.config->routes[0].policy, "failover");
    assert_non_null(value_field(&l.config->routes[0].settings, "x"));
    for (size_t i = 1; i < 4; i++) {
        assert_null(l.config->routes[i].policy);
    }
    loaded_release(&l);
    load_with(&l, *state, "return 1", 8, true);
    assert_null(l.config);
    loaded_release(&l);
}

static void warnings(void **state) {
    /* Goal: what is odd but no mistake is told as a warning, with its line, and the load goes on.
     */
    static const struct {
        const char *text;
        int line;
        const char *message;
    } cases[] = {
        {"return { listen = ':0' , keys = { { name = 'a', secret = 'abcdefgh' } } }", 1,
         "routes: there are none"},
        {"return { routes = {\n{ name = 'a', path = '/v1/*', policy = 'other' },\n{ name = 'b', "
         "path = '/v1/x', policy = 'other' } } }",
         3, "routes[2]: can never be reached: routes[1] takes all its requests before"},
        {"return { routes = {\n{ name = 'a', path = '/*', policy = 'other', models = { 'g*' }, "
         "methods = { 'GET', 'POST' } },\n"
         "{ name = 'b', path = '/v1/*', policy = 'other', models = { 'gpt', 'g-*' }, methods = { "
         "'POST' } } } }",
         3, "routes[2]: can never be reached"},
        {"return { routes = {},\nkeys = { { name = 'a', secret = 'short' } } }", 2,
         "keys[1].secret: shorter than 6 characters"},
        {"return { routes = {},\nkeys = { { name = 'a', secret = 'abcdefgh', environment = "
         "'sandbx' } } }",
         2, "keys[1].environment: \"sandbx\" is not \"sandbox\""},
        {"return { routes = {}, providers = {\np = { base_url = 'http://p', auth = 'bearer' } } }",
         2, "providers.p.auth: there is no api_key"},
        {"return { routes = {}, providers = {\np = { base_url = 'http://p', auth = 'none', api_key "
         "= 'x' } } }",
         2, "providers.p.auth: the provider's api_key is never sent"},
        {"return { routes = {}, providers = {\np = { base_url = 'http://p', api_key = "
         "'x', " AWS_KEYS ", region = 'eu-west-1' } } } }",
         2, "providers.p: the provider's api_key is never sent: requests are signed with aws"},
        {"return { routes = {}, providers = {\np = { base_url = 'http://p', auth = 'bearer', "
         "api_key = 'x', " AWS_KEYS ", region = 'eu-west-1' } } } }",
         2, "providers.p: aws is never used with auth = \"bearer\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct loaded l;
        load_text(&l, *state, cases[i].text);
        if (!l.config || l.diags.n != 1 || !l.diags.list[0].warning ||
            l.diags.list[0].line != cases[i].line ||
            strstr(l.diags.list[0].message, cases[i].message) != l.diags.list[0].message) {
            fail_msg("expected only a warning in line %d: %s, got:\n%s", cases[i].line,
                     cases[i].message, l.said.data);
        }
        loaded_release(&l);
    }
}

static void routes_that_are_reached(void **state) {
    /* Goal: routes that differ in path, models or methods are not called unreachable. */
    struct loaded l;
    load_good(&l, *state,
              "return { routes = {\n"
              "  { name = 'a', path = '/v1/x', policy = 'other' },\n"
              "  { name = 'b', path = '/v1/x*', policy = 'other', models = { 'a*' } },\n"
              "  { name = 'c', path = '/v1/xy', policy = 'other', models = { 'a', 'b' } },\n"
              "  { name = 'd', path = '/v1/*', policy = 'other', methods = { 'GET' } },\n"
              "  { name = 'e', path = '/v1/*', policy = 'other' } } }");
    loaded_release(&l);
}

static void doors_left_open(void **state) {
    /* Goal: without client keys only loopback addresses may be listened on, in whichever form they
     * are written. */
    static const struct {
        const char *address;
        bool open;
    } cases[] = {
        {"127.0.0.1:1", false},
        {"127.1.2.3:1", false},
        {"localhost:1", false},
        {"[::1]:1", false},
        {"[::ffff:127.0.0.1]:1", false},
        {"0.0.0.0:1", true},
        {":1", true},
        {"127.0.0.1.example.com:1", true},
        {"[::]:1", true},
        {"192.168.0.1:1", true},
        {"localhost2:1", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int form = 0; form < 2; form++) {
            struct loaded l;
            char text[256];
            snprintf(text, sizeof(text), "return { routes = {}, listen = { %s'%s'%s } }",
                     form ? "{ address = " : "", cases[i].address, form ? " }" : "");
            load_text(&l, *state, text);
            if (cases[i].open != (l.config == NULL) ||
                cases[i].open != (strstr(l.said.data, "no keys are configured") != NULL)) {
                fail_msg("%s: %s", cases[i].address, l.said.data);
            }
            loaded_release(&l);
        }
    }
}

static void env_and_file(void **state) {
    /* Goal: env() gives the variable or its default; file() gives the content without its last line
     * end; both change the hash. */
    struct loaded l;
    unsigned char before[HASH_SIZE];
    unsigned char after[HASH_SIZE];
    static const char text[] =
        "local n = env('MOONGATE_TEST_NONE', nil)\n"
        "assert(n == nil and env('MOONGATE_TEST_NONE', false) == false)\n"
        "return { routes = {}, workers = tonumber(env('MOONGATE_TEST_WORKERS', '5')),\n"
        "  admin = { listen = '127.0.0.1:1', token = file('tokens/admin') },\n"
        "  keys = { { name = 'a', secret = env('MOONGATE_TEST_KEY') }, { name = 'b', secret = "
        "file(env('MOONGATE_TEST_FILE')) } } }";
    char *path = folder_path(*state, "absolute");
    setenv("MOONGATE_TEST_KEY", "from-env", 1);
    setenv("MOONGATE_TEST_FILE", path, 1);
    folder_write(*state, "tokens/admin", "token\r\n");
    folder_write(*state, "absolute", "no-line-end");
    load_good(&l, *state, text);
    assert_int_equal(l.config->workers, 5);
    assert_string_equal(l.config->admin_token, "token");
    assert_string_equal(l.config->secrets[0], "from-env");
    assert_string_equal(l.config->secrets[1], "no-line-end");
    expect_path(*state, l.config->input_files[0], "tokens/admin");
    assert_string_equal(l.config->input_files[1], path);
    assert_null(l.config->input_files[2]);
    snapshot_hash(l.snapshot, before);
    struct diags diags;
    diags_init(&diags);
    config_unref(config_load(l.snapshot, &plain_lua, &diags));
    snapshot_hash(l.snapshot, after);
    assert_memory_equal(before, after, HASH_SIZE);
    diags_release(&diags);
    loaded_release(&l);
    folder_write(*state, "tokens/admin", "other");
    load_good(&l, *state, text);
    snapshot_hash(l.snapshot, after);
    assert_memory_not_equal(before, after, HASH_SIZE);
    loaded_release(&l);
    setenv("MOONGATE_TEST_WORKERS", "2", 1);
    load_good(&l, *state, text);
    assert_int_equal(l.config->workers, 2);
    snapshot_hash(l.snapshot, before);
    assert_memory_not_equal(before, after, HASH_SIZE);
    loaded_release(&l);
    unsetenv("MOONGATE_TEST_WORKERS");
    free(path);
}

static void masking(void **state) {
    /* Goal: every configured secret is masked wherever it stands, the longest first; other text
     * stays as it is. */
    struct loaded l;
    struct config *c = load_good(&l, *state, EVERYTHING);
    expect_masked(c, "", "");
    expect_masked(c, "sk-provide", "sk-provide");
    expect_masked(c, "sk-provider", "***");
    expect_masked(c, "key sk-providersk-provider!", "key ******!");
    expect_masked(c, "client-secret, other-secret; query-secret admin-token look-token",
                  "***, ***; *** *** ***");
    expect_masked(c, "Authorization: Basic aGVhZGVyLXNlY3JldA", "Authorization: Basic ***");
    expect_masked(c, "client-secreclient-secret", "client-secre***");
    loaded_release(&l);
    char *secrets[] = {(char[]){"abcdef"}, (char[]){"abcdefgh"}, (char[]){"short"}, NULL};
    struct config own = {.secrets = secrets};
    expect_masked(&own, "abcdefgh abcdefg short", "*** ***g short");
    own.secrets = NULL;
    expect_masked(&own, "abcdefgh", "abcdefgh");
}

static void lines_of_values(void **state) {
    /* Goal: config_line finds values in the file that was read, for whoever checks settings later.
     */
    struct loaded l;
    load_good(&l, *state, EVERYTHING);
    assert_int_equal(config_line(l.snapshot, "routes[1].settings.targets[2].n"), 25);
    assert_int_equal(config_line(l.snapshot, "providers[\"open-ai.1\"].headers.authorization"), 13);
    loaded_release(&l);
}

static void marks_of_editors(void **state) {
    /* Goal: a byte order mark is no mistake; bytecode is. */
    struct loaded l;
    load_good(&l, *state, "\xEF\xBB\xBFreturn { routes = {} }");
    loaded_release(&l);
    load_text(&l, *state, "\033Lua");
    assert_null(l.config);
    assert_non_null(strstr(l.said.data, "gateway.lua: error: attempt to load a binary chunk"));
    loaded_release(&l);
}

static int push_and_compare(lua_State *L) {
    const struct value *v = lua_touserdata(L, 1);
    value_to_lua(L, v);
    lua_setglobal(L, "copy");
    return luaL_dostring(L, "assert(#copy == 2 and copy[1] == 1 and copy[2].x == 'a\\0b' and "
                            "copy.yes == true and copy.half == 0.5)")
               ? lua_error(L)
               : 0;
}

static void values_there_and_back(void **state) {
    /* Goal: a table keeps its items, fields, types and zero bytes on the way to C and back. */
    struct err err = {""};
    struct value v;
    lua_State *L = luaL_newstate();
    (void)state;
    assert_non_null(L);
    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, "return { 1, { x = 'a\\0b' }, yes = true, half = 0.5 }"),
                     LUA_OK);
    assert_int_equal(value_from_lua(L, -1, &v, &err), 0);
    assert_int_equal(lua_gettop(L), 1);
    assert_int_equal(v.as.t.items[0].type, VALUE_INT);
    assert_int_equal(value_field(&v, "half")->type, VALUE_NUM);
    lua_pushcfunction(L, push_and_compare);
    lua_pushlightuserdata(L, &v);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fail_msg("%s", lua_tostring(L, -1));
    }
    value_release(&v);
    lua_close(L);
}

static void values_that_are_none(void **state) {
    /* Goal: what is no data is refused with its path, and the stack is left as it was. */
    static const struct {
        const char *code, *message;
    } cases[] = {
        {"return { a = { print } }", "a[1]: a function is no data"},
        {"local t = {} t.b = { t } return t", "b[1]: the table contains itself"},
        {"local t = {} for i = 1, 40 do t = { t } end return t",
         "tables are nested deeper than 32 levels"},
        {"local t = {} for i = 1, 100001 do t[i] = i end return t", "more values than"},
        {"local t = {} for i = 1, 10001 do t['k' .. i] = i end return t", "more named fields"},
        {"return { x = { 1, nil, 3, nil, 5, [9] = 1 } }", "expected a list without holes"},
        {"return { [1.5] = 1 }", "a key is a number; expected a name or a list index"},
        {"return { ['a\\0b'] = 1 }", "a key contains a zero byte"},
        {"return coroutine.create(print)", "a thread is no data"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = {""};
        struct value v;
        lua_State *L = luaL_newstate();
        assert_non_null(L);
        luaL_openlibs(L);
        assert_int_equal(luaL_dostring(L, cases[i].code), LUA_OK);
        assert_int_equal(value_from_lua(L, -1, &v, &err), -1);
        assert_int_equal(v.type, VALUE_NIL);
        assert_int_equal(lua_gettop(L), 1);
        if (!strstr(err.text, cases[i].message)) {
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].message);
        }
        lua_close(L);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

static void loopback(void **state) {
    /* Goal: only addresses that cannot be reached from elsewhere count as loopback. */
    (void)state;
    static const char *const yes[] = {"127.0.0.1:80", "127.9.9.9:0", "[::1]:80", "localhost:80",
                                      "LocalHost:1",  "127.0.0.1",   "localhost"};
    static const char *const no[] = {"0.0.0.0:80",      ":80",
                                     "[::]:80",         "10.0.0.1:80",
                                     "127.evil.org:80", "localhost.evil.org:80",
                                     "[::1:80",         "",
                                     "example.org:80"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        assert_true(address_is_loopback(str_of(yes[i])));
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        assert_false(address_is_loopback(str_of(no[i])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(everything_given),
        TEST(signed_for_aws),
        TEST(nothing_given),
        TEST(one_mistake),
        TEST(all_mistakes_at_once),
        TEST(goes_on_with_mistakes),
        TEST(warnings),
        TEST(doors_left_open),
        TEST(routes_that_are_reached),
        TEST(env_and_file),
        TEST(masking),
        TEST(lines_of_values),
        TEST(marks_of_editors),
        cmocka_unit_test(loopback),
        cmocka_unit_test(values_there_and_back),
        cmocka_unit_test(values_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
