-- SPDX-License-Identifier: MIT
-- A gateway that is itself the provider: its policy answers every request and fails on demand. See README.md.

return {
  listen = env("LISTEN", "127.0.0.1:8000"),
  workers = 1,
  log = { access = env("ACCESS_LOG", "off") },

  routes = {
    { name = "pretend", path = "/*", policy = "pretend", on_error = "deny",
      settings = { name = env("PRETEND_NAME", "pretend") } },
  },
}
