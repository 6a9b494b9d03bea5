-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/openai_test.lua
require "moongate.dialect.conformance" "openai"
