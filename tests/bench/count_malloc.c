/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program, counts its allocations by the place that asked and its callers, into a
 * table in the file that COUNT_MALLOC names, which profiler.py reads while the program runs. Counts
 * only: nothing is changed and nothing is freed later than without it. Not for the sanitized build.
 */
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 8192
#define FRAMES 5
#define OURS 2 /* frames of this file, above the one that asked */

struct slot {
    _Atomic uint64_t key;
    uint64_t frames[FRAMES];
    _Atomic uint64_t calls, bytes;
};

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static struct slot *table;
static _Thread_local bool busy; /* backtrace may allocate */

__attribute__((constructor)) static void open_table(void) {
    const char *path = getenv("COUNT_MALLOC");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof(struct slot) * SLOTS) != 0) {
        return;
    }
    void *at = mmap(NULL, sizeof(struct slot) * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    table = at == MAP_FAILED ? NULL : at;
    close(fd);
}

static uint64_t key_of(void *const *frames) {
    uint64_t key = 1469598103934665603u;
    for (int i = 0; i < FRAMES; i++) {
        key = (key ^ (uintptr_t)frames[i]) * 1099511628211u;
    }
    return key ? key : 1;
}

/* A full table counts nothing more: there are fewer places than slots. */
__attribute__((noinline)) static void count(size_t bytes) {
    if (!table || busy) {
        return;
    }
    busy = true;
    void *frames[FRAMES + OURS] = {0};
    backtrace(frames, FRAMES + OURS);
    uint64_t key = key_of(frames + OURS);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &table[(key + i) % SLOTS];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&slot->key, &found, key)) {
            memcpy(slot->frames, frames + OURS, sizeof(slot->frames));
            found = key;
        }
        if (found == key) {
            atomic_fetch_add(&slot->calls, 1);
            atomic_fetch_add(&slot->bytes, bytes);
            break;
        }
    }
    busy = false;
}

void *malloc(size_t n) {
    count(n);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    count(n * size);
    return __libc_calloc(n, size);
}

/* A realloc to nothing is a free: Lua frees that way. */
void *realloc(void *p, size_t n) {
    if (n > 0) {
        count(n);
    }
    return __libc_realloc(p, n);
}
