/* SPDX-License-Identifier: MIT */
/*
 * A program with a gateway inside: it runs in the program's own libevent loop, and its policy calls
 * a C function of the program to choose a greeting. Serves until SIGTERM or SIGINT.
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

#include <moongate.h>

/* What the policy calls as require("moongate.host").greeting(hour). */
static int greeting(struct moongate_call *call, void *ctx) {
    double hour;
    const char *const *words = ctx;
    if (!moongate_arg_number(call, 0, &hour)) {
        return moongate_fail(call, "greeting(hour): a number is expected");
    }
    const char *word = words[hour >= 12];
    size_t len = 0;
    while (word[len]) {
        len++;
    }
    moongate_return_string(call, word, len);
    return 0;
}

static void on_signal(evutil_socket_t number, short what, void *base) {
    (void)number;
    (void)what;
    event_base_loopbreak(base);
}

int main(int argc, char **argv) {
    static const char *const words[] = {"Good morning", "Good afternoon"};
    struct moongate_error error;
    struct event_base *base = event_base_new();
    struct moongate_options options = {.config_file = argc > 1 ? argv[1] : "gateway.lua"};
    struct moongate *gateway = moongate_new(&options, &error);
    signal(SIGPIPE, SIG_IGN);
    if (!base || !gateway ||
        moongate_add_function(gateway, "greeting", greeting, (void *)words, &error) != 0 ||
        moongate_attach(gateway, base, &error) != 0) {
        fprintf(stderr, "embed: %s\n", error.text);
        moongate_free(gateway);
        event_base_free(base);
        return 1;
    }
    printf("embed: http://%s/hello/9\n", moongate_address(gateway, 0));
    fflush(stdout);
    struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
    struct event *intr = evsignal_new(base, SIGINT, on_signal, base);
    event_add(term, NULL);
    event_add(intr, NULL);
    event_base_dispatch(base); /* the program's own events would run here too */
    event_free(term);
    event_free(intr);
    moongate_free(gateway); /* drains, then frees */
    event_base_free(base);
    return 0;
}
