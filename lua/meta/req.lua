---@meta
-- SPDX-License-Identifier: MIT
-- The request a policy's handle is called with. For editors and the reference in policies/README.md; never
-- loaded.

---@class moongate.SendOptions seconds are above 0; what is left out is not limited here
---@field model? string instead of the target's
---@field key? string instead of the provider's
---@field api_key? string the name of one of the provider's api_keys, sent even when it is suspended; none = the first that is not
---@field connect? number seconds
---@field first_byte? number seconds to the end of the answer's head
---@field first_token? number seconds to the first content; streams only
---@field idle? number seconds without content once content flows
---@field total? number seconds up to commit
---@field max_bytes? integer of the answer
---@field max_seconds? number of the answer
---@field headers? table<string, string>
---@field set? table<string, any> top-level JSON fields to set
---@field unset? string[] top-level JSON fields to drop
---@field strict? boolean refuse (outcome `unsupported`) what the target's dialect cannot express, instead of leaving it out
---@field force? boolean even when the target is suspended
---@field fresh? boolean over a new connection

---@class moongate.Response what req:respond, req:unavailable and req:fail give: to be returned

---@class moongate.Out what a local stream's function writes to
local out = {}

---Sends bytes to the client.
---Waits: yes, while the client is slow (64 KiB are waiting).
---Cost: about 1 µs.
---Errors: raises above 1 MiB.
---@param text string
function out:write(text) end

---Lets time pass.
---Waits: yes.
---Cost: about 2 µs.
---Errors: raises when it is no number of at least 0.
---@param seconds number
function out:sleep(seconds) end

---Cuts the connection; does not return.
---Waits: no.
---Cost: about 5 µs.
---Errors: none.
function out:abort() end

---@class moongate.ResponseSpec
---@field status? integer 200
---@field headers? table<string, string>
---@field json? any
---@field body? string
---@field stream? fun(out: moongate.Out)

---@class moongate.Request
---@field id string
---@field method string
---@field path string
---@field model string|nil as the client named it
---@field stream boolean the client asked for a stream
---@field key string|nil name of the client's key
---@field environment string
---@field body_size integer bytes
---@field elapsed number seconds since its start
---@field remaining number seconds to its deadline; math.huge = none
---@field attempts moongate.Attempt[]
---@field ctx table scratch
---@field explaining boolean somebody reads notes: `moongate explain`, or the log at level debug
local req = {}

---A header of the client's.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: none; nil when there is none.
---@param name string any case
---@return string|nil
function req:header(name) end

---One field of the body, read when asked for.
---Waits: no.
---Cost: about 0.5 µs, and 0.3 µs for each KiB before it.
---Errors: none; nil when there is no such field or the body is no JSON.
---@param path string "messages.0.role"
---@return any
function req:json(path) end

---Sends the request to a target and waits for what comes of it.
---Waits: yes, until it is known what the attempt is: an error, a whole answer, or the first content of a stream.
---Cost: about 5 µs, the connection's own work included.
---Errors: none for what goes wrong on the way: look at the attempt. Raises on an unknown provider, an unknown option, and after 32 attempts.
---@param target string "provider/model", or "provider": the client's model
---@param options? moongate.SendOptions
---@return moongate.Attempt
function req:send(target, options) end

---Like send, without waiting: the attempt's outcome is known when `wait` returns it.
---Waits: no.
---Cost: about 5 µs, the connection's own work included.
---Errors: as `send`.
---@param target string
---@param options? moongate.SendOptions
---@return moongate.Attempt
function req:start(target, options) end

---Waits for the next of the started attempts whose outcome is known.
---Waits: yes.
---Cost: about 1 µs.
---Errors: nil when the time is up. Raises on seconds that are no number of at least 0.
---@param seconds? number at most
---@return moongate.Attempt|nil nil when the time is up
function req:wait(seconds) end

---Lets time pass, without holding anybody up.
---Waits: yes.
---Cost: about 2 µs.
---Errors: raises when it is no number of at least 0; a sleep beyond the deadline ends the request there.
---@param seconds number
function req:sleep(seconds) end

---An answer of the policy's own: `return req:respond { … }`.
---Waits: no.
---Cost: about 1 µs, 3 µs with a small `json`.
---Errors: raises on an unknown field, a status outside 200 to 599, a header that cannot be sent, a body above 1 MiB.
---@param answer moongate.ResponseSpec
---@return moongate.Response
function req:respond(answer) end

---Starts the second attempt when the first has shown no content after `delay`; the first that does wins.
---An attempt that fails has the next one started at once. `budget`: extra attempts per request, on average.
---Waits: yes.
---Cost: about 10 µs.
---Errors: as `send`, and on an unknown option.
---@param entries { [1]: string, [2]: moongate.SendOptions? }[]
---@param options? { delay?: number, budget?: number }
---@return moongate.Attempt
function req:race(entries, options) end

---The full name of a target: what is suspended and counted.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: raises above 500 bytes.
---@param target string
---@return string
function req:name(target) end

---Ends the request with a 504 when nothing is committed so many seconds after its start.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: none; the earlier one counts, and ten minutes always do.
---@param seconds number
function req:deadline(seconds) end

---Says why the policy does what it does: shown by `moongate explain`, logged at level debug. Make the text only
---`if req.explaining`.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: none; more is cut or dropped.
---@param text string at most 200 bytes; at most 64 notes are kept
function req:note(text) end

---A 503 of the gateway's own with Retry-After.
---Waits: no.
---Cost: about 1 µs.
---Errors: none.
---@param seconds number
---@param message? string
---@return moongate.Response
function req:unavailable(seconds, message) end

---An error of the gateway's own in the client's dialect.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises on a status outside 400 to 599 and above 1,024 bytes of message.
---@param status integer
---@param code string
---@param message string
---@return moongate.Response
function req:fail(status, code, message) end
