# SPDX-License-Identifier: MIT
"""
Pretend providers, one module per dialect: each reads a request as strictly as that provider does and writes answers, streams and
errors in its shape. What they answer comes from plays (plays.py), which know no dialect.
"""
