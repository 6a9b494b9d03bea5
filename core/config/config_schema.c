/* SPDX-License-Identifier: MIT */
/*
 * The keys of gateway.lua. Data only.
 */
#include "config/config_schema.h"

#include "base/limits.h"
#include "config/config.h"

#define DAY 86400.0

#define SECONDS(record, member, lowest, default_)                                                  \
    {                                                                                              \
        .name = #member, .type = FIELD_SECONDS, .min = (lowest), .max = DAY, .def = (default_),    \
        .offset = offsetof(record, member)                                                         \
    }

static const char *const levels[] = {"debug", "info", "warn", "error", NULL}; /* enum log_level */
static const char *const on_error[] = {"default_plan", "deny", NULL}; /* enum config_on_error */

static const char *const transports[] = {"auto", "libcurl", NULL}; /* enum config_transport */

static const struct field identity_fields[] = {
    {.name = "cert", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_SECRET, .rule = text_file},
    {.name = "key", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_SECRET, .rule = text_file},
    {.name = NULL}, /* end */
};
const struct schema identity_schema = {identity_fields};

/* How a provider is spoken to. */
static const struct field client_fields[] = {
    {.name = "ca", .type = FIELD_TEXT, .flags = FIELD_SECRET, .rule = text_file},
    {.name = "cert", .type = FIELD_TEXT, .flags = FIELD_SECRET, .rule = text_file},
    {.name = "key", .type = FIELD_TEXT, .flags = FIELD_SECRET, .rule = text_file},
    {.name = "verify", .type = FIELD_BOOL},
    {.name = NULL}, /* end */
};
static const struct schema client_schema = {client_fields};

static const struct field listen_fields[] = {
    {.name = "address", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .rule = text_address},
    {.name = "tls", .type = FIELD_IDENTITIES, .of = &identity_schema},
    {.name = NULL}, /* end */
};
const struct schema listen_schema = {listen_fields};

static const struct field admin_fields[] = {
    {.name = "listen",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .rule = text_address,
     .offset = offsetof(struct config, admin_listen)},
    {.name = "tls", .type = FIELD_IDENTITIES, .of = &identity_schema},
    {.name = "token",
     .type = FIELD_TEXT,
     .flags = FIELD_SECRET,
     .rule = text_secret,
     .offset = offsetof(struct config, admin_token)},
    {.name = "read_token",
     .type = FIELD_TEXT,
     .flags = FIELD_SECRET,
     .rule = text_secret,
     .offset = offsetof(struct config, admin_read_token)},
    {.name = NULL}, /* end */
};
static const struct schema admin_schema = {admin_fields};

static const struct field reload_fields[] = {
    {.name = "watch", .type = FIELD_BOOL, .offset = offsetof(struct config, reload_watch)},
    {.name = "tests", .type = FIELD_BOOL, .offset = offsetof(struct config, reload_tests)},
    {.name = "debounce",
     .type = FIELD_SECONDS,
     .min = 0.01,
     .max = 60,
     .def = 0.2,
     .offset = offsetof(struct config, reload_debounce)},
    {.name = NULL}, /* end */
};
static const struct schema reload_schema = {reload_fields};

static const struct field log_fields[] = {
    {.name = "level",
     .type = FIELD_CHOICE,
     .words = levels,
     .def = 1,
     .offset = offsetof(struct config, log.level)},
    {.name = "access",
     .type = FIELD_TEXT,
     .text = "stdout",
     .rule = text_not_empty,
     .offset = offsetof(struct config, log.access)},
    {.name = "error",
     .type = FIELD_TEXT,
     .text = "stderr",
     .rule = text_not_empty,
     .offset = offsetof(struct config, log.error)},
    {.name = "trail",
     .type = FIELD_BOOL,
     .def = true,
     .offset = offsetof(struct config, log.trail)},
    {.name = NULL}, /* end */
};
static const struct schema log_schema = {log_fields};

static const struct field limits_fields[] = {
    {.name = "body",
     .type = FIELD_BYTES,
     .min = 1,
     .max = MAX_BODY_MAX,
     .def = DEFAULT_BODY_MAX,
     .offset = offsetof(struct config, body_max)},
    {.name = "memory",
     .type = FIELD_BYTES,
     .min = (double)MIN_MEMORY,
     .max = (double)MAX_MEMORY,
     .def = (double)DEFAULT_MEMORY,
     .offset = offsetof(struct config, memory)},
    {.name = "connections",
     .type = FIELD_INT,
     .min = 1,
     .max = MAX_CONNECTIONS,
     .def = DEFAULT_CONNECTIONS,
     .offset = offsetof(struct config, connections)},
    SECONDS(struct config, header_time, 0.001, 10),
    SECONDS(struct config, body_time, 0.001, 60),
    SECONDS(struct config, idle_time, 0.001, 75),
    SECONDS(struct config, write_time, 0.001, 60),
    SECONDS(struct config, drain_time, 0, 30),
    {.name = NULL}, /* end */
};
static const struct schema limits_schema = {limits_fields};

