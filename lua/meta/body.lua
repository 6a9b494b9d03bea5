---@meta moongate.body
-- SPDX-License-Identifier: MIT
-- The module `moongate.body`: JSON bodies as the functions of a dialect see them. Strings of 4 KiB and more,
-- as written, are texts: userdata that stand for bytes of the body, which never enter Lua. Fields that the
-- dialect names in `raw` are raw JSON, kept as it was written. For editors; never loaded.

local body = {}

---@class moongate.Text: userdata a long string: is joined with body.join, never with .. ; has no length, is not indexed
---@class moongate.Raw: userdata one JSON value as it was written

---JSON's null, to be written; in lists also read. Fields that are null are absent.
body.null = nil

---A string, or a text that stands for a long one?
---@param value any
---@return boolean
function body.is_text(value) end

---@param value any
---@return boolean
function body.is_raw(value) end

---The first bytes, at most 64 KiB of them.
---@param text string|moongate.Text
---@param n integer
---@return string
function body.head(text, n) end

---What follows the first n bytes.
---@param text string|moongate.Text
---@param n integer
---@return string|moongate.Text
function body.after(text, n) end

---About how many bytes; exact for strings.
---@param text string|moongate.Text
---@return integer
function body.size(text) end

---Base64 in the plain alphabet, whether it was in that one or in the one for URLs ("-" and "_").
---@param text string|moongate.Text
---@return string|moongate.Text
function body.base64(text) end

---Joins what a text may be among, where `..` would raise. Of a text nothing is copied before it is written.
---@param list (string|number|moongate.Text)[]
---@param separator? string|moongate.Text
---@return string|moongate.Text
function body.join(list, separator) end

---A plain string; nil when it is longer than max, or than 1 MiB.
---@param text string|moongate.Text
---@param max? integer
---@return string|nil
function body.string(text, max) end

---The JSON value that a text says; nil and why when it says none.
---@param text string|moongate.Text
---@return moongate.Raw|nil
---@return string|nil why
function body.raw(text) end

---The JSON text itself, to be written as a string.
---@param raw moongate.Raw
---@return string|moongate.Text
function body.text(raw) end

---Decoded, for those that must look inside.
---@param raw moongate.Raw
---@return any
function body.table(raw) end

---@param value any
---@return moongate.Raw
function body.raw_of(value) end

---@param raw moongate.Raw
---@return "object"|"array"|"string"|"number"|"boolean"|"null"
function body.kind(raw) end

---Marks a table as a list, so that an empty one is []. What was read as a list is marked.
---@generic T: table
---@param t T
---@return T
function body.list(t) end

---Marks a table as an object.
---@generic T: table
---@param t T
---@return T
function body.object(t) end

---An object whose fields are written in this order; those that are nil are not. Others come sorted by name.
---@param fields { [1]: string, [2]: any }[]
---@return table
function body.ordered(fields) end

---The value of a JSON text. Numbers beyond 64 bits are raw.
---@param text string
---@param raw? string[] fields that stay raw, wherever they stand
---@param long? integer bytes from which on strings are texts; at most 4096
---@return any
function body.decode(text, raw, long) end

---At most 1 MiB.
---@param value any
---@return string
function body.encode(value) end

---For the driver: the names as body.decode would look them up.
---@param names string[]
---@return table
function body.raw_set(names) end

return body
