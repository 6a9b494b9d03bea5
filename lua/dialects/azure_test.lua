-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/azure_test.lua
require "moongate.dialect.conformance" "azure"