static const struct field health_fields[] = {
    {.name = "method",
     .type = FIELD_TEXT,
     .text = "GET",
     .rule = text_method,
     .offset = offsetof(struct config_health, method)},
    {.name = "path",
     .type = FIELD_TEXT,
     .text = "/models",
     .rule = text_url_path,
     .offset = offsetof(struct config_health, path)},
    {.name = "body", .type = FIELD_TEXT, .offset = offsetof(struct config_health, body)},
    {.name = "status",
     .type = FIELD_TEXT,
     .text = "2xx",
     .rule = text_status,
     .offset = offsetof(struct config_health, status)},
    SECONDS(struct config_health, interval, 0.01, 10),
    SECONDS(struct config_health, timeout, 0.001, 2),
    {.name = "up",
     .type = FIELD_INT,
     .min = 1,
     .max = 1000,
     .def = 1,
     .offset = offsetof(struct config_health, up)},
    {.name = "down",
     .type = FIELD_INT,
     .min = 1,
     .max = 1000,
     .def = 3,
     .offset = offsetof(struct config_health, down)},
    {.name = NULL}, /* end */
};
const struct schema health_schema = {health_fields};

static const struct field api_key_fields[] = {
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .text = "",
     .rule = text_name,
     .offset = offsetof(struct config_api_key, name)},
    {.name = "secret",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_SECRET,
     .text = "",
     .rule = text_secret,
     .offset = offsetof(struct config_api_key, secret)},
    {.name = NULL}, /* end */
};
const struct schema api_key_schema = {api_key_fields};

static const struct field aws_fields[] = {
    {.name = "access_key",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_SECRET,
     .rule = text_secret,
     .offset = offsetof(struct config_provider, aws.access_key)},
    {.name = "secret_key",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_SECRET,
     .rule = text_secret,
     .offset = offsetof(struct config_provider, aws.secret_key)},
    {.name = "session_token",
     .type = FIELD_TEXT,
     .flags = FIELD_SECRET,
     .rule = text_secret_or_none,
     .offset = offsetof(struct config_provider, aws.session_token)},
    {.name = "region",
     .type = FIELD_TEXT,
     .rule = text_name,
     .offset = offsetof(struct config_provider, aws.region)},
    {.name = "service",
     .type = FIELD_TEXT,
     .text = "bedrock",
     .rule = text_name,
     .offset = offsetof(struct config_provider, aws.service)},
    {.name = NULL}, /* end */
};
static const struct schema aws_schema = {aws_fields};

static const struct field provider_fields[] = {
    {.name = "dialect",
     .type = FIELD_TEXT,
     .text = "openai",
     .rule = text_dialect,
     .offset = offsetof(struct config_provider, dialect)},
    {.name = "speaks",
     .type = FIELD_TEXTS,
     .rule = text_dialect,
     .offset = offsetof(struct config_provider, speaks)},
    {.name = "base_url",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_SECRET,
     .text = "",
     .rule = text_base_url,
     .offset = offsetof(struct config_provider, base_url)},
    {.name = "api_key",
     .type = FIELD_TEXT,
     .flags = FIELD_SECRET,
     .rule = text_secret,
     .offset = offsetof(struct config_provider, api_key)},
    {.name = "api_keys",
     .type = FIELD_LIST,
     .flags = FIELD_SECRET | FIELD_BY_HAND,
     .max = MAX_API_KEYS,
     .of = &api_key_schema},
    {.name = "auth",
     .type = FIELD_TEXT,
     .rule = text_auth,
     .offset = offsetof(struct config_provider, auth_name)},
    {.name = "aws", .type = FIELD_RECORD, .of = &aws_schema},
    SECONDS(struct config_provider, connect_timeout, 0.001, 5),
    SECONDS(struct config_provider, first_byte_timeout, 0, 0),
    SECONDS(struct config_provider, first_packet_timeout, 0, 0),
    SECONDS(struct config_provider, idle_timeout, 0, 0),
    SECONDS(struct config_provider, request_timeout, 0, 0),
    {.name = "max_inflight",
     .type = FIELD_INT,
     .min = 1,
     .max = 1000000,
     .def = 1024,
     .offset = offsetof(struct config_provider, max_inflight)},
    {.name = "queue",
     .type = FIELD_INT,
     .min = 0,
     .max = 1000000,
     .def = 256,
     .offset = offsetof(struct config_provider, queue)},
    SECONDS(struct config_provider, queue_timeout, 0, 10),
    {.name = "quota_group",
     .type = FIELD_TEXT,
     .rule = text_name,
     .offset = offsetof(struct config_provider, quota_group)},
    {.name = "headers",
     .type = FIELD_TEXT_MAP,
     .flags = FIELD_SECRET,
     .max = MAX_EXTRA_HEADERS,
     .rule = text_header_value,
     .name_rule = text_header_name,
     .offset = offsetof(struct config_provider, headers)},
    {.name = "health", .type = FIELD_HEALTH, .of = &health_schema},
    {.name = "tls", .type = FIELD_RECORD, .flags = FIELD_BY_HAND, .of = &client_schema},
    {.name = "proxy",
     .type = FIELD_TEXT,
     .flags = FIELD_SECRET,
     .rule = text_proxy,
     .offset = offsetof(struct config_provider, proxy)},
    {.name = "transport",
     .type = FIELD_CHOICE,
     .words = transports,
     .def = TRANSPORT_AUTO,
     .offset = offsetof(struct config_provider, transport)},
    {.name = NULL}, /* end */
};
const struct schema provider_schema = {provider_fields};

