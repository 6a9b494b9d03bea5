-- SPDX-License-Identifier: MIT
-- The gateway inside embed.c.
return {
  listen = env("LISTEN", "127.0.0.1:8080"),
  log = { access = "off" },
  providers = {},
  routes = { { name = "hello", path = "/hello/*", policy = "hello" } },
}
