-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/gemini_test.lua
require "moongate.dialect.conformance" "gemini"