static const struct field key_fields[] = {
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .text = "",
     .rule = text_name,
     .offset = offsetof(struct config_key, name)},
    {.name = "secret",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_SECRET | FIELD_BY_HAND,
     .rule = text_secret},
    {.name = "environment",
     .type = FIELD_TEXT,
     .text = "production",
     .rule = text_name,
     .offset = offsetof(struct config_key, environment)},
    {.name = "models",
     .type = FIELD_TEXTS,
     .rule = text_not_empty,
     .offset = offsetof(struct config_key, models)},
    {.name = NULL}, /* end */
};
const struct schema key_schema = {key_fields};

static const struct field route_fields[] = {
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .text = "",
     .rule = text_name,
     .offset = offsetof(struct config_route, name)},
    {.name = "path",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .text = "",
     .rule = text_route_path,
     .offset = offsetof(struct config_route, path)},
    {.name = "models",
     .type = FIELD_MODELS,
     .max = MAX_ALIASES,
     .rule = text_not_empty,
     .name_rule = text_alias},
    {.name = "methods",
     .type = FIELD_TEXTS,
     .rule = text_method,
     .offset = offsetof(struct config_route, methods)},
    {.name = "policy",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .text = "",
     .rule = text_policy,
     .offset = offsetof(struct config_route, policy)},
    {.name = "dialect",
     .type = FIELD_TEXT,
     .rule = text_dialect,
     .offset = offsetof(struct config_route, dialect)},
    {.name = "on_error",
     .type = FIELD_CHOICE,
     .words = on_error,
     .def = ON_ERROR_DEFAULT_PLAN,
     .offset = offsetof(struct config_route, on_error)},
    {.name = "settings", .type = FIELD_VALUE, .offset = offsetof(struct config_route, settings)},
    {.name = NULL}, /* end */
};
const struct schema route_schema = {route_fields};

static const struct field config_fields[] = {
    {.name = "listen", .type = FIELD_LISTEN, .of = &listen_schema},
    {.name = "workers", .type = FIELD_WORKERS, .min = 1, .max = MAX_WORKERS},
    {.name = "admin", .type = FIELD_RECORD, .of = &admin_schema},
    {.name = "reload", .type = FIELD_RECORD, .of = &reload_schema},
    {.name = "state_dir",
     .type = FIELD_TEXT,
     .rule = text_not_empty,
     .offset = offsetof(struct config, state_dir)},
    {.name = "log", .type = FIELD_RECORD, .of = &log_schema},
    {.name = "limits", .type = FIELD_RECORD, .of = &limits_schema},
    {.name = "providers",
     .type = FIELD_MAP,
     .flags = FIELD_SECRET,
     .max = MAX_PROVIDERS,
     .name_rule = text_name,
     .of = &provider_schema},
    {.name = "keys", .type = FIELD_LIST, .flags = FIELD_SECRET, .max = MAX_KEYS, .of = &key_schema},
    {.name = "routes", .type = FIELD_LIST, .max = MAX_ROUTES, .of = &route_schema},
    {.name = NULL}, /* end */
};
const struct schema config_schema = {config_fields};
