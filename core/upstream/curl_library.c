/* SPDX-License-Identifier: MIT */
#include "upstream/curl_library.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define FILE_NAME "libcurl.so.4"
#define OLDEST 0x075500 /* 7.85.0: CURLOPT_PROTOCOLS_STR; an older one ignores what it is told */

/* Where each function's address goes. */
#define ENTRY(name)                                                                                \
    { "curl_" #name, offsetof(struct curl_library, name) }

static const struct {
    const char *name;
    size_t offset;
} entries[] = {ENTRY(global_init),         ENTRY(global_cleanup),   ENTRY(version),
               ENTRY(version_info),        ENTRY(easy_init),        ENTRY(easy_cleanup),
               ENTRY(easy_setopt),         ENTRY(easy_getinfo),     ENTRY(easy_pause),
               ENTRY(easy_strerror),       ENTRY(multi_init),       ENTRY(multi_cleanup),
               ENTRY(multi_setopt),        ENTRY(multi_add_handle), ENTRY(multi_remove_handle),
               ENTRY(multi_socket_action), ENTRY(multi_assign),     ENTRY(multi_info_read)};

int curl_library_load(struct curl_library *lib, struct err *err) {
    void *handle = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        return err_set(err, "libcurl cannot be loaded (package libcurl4): %s", dlerror());
    }
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        void *function = dlsym(handle, entries[i].name);
        if (!function) {
            dlclose(handle);
            return err_set(err, FILE_NAME " has no %s", entries[i].name);
        }
        memcpy((char *)lib + entries[i].offset, &function, sizeof function);
    }
    dlclose(handle); /* it stays all the same */
    lib->info = lib->version_info(CURLVERSION_NOW);
    if (lib->info->version_num < OLDEST) {
        return err_set(err, "libcurl %s is too old; expected 7.85.0 or newer", lib->info->version);
    }
    return 0;
}
