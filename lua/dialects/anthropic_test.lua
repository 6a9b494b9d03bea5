-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/anthropic_test.lua
require "moongate.dialect.conformance" "anthropic"
