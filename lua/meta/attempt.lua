---@meta
-- SPDX-License-Identifier: MIT
-- What req:send returns: one attempt at one target. For editors and the reference in policies/README.md;
-- never loaded.

---@alias moongate.Class "backend"|"rate_limit"|"intercepted"|"credential"|"model"|"context"|"client"

---@alias moongate.Outcome
---| "ok" | "client_gone" | "cancelled"
---| "connect_error" | "tls_error" | "dns_error" | "stale_connection"
---| "timeout_connect" | "timeout_first_byte" | "timeout_first_token" | "timeout_idle" | "timeout_total"
---| "overloaded" | "server_error" | "error_event" | "empty_response" | "invalid_response"
---| "stream_broken" | "limit_exceeded" | "queue_full" | "suspended"
---| "rate_limited" | "quota_exhausted" | "content_filtered" | "credential_error"
---| "model_unavailable" | "unsupported" | "context_too_long" | "too_large" | "client_error"

---@class moongate.Times seconds; 0 = not reached
---@field queue number waiting for a free slot of the provider
---@field connect number
---@field first_byte number
---@field first_token number
---@field total number

---@class moongate.Attempt
---@field target string "provider/model" as really sent
---@field n integer 1 for the first attempt of the request
---@field ok boolean
---@field outcome moongate.Outcome nil while it is under way
---@field class moongate.Class|nil nil when it is nobody's failure
---@field status integer HTTP status, 0 = there was none
---@field retry_after number|nil seconds, from any of the usual headers, else as the error itself says (Gemini's `retryDelay`)
---@field code string|nil the provider's error code
---@field message string|nil the provider's error message
---@field sent "nothing"|"partial"|"all" how much of the request went out
---@field reused boolean over a connection that was already open
---@field dropped string[] what of the request the target's dialect could not express and was left out; empty when nothing was
---@field passthrough boolean the client's own key was used
---@field api_key string|nil the name of the key that was sent, of a provider that has several
---@field time moongate.Times
local attempt = {}

---A header of the answer.
---Waits: no.
---Cost: about 0.4 µs.
---Errors: none; nil when there is none.
---@param name string any case
---@return string|nil
function attempt:header(name) end

---The body of an error, or of a complete answer; of a stream what came before its first content. "" when there is none yet.
---Waits: no.
---Cost: about 0.3 µs, and a copy of up to 1 MiB.
---Errors: none.
---@return string
function attempt:body() end

---One field of the body.
---Waits: no.
---Cost: about 0.5 µs, and 0.3 µs for each KiB before it.
---Errors: none; nil when there is no such field or the body is no JSON.
---@param path string "error.code", "choices.0.message"
---@return any
function attempt:json(path) end

---Turns an answer into a failure, before it is handed over: an answer that is a 200 but useless.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: raises on an outcome that is no failure, and while the attempt is under way.
---@param outcome moongate.Outcome
---@param message? string
---@return moongate.Attempt itself
function attempt:fail(outcome, message) end

---Ends an attempt that was started and is still under way; nobody is blamed.
---Waits: no.
---Cost: about 5 µs: the connection is closed.
---Errors: none; nothing happens when it has ended.
function attempt:cancel() end
