---@meta
-- SPDX-License-Identifier: MIT
-- Shapes that the modules of lua/moongate share. For editors; never loaded.

---@alias moongate.Action "return"|"retry"|"next"

---@class moongate.FailoverHooks functions that change one decision of failover.run
---@field order? fun(req: moongate.Request, targets: any[]): any[] the targets as written in the settings, in the order wanted; may leave out and add
---@field on_result? fun(req: moongate.Request, attempt: moongate.Attempt, default: moongate.Action): moongate.Action|moongate.Response|nil nil = the default
---@field usable? fun(req: moongate.Request, target: string): boolean false: this target (its full name) is passed over as if it were suspended; nothing is remembered
---@field session? fun(req: moongate.Request): string|nil the session of the request for order = "sticky"; nil = that of the header
---@field hedge? { delay?: number, budget?: number } the first attempt is raced with the next usable target, as by req:race

---@class moongate.Trigger
---@field names table<string, boolean> classes and outcomes
---@field statuses table<integer, boolean>
---@field hundreds table<integer, boolean>

---@class moongate.Entry a target ready for use, or a group
---@field id string
---@field raw any as written
---@field target? string
---@field name? string full name, when it does not depend on the request
---@field weight? number
---@field cost? number
---@field retries? integer
---@field options? table
---@field ring? moongate.Ring of a group

---@class moongate.Ring a list of entries with one order
---@field kind string
---@field entries moongate.Entry[]
---@field key string

---@class moongate.Rotation
---@field next fun(self: moongate.Rotation): integer

---@class moongate.Breaker
---@field wait fun(self: moongate.Breaker, name: string, up_since: number): number, string
---@field enter fun(self: moongate.Breaker, name: string, up_since: number, id: string, hold: number): "closed"|"probe"|nil, number?
---@field hold fun(self: moongate.Breaker, name: string, id: string, seconds: number)
---@field record fun(self: moongate.Breaker, name: string, good: boolean?, mode: string, id: string): string?

---@class moongate.RetryBudget
---@field request fun(self: moongate.RetryBudget)
---@field take fun(self: moongate.RetryBudget): boolean

---@class moongate.Plan settings made ready (moongate.plan)
---@field settings table
---@field entries moongate.Entry[]
---@field ring moongate.Ring
---@field first? moongate.Entry the one that every request tries first, where the settings alone say so
