# SPDX-License-Identifier: MIT
"""What the end-to-end tests stand on: a scripted provider, the gateway as a process, a raw client."""
