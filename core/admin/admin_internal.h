/* SPDX-License-Identifier: MIT */
/*
 * What the calls of the admin API share: a request as they see it, the answer that they fill, and
 * the helpers that read bodies and write the recurring answers. Everything here runs on the control
 * thread, in one turn: a call answers before it returns.
 */
#ifndef ADMIN_ADMIN_INTERNAL_H
#define ADMIN_ADMIN_INTERNAL_H

#include "admin/admin.h"
#include "base/json.h"
#include "net/conn.h"

enum { ADMIN_PARTS = 2 }; /* most {parts} in a path */

enum admin_rights { ADMIN_NOBODY, ADMIN_READER, ADMIN_FULL };

struct admin_call;

struct admin_request {
    const struct admin_env *env;
    const struct http_request *http;
    const struct admin_call *call;
    struct generation *now;      /* in force when it came: a reference; the answer may outlive it */
    const struct config *config; /* of `now` */
    enum admin_rights rights;
    struct buf part[ADMIN_PARTS]; /* the path's {parts}, decoded, in order */
    struct value body;            /* the JSON body: a table, or NIL when there is none */
    char who[HISTORY_WHO], why[HISTORY_WHY];
};

/* Exactly one of json and text is sent. */
struct admin_answer {
    int status;               /* 200 unless set */
    struct json *json;        /* owned; its texts are masked before they are sent */
    struct buf text;          /* of another type; names no secret */
    const char *type;         /* of text */
    long long etag;           /* -1: none */
    const char *allow;        /* of a 405 */
    bool audited;             /* the loader has written its line already */
    struct buf before, after; /* JSON for the audit line; may be empty */
};

enum admin_body { BODY_NONE, BODY_OPTIONAL, BODY_REQUIRED };

/* One call of the API. In a path `{name}` stands for one part, `{target}` for one that may hold
 * slashes, too. */
struct admin_call {
    const char *method, *path, *summary;
    enum admin_body body;
    const char *action; /* for the audit log: a change; NULL: changes nothing */
    /* Fills the answer. 0, or -1: memory, or the answer is too large. */
    int (*handle)(struct admin_request *r, struct admin_answer *a);
};

/* admin_calls.c */
/* The call of that method (HEAD is GET) and path; NULL when there is none: then *allow names the
 * methods that the path has ("GET, PUT"), or is empty. `parts` get what stands for the {parts}, not
 * decoded. */
const struct admin_call *admin_find_call(struct str method, struct str path,
                                         struct str parts[ADMIN_PARTS], struct buf *allow);
/* Percent-decodes into *out (initialised); `plus`: '+' is a space. False: not so encoded, a zero
 * byte, or too long. */
bool admin_decode(struct str s, bool plus, struct buf *out);
int admin_list_calls(struct admin_request *r, struct admin_answer *a);
int admin_healthz(struct admin_request *r, struct admin_answer *a);
int admin_readyz(struct admin_request *r, struct admin_answer *a);

/* admin_access.c: whose the credential is. Constant time in what it is compared with. Where no
 * token is configured, anybody's who calls this machine by a loopback address or localhost. */
enum admin_rights admin_rights_of(const struct config *c, const struct headers *headers);
/* Was it sent by a page of another origin than the admin listener itself? */
bool admin_cross_origin(const struct headers *headers);

/* admin_answer.c. Each returns what a handler returns. */
int admin_fail(struct admin_answer *a, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds one list: the errors, or the warnings, each {"file","line","message"}. */
void admin_add_diags(struct json *obj, const char *name, const struct diags *diags, bool warnings);
/* What every load answers: {"ok","active", …, "warnings"}, or 404, 412, 422, 500. `route` (may be
 * NULL): adds its "version" and "persistent", and an ETag. */
int admin_loaded(struct admin_request *r, struct admin_answer *a, enum load_result result,
                 const struct diags *diags, const char *route);
void admin_add_time(struct json *obj, const char *name, usec wall);
void admin_add_hash(struct json *obj, const char *name, const unsigned char *hash);

/* admin_body.c: of a body that is an object. What is wrong is answered with 400 and told by false.
 */
bool admin_read_body(struct admin_request *r, struct admin_answer *a);
/* No field but these (NULL-terminated) is there. */
bool admin_body_fields(const struct admin_request *r, struct admin_answer *a,
                       const char *const *names);
/* An absent one leaves *out as it is. */
bool admin_body_number(const struct admin_request *r, struct admin_answer *a, const char *name,
                       double *out);
bool admin_body_bool(const struct admin_request *r, struct admin_answer *a, const char *name,
                     bool *out);
/* Terminated; at most size - 1 bytes, else it is refused. */
bool admin_body_text(const struct admin_request *r, struct admin_answer *a, const char *name,
                     char *out, size_t size);
/* Reads who asks and why: query, header X-Moongate-Why, or the body's field. */
void admin_read_cause(struct admin_request *r);

/* The calls, by what they are about. */
int admin_metrics(struct admin_request *r, struct admin_answer *a);
int admin_status(struct admin_request *r, struct admin_answer *a);
int admin_targets(struct admin_request *r, struct admin_answer *a);
int admin_suspend(struct admin_request *r, struct admin_answer *a);
int admin_resume(struct admin_request *r, struct admin_answer *a);
int admin_routes(struct admin_request *r, struct admin_answer *a);
int admin_route(struct admin_request *r, struct admin_answer *a);
int admin_settings(struct admin_request *r, struct admin_answer *a);
int admin_put_settings(struct admin_request *r, struct admin_answer *a);
int admin_delete_settings(struct admin_request *r, struct admin_answer *a);
int admin_delete_setting(struct admin_request *r, struct admin_answer *a);
int admin_failover(struct admin_request *r, struct admin_answer *a);
int admin_generations(struct admin_request *r, struct admin_answer *a);
int admin_activate(struct admin_request *r, struct admin_answer *a);
int admin_reload(struct admin_request *r, struct admin_answer *a);
int admin_check(struct admin_request *r, struct admin_answer *a);

/* admin_routes.c: the route that the path names, or false with a 404 that names the nearest. */
bool admin_find_route(const struct admin_request *r, struct admin_answer *a, size_t *index);
void admin_add_route_path(struct json *route,
                          const struct config_route *r); /* as the file has it */

#endif
