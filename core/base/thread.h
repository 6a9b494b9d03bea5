/* SPDX-License-Identifier: MIT */
/*
 * Starting threads that leave signals to the program: every signal is blocked in them.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/* 0, or -1 when no thread could be started. */
int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
    __attribute__((warn_unused_result));

#endif
