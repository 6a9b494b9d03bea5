/* SPDX-License-Identifier: MIT */
/*
 * Who may write in a state_dir: one gateway at a time, the one that holds the lock on DIR/lock. The
 * kernel lets go of it when the process ends, however it ends. Several gateways of one process
 * exclude each other, too.
 */
#ifndef STATE_LOCK_H
#define STATE_LOCK_H

#include "base/err.h"

enum { STATE_LOCK_FAILED = -1, STATE_LOCK_HELD = -2 };

/* Makes the folder (0700) when absent and takes the lock without waiting. The descriptor (>= 0) to
 * be given to state_unlock; STATE_LOCK_HELD: another gateway has it, err says which;
 * STATE_LOCK_FAILED: the file cannot be made or locked. Blocks on the disk. */
int state_lock(const char *dir, struct err *err) __attribute__((warn_unused_result));
void state_unlock(int lock); /* negative is a no-op */

#endif
