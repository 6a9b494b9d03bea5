-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/responses_test.lua
require "moongate.dialect.conformance" "responses"
