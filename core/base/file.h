/* SPDX-License-Identifier: MIT */
/*
 * Small files that are read and replaced whole: a crash at any moment leaves the old content or the
 * new one. Everything here blocks on the disk.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the content; the buffer's maximum is the file's. 1 = read, 0 = there is no such file, -1
 * with err. */
int file_read(const char *path, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));

/* Replaces DIR/NAME: makes the folder when it is missing (its parent must be there), writes
 * DIR/NAME.tmp, brings it to the disk, renames it, and brings the folder to the disk. A .tmp that a
 * kill left behind is overwritten. Only the owner can read it. 0, or -1 with err: the file is as it
 * was. Not for two threads at a time with the same name. */
int file_replace(const char *dir, const char *name, struct str data, struct err *err)
    __attribute__((warn_unused_result));

#endif
