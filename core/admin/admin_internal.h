/* SPDX-License-Identifier: MIT */
/* What the admin's listener and its answers share. */
#ifndef ADMIN_ADMIN_INTERNAL_H
#define ADMIN_ADMIN_INTERNAL_H

#include "admin/admin.h"
#include "base/json.h"

/* Answers: each appends its body to out. 0, or -1 when it does not fit. */
int admin_metrics(const struct admin_env *env, struct buf *out);
int admin_status(const struct admin_env *env, struct buf *out);
int admin_targets(const struct admin_env *env, struct buf *out);

#endif
