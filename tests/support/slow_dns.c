/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: looking up a name under ".slow.test" waits until the file that SLOW_DNS names
 * exists, then gives 127.0.0.1; "never.slow.test" is not found after that wait. All other names are
 * the system's. Each slow lookup that begins appends a byte to that file's name with ".asked"
 * behind it, so that a test can wait for it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int is_slow(const char *name) {
    static const char tail[] = ".slow.test";
    size_t n = name ? strlen(name) : 0;
    return n > sizeof(tail) - 1 && strcmp(name + n - (sizeof(tail) - 1), tail) == 0;
}

static void wait_for(const char *gate) {
    char asked[4096];
    snprintf(asked, sizeof(asked), "%s.asked", gate);
    int fd = open(asked, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!write(fd, "x", 1);
        close(fd);
    }
    while (access(gate, F_OK) != 0) {
        usleep(10000);
    }
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *gate = getenv("SLOW_DNS");
    if (!gate || !is_slow(node)) {
        return real(node, service, hints, out);
    }
    wait_for(gate);
    return strncmp(node, "never.", 6) == 0 ? EAI_NONAME : real("127.0.0.1", service, hints, out);
}
