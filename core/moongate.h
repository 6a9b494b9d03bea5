/* SPDX-License-Identifier: MIT */
/*
 * Moongate: a Lua-scriptable policy gateway for AI models, as a library.
 *
 * A gateway is made from a configuration file, then either started on threads of its own or
 * attached to an event loop of the caller. Several gateways may live in one process. The library
 * has no mutable globals, never exits, installs no signal handlers, and reports errors as values.
 * It expects SIGPIPE to be ignored by the program (it never relies on it, but libcurl may raise it
 * on TLS).
 *
 * Threads: unless said otherwise a call may be made from any thread but not concurrently with
 * moongate_free, and moongate_new, _start, _attach, _stop and _free of one gateway are for one
 * thread at a time. Callbacks come from the gateway's own threads (or the caller's loop when
 * attached) and must not block.
 */
#ifndef MOONGATE_H
#define MOONGATE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOONGATE_VERSION "0.1.0"
#define MOONGATE_API __attribute__((visibility("default")))

struct moongate;
struct event_base; /* libevent's */

/* An error in storage of the caller. */
struct moongate_error {
    char text[512];
};

enum moongate_level { MOONGATE_DEBUG, MOONGATE_INFO, MOONGATE_WARN, MOONGATE_ERROR };

/* One line without its newline. Any thread, several at a time. */
typedef void (*moongate_line_fn)(void *ctx, enum moongate_level level, const char *line);

/* One diagnostic of a configuration: file (never NULL), line (0 = not known), what is wrong. Called
 * on the thread that asked, for a file watch on the gateway's control thread. */
typedef void (*moongate_diagnostic_fn)(void *ctx, const char *file, int line, bool warning,
                                       const char *message);

/* A listening TCP socket that is open already: a service manager's, or the program's own. */
struct moongate_socket {
    int fd; /* borrowed, made non-blocking and close-on-exec; never drained nor shut down */
    const char *name; /* "admin": for admin.listen; "listen": for listen; else (or NULL): for
                         whichever names its address */
};

struct moongate_options {
    const char *config_file; /* required; copied */
    const char *const
        *library; /* NULL-terminated folders that hold policies/ and lua/, searched after the
                     configuration's own folder; copied; NULL = where it was installed */
    moongate_line_fn log; /* gets the log instead of where log.error points; NULL = as configured */
    moongate_line_fn access; /* gets the access log (level INFO) instead of where log.access points;
                                NULL = as configured */
    void *log_ctx;           /* for both */
    moongate_diagnostic_fn diagnostic; /* what a load finds; NULL = log only */
    void *diagnostic_ctx;
    const struct moongate_socket *sockets; /* borrowed until moongate_free; each must be bound at an
                                              address that listen or admin.listen names */
    size_t n_sockets;
    /* Starts in the place of the gateway that runs on the same state_dir, on its listening sockets
     * and with its suspensions and settings; no connection is refused meanwhile. When there is none
     * it is a start like any other. */
    bool take_over;
    /* Another process has taken over: call moongate_stop soon, from a thread that may. It lets
     * requests under way finish and leaves the sockets to the other. On a thread of the gateway's.
     * NULL: nobody can take over from this gateway. Needs a state_dir. */
    void (*replaced)(void *ctx);
    void *replaced_ctx;
};

/* Makes a gateway: nothing is read and no thread runs yet. NULL with err when memory is short. */
MOONGATE_API struct moongate *moongate_new(const struct moongate_options *options,
                                           struct moongate_error *err);

/*
 * A C function that policies may call as require("moongate.host").NAME(…). Add them before start.
 * It runs on worker threads, several at a time, and must not block. Arguments are read with
 * moongate_arg_*, results given with moongate_return_* (at most 8, in order). Return 0, or -1 after
 * moongate_fail to raise an error in the policy.
 */
struct moongate_call;
typedef int (*moongate_function)(struct moongate_call *call, void *ctx);
MOONGATE_API int moongate_add_function(struct moongate *gw, const char *name, moongate_function fn,
                                       void *ctx, struct moongate_error *err);

