-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/bedrock_test.lua
require "moongate.dialect.conformance" "bedrock"
