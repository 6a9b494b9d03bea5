---@meta moongate.host
-- SPDX-License-Identifier: MIT
-- The module `moongate.host`: functions of the program that embeds the gateway (moongate_add_function in
-- core/moongate.h), so none in the `moongate` program itself. Arguments and results are numbers,
-- booleans, texts and nil. Such a function must not block. Declare those of your program in a file of
-- your own. For editors; never loaded.

local host = {}

return host
