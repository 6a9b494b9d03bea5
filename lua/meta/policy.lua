---@meta
-- SPDX-License-Identifier: MIT
-- What a file in policies/ returns. For editors; never loaded.

---@class moongate.Field one setting of a schema
---@field type "boolean"|"number"|"integer"|"string"|"enum"|"list"|"table"|"target"|"targets"|"trigger"
---@field required? boolean
---@field default? any
---@field help? string
---@field unit? string
---@field min? number
---@field max? number
---@field values? string[] of an enum
---@field number? { min?: number, max?: number } an enum that may be a number as well
---@field of? moongate.Field of a list, or of a table with free names
---@field fields? table<string, moongate.Field> of a table
---@field switch? boolean a table that may be false (off) or true (all defaults)
---@field partial? boolean a table whose fields are neither required nor filled in

---@class moongate.Problem
---@field path string "targets[2].target"
---@field message string
---@field warning? boolean

---@class moongate.Policy
---@field name string
---@field version integer
---@field settings? table<string, moongate.Field>
---@field check? fun(settings: table): moongate.Problem[] after the schema, when it found nothing
---@field handle fun(req: moongate.Request, settings: table): moongate.Attempt|moongate.Response