MOONGATE_API int moongate_arg_count(const struct moongate_call *call);
/* i counts from 0. False when the argument is absent or of another type. Strings are borrowed until
 * the function returns and may hold NUL. */
MOONGATE_API bool moongate_arg_string(const struct moongate_call *call, int i, const char **text,
                                      size_t *len);
MOONGATE_API bool moongate_arg_number(const struct moongate_call *call, int i, double *number);
MOONGATE_API bool moongate_arg_bool(const struct moongate_call *call, int i, bool *flag);
MOONGATE_API void moongate_return_string(struct moongate_call *call, const char *text,
                                         size_t len); /* copied, at most 64 KiB */
MOONGATE_API void moongate_return_number(struct moongate_call *call, double number);
MOONGATE_API void moongate_return_bool(struct moongate_call *call, bool flag);
MOONGATE_API void moongate_return_nil(struct moongate_call *call);
MOONGATE_API int moongate_fail(struct moongate_call *call,
                               const char *message); /* copied; always -1 */

/* Checks the configuration and its policies as a start or reload would, and changes nothing. 0, or
 * -1 when there are errors (told to `diagnostic`). May take as long as a load. */
MOONGATE_API int moongate_check(struct moongate *gw, struct moongate_error *err);

/* Loads the configuration, binds the listeners, starts control thread and workers. Returns when
 * requests are accepted. -1 with err: nothing runs, the sockets are closed. */
MOONGATE_API int moongate_start(struct moongate *gw, struct moongate_error *err);

/* Like moongate_start, but with one worker, whose events run in `base` (borrowed; must outlive
 * moongate_stop) on the thread that dispatches it, which is also the thread that must call
 * moongate_stop. The control thread is still the gateway's own. `workers` in the configuration is
 * ignored. */
MOONGATE_API int moongate_attach(struct moongate *gw, struct event_base *base,
                                 struct moongate_error *err);

/* Loads the configuration again as a transaction, on the calling thread. Waits for it: well under a
 * second, more with `reload = { tests = true }`, and for another load that is under way. 0 applied,
 * 1 unchanged, -1 refused: the running generation stays, diagnostics were told and logged. Admins
 * and the file watch load from the control thread in the same way; moongate_generation tells. */
MOONGATE_API int moongate_reload(struct moongate *gw, struct moongate_error *err);

/* The same, with who asked for it and why in his own words ("SIGHUP", "new key of openai"), for the
 * log, the audit log and the admin's list of generations. Both are copied, cut to 63 and 127 bytes,
 * and may be NULL: "embedder" and nothing. */
MOONGATE_API int moongate_reload_as(struct moongate *gw, const char *who, const char *why,
                                    struct moongate_error *err);

/* The generation that new requests use; 0 before the start. */
MOONGATE_API unsigned moongate_generation(const struct moongate *gw);

/* The i-th bound address ("127.0.0.1:8080"), or NULL past the end; NULL i-th before the start.
 * Borrowed until moongate_free. moongate_admin_address: NULL when there is no admin listener. */
MOONGATE_API const char *moongate_address(const struct moongate *gw, size_t i);
MOONGATE_API const char *moongate_admin_address(const struct moongate *gw);

/* Stops: no new connections, requests in flight may finish within drain_seconds (below 0: the
 * configured drain_time), then what is left is cut with an error event. Returns when all threads
 * ended. An attached gateway's loop is run from inside this call while it drains. Idempotent. */
MOONGATE_API void moongate_stop(struct moongate *gw, double drain_seconds);

/* Any thread, also while moongate_stop runs in another: what is still draining is cut now. */
MOONGATE_API void moongate_hurry(struct moongate *gw);

/* Frees; stops first when needed. NULL is a no-op. */
MOONGATE_API void moongate_free(struct moongate *gw);

/* Writes "moongate 0.1.0 (Lua 5.4.4, libcurl/7.88.1 …, libevent 2.1.12)" to out, NUL-terminated and
 * cut to size bytes. Needs no gateway. */
MOONGATE_API void moongate_version(char *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
