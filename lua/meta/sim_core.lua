---@meta moongate.sim_core
-- SPDX-License-Identifier: MIT
-- What the simulator is made of, written in C (core/sim): there in `moongate test`, `simulate` and `explain`
-- only. Tests use moongate.sim, which is written over it. For editors; never loaded.

local sim_core = {}

---@class moongate.World a whole gateway in virtual time, without sockets
local world = {}

---A client's request, fed as HTTP bytes: a description of it, or the bytes that core.http made of one.
---Waits: no.
---Cost: about 10 µs.
---Errors: raises on what is no request, and when the world is closed.
---@param about { method?: string, path?: string, headers?: table<string, string>, body?: string }|string
---@return integer id
function world:start(about) end

---That client goes away.
---Waits: no.
---Cost: about 5 µs.
---Errors: raises when the world is closed.
---@param id integer
function world:leave(id) end

---Runs to the next thing that happens, at most up to that virtual second.
---Waits: no: time is virtual.
---Cost: that of what is run, about 50 µs a request.
---Errors: raises when the world is closed.
---@param until_time number math.huge = until nothing is left
---@return table|nil event kind "sent", "cancelled" or "ended"; nil when the second is reached or nothing is left
function world:run(until_time) end

---The same for worlds with `brief`, of whose events only this is known, as values: "sent", at, transfer, request,
---provider, target; "cancelled", at, transfer; "ended", at, request, good (a whole 200 came), attempts, provider
---or nil, seconds to the first content or nil.
---Waits: no: time is virtual.
---Cost: that of what is run, about 50 µs a request.
---Errors: raises when the world is closed.
---@param until_time number math.huge = until nothing is left
---@return string|nil kind nil when the second is reached or nothing is left
---@return ... any
function world:next(until_time) end

---What a provider does with a transfer, from now on.
---Waits: no.
---Cost: about 1 µs a step.
---Errors: raises on a step that cannot be.
---@param id integer of a "sent" event
---@param steps table[]
function world:play(id, steps) end

---Waits: no.
---Cost: below 0.1 µs.
---Errors: none.
---@return number virtual seconds
function world:now() end

---As moongate.suspend.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when there is no such provider.
---@param target string
---@param seconds number
---@param reason? string
function world:suspend(target, seconds, reason) end

---As moongate.resume.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when there is no such provider.
---@param target string
function world:resume(target) end

---As moongate.health.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when there is no such provider.
---@param target string
---@return moongate.Health
function world:facts(target) end

---The verdict of a provider's health probes.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when there is no such provider.
---@param provider string
---@param up boolean
function world:probe(provider, up) end

---A value of moongate.store.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises on a key that is too long.
---@param namespace string
---@param key string
---@return moongate.Value|nil
function world:store(namespace, key) end

---Sets a value of moongate.store.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when the store is full.
---@param namespace string
---@param key string
---@param value moongate.Value
---@param ttl? number seconds
function world:set(namespace, key, value, ttl) end

---Prometheus text, as /metrics gives it.
---Waits: no.
---Cost: about 100 µs.
---Errors: raises above 8 MiB.
---@return string
function world:metrics() end

---Lines of the error log so far, without those of loads.
---Waits: no.
---Cost: about 1 µs a line.
---Errors: none.
---@return string[]
function world:log() end

---Loads another configuration, as a reload does.
---Waits: no.
---Cost: about 5 ms.
---Errors: nil, and the list of mistakes.
---@param config string text of a gateway.lua
---@param files? table<string, string>
---@return integer|nil generation
---@return string[] diagnostics warnings, or the mistakes
function world:reload(config, files) end

---The routes of the configuration, in the order of the file.
---Waits: no.
---Cost: about 1 µs a route.
---Errors: raises when the world is closed.
---@return { name: string, path: string, prefix: boolean, policy: string, models?: string[] }[]
function world:routes() end

---The names of the providers.
---Waits: no.
---Cost: about 0.2 µs a provider.
---Errors: raises when the world is closed.
---@return string[]
function world:providers() end

---The secret of a client's key, to ask with.
---Waits: no.
---Cost: about 1 µs a key.
---Errors: nil when there is no such key.
---@param name string
---@return string|nil
function world:secret(name) end

---Gives back what the world holds; nothing can be done with it any more.
---Waits: no.
---Cost: about 1 ms.
---Errors: none.
function world:close() end

---Makes a world of a configuration and the policies of the load.
---Waits: no.
---Cost: about 5 ms.
---Errors: raises with every mistake, one a line.
---@param about { config?: string, files?: table<string, string>, seed?: integer, wall?: number, explain?: boolean, brief?: boolean }
---@return moongate.World
---@return string[] warnings
function sim_core.world(about) end

---The bytes of a request that is to be started often.
---Waits: no.
---Cost: about 3 µs.
---Errors: raises on what is no request.
---@param about { method?: string, path?: string, headers?: table<string, string>, body?: string }
---@return string
function sim_core.http(about) end

---The real time.
---Waits: no.
---Cost: below 0.1 µs.
---Errors: none.
---@return number seconds
function sim_core.now() end

---Writes to the command's output.
---Waits: no.
---Cost: about 1 µs.
---Errors: none.
---@param text string
function sim_core.print(text) end

---Writes to where progress is shown; nowhere unless that is a terminal.
---Waits: no.
---Cost: about 1 µs.
---Errors: none.
---@param text string
function sim_core.progress(text) end

---The names of the test files of this load.
---Waits: no.
---Cost: about 1 µs a file.
---Errors: none.
---@return string[]
function sim_core.tests() end

---A file of this load as a function.
---Waits: no.
---Cost: about 100 µs.
---Errors: raises when there is no such file, or it is no Lua.
---@param name string "policies/mine_test.lua"
---@return fun(): any
function sim_core.load(name) end

---Calls a function with the CPU time of one case, 60 s. Not within another such call.
---Waits: no.
---Cost: about 1 µs and that of the function.
---Errors: none: they are returned.
---@param fn function
---@return boolean good
---@return any error what it raised, or that it was stopped and where
function sim_core.call(fn) end

---The text of a file of this load, nil when there is none.
---Waits: no.
---Cost: about 1 µs.
---Errors: none.
---@param name string
---@return string|nil
function sim_core.text(name) end

---A value as JSON, as moongate.json.
---Waits: no.
---Cost: about 2 µs for five values.
---Errors: raises on what is no JSON.
---@param value any
---@return string
function sim_core.encode(value) end

---JSON, or a part of it, as a value; nil when it is none.
---Waits: no.
---Cost: about 2 µs for five values.
---Errors: none.
---@param text string
---@param path? string
---@return any
function sim_core.decode(text, path) end

return sim_core
