/* SPDX-License-Identifier: MIT */
/*
 * Writes lines to a file, stdout or stderr from a thread of its own, so that a slow disk or a full
 * pipe never holds up a worker. What does not fit is dropped and counted, and
 * a line that a full disk cut in two is ended when there is room again, so that the next is whole.
 */
#ifndef GATEWAY_LOGFILE_H
#define GATEWAY_LOGFILE_H

#include <stddef.h>

#include "base/err.h"

struct logfile;

/* `where`: "stdout", "stderr" or a path (opened for appending, mode 0640). NULL with err. */
struct logfile *logfile_open(const char *where, struct err *err);

/* Told of losses, in words, from the file's thread: when writing fails, and how many lines are
 * missing once it works again; not more often than each LOG_TROUBLE_PERIOD. */
typedef void (*logfile_trouble)(void *ctx, const char *words);
void logfile_tell(struct logfile *f, logfile_trouble told, void *ctx); /* before the first line */
void logfile_close(
    struct logfile *f); /* writes what waits, then ends the thread. NULL is a no-op */
void logfile_line(struct logfile *f, const char *line, size_t n); /* adds the newline. Any thread */
unsigned long logfile_dropped(const struct logfile *f);           /* lines; NULL gives 0 */

#endif
