/* SPDX-License-Identifier: MIT */
/*
 * Our own transport and names: looked up with a getaddrinfo of this program's (the system's is
 * never asked), several addresses, certificates for names, and what connections may be shared.
 */
#include <netdb.h>

#include "../support/scripted_server.h"

/* ---- The system's resolver ---- */

struct zone {
    atomic_bool closed; /* slow.test hangs */
    atomic_int begun, ended;
};

static struct zone *zone(void) {
    static struct zone z;
    return &z;
}

/* Each with its addresses, in order. Nobody listens on the last byte 9. */
static const char *const names[][3] = {
    {"front.test", "127.0.0.1", NULL},
    {"other.test", "127.0.0.1", NULL},
    {"slow.test", "127.0.0.1", NULL},
    {"two.test", "127.0.0.9", "127.0.0.1"},
};

static struct addrinfo *entry(const char *address, struct addrinfo *next) {
    struct sockaddr_in *a = calloc(1, sizeof *a);
    struct addrinfo *e = calloc(1, sizeof *e);
    a->sin_family = AF_INET;
    assert_int_equal(inet_pton(AF_INET, address, &a->sin_addr), 1);
    *e = (struct addrinfo){.ai_family = AF_INET,
                           .ai_addr = (struct sockaddr *)a,
                           .ai_addrlen = sizeof *a,
                           .ai_next = next};
    return e;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    (void)service, (void)hints;
    zone()->begun++;
    while (strcmp(name, "slow.test") == 0 && zone()->closed) {
        usleep(1000);
    }
    zone()->ended++;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i][0]) == 0) {
            *out = entry(names[i][1], names[i][2] ? entry(names[i][2], NULL) : NULL);
            return 0;
        }
    }
    return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list) {
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_addr);
        free(list);
        list = next;
    }
}

static const char *url_at(const struct server *s, const char *name) {
    static char url[128];
    snprintf(url, sizeof url, "%s://%s:%d/", s->front ? "https" : "http", name, s->url_port);
    return url;
}

static void free_transport(struct fixture *f) {
    f->transport->ops->free(f->transport);
    f->transport = NULL;
}

/* ---- Tests ---- */

#define OK_ANSWER OK_HEAD "Content-Length: 2" CRLF CRLF "ok"

/* Goal: a provider is reached by name, and its connection is used again. */
static void test_name(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_serve, OK_ANSWER);
    for (int i = 0; i < 2; i++) {
        run(f, &c, "GET", url_at(&s, "front.test"), NULL);
        assert_int_equal(c.result.outcome, OUTCOME_OK);
        assert_int_equal(c.reused, i == 1);
    }
    s.go = true;
    free_transport(f);
    server_join(&s);
}

/* Goal: Host has the name, not the address. */
static void test_host(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    char host[64];
    server_start(&s, script_answer_close, OK_ANSWER);
    run(f, &c, "GET", url_at(&s, "front.test"), NULL);
    server_join(&s);
    snprintf(host, sizeof host, "Host: front.test:%d" CRLF, s.url_port);
    assert_non_null(strstr(s.last, host));
}

/* Goal: a name that is none ends as dns_error, with the resolver's reason, and nothing is sent. */
static void test_no_name(void **state) {
    struct fixture *f = *state;
    struct client c;
    for (int i = 0; i < 2; i++) { /* looked up; known by then */
        run(f, &c, "GET", "http://none.test/", NULL);
        assert_int_equal(c.result.outcome, OUTCOME_DNS_ERROR);
        assert_int_equal(c.result.sent, SENT_NOTHING);
        assert_string_equal(c.detail, gai_strerror(EAI_NONAME));
    }
}

/* Goal: a transfer that waits for a name can be cancelled at once, and freeing the transport waits
 * for no lookup. */
static void test_slow_name(void **state) {
    struct fixture *f = *state;
    struct client a = {.f = f}, b = {.f = f};
    struct transport_stats stats;
    int before = zone()->begun;
    zone()->closed = true;
    client_start(&a, "GET", "http://slow.test:1/", NULL);
    client_start(&b, "GET", "http://slow.test:1/", NULL);
    RUN_UNTIL(f, zone()->begun > before);
    transfer_cancel(a.transfer);
    f->transport->ops->stats(f->transport, &stats);
    assert_int_equal(stats.active, 1);
    free_transport(f); /* would not come back: the lookup hangs */
    assert_int_equal(a.dones + b.dones, 0);
    assert_int_equal(zone()->begun, before + 1);
    zone()->closed = false;
    while (zone()->begun != zone()->ended) {
        usleep(1000);
    }
}

/* Goal: when the first address refuses, the second is tried. */
static void test_second_address(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_once, OK_ANSWER);
    run(f, &c, "GET", url_at(&s, "two.test"), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    free_transport(f);
    server_join(&s);
    assert_int_equal(s.accepted, 1);
}

/* A listener on 127.0.0.9 whose queue is full: who connects hears nothing. */
static void fill_up(int port, int fd[8]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.9", &a.sin_addr);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd[0], (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd[0], 0), 0);
    for (int i = 1; i < 8; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fd[i], (struct sockaddr *)&a, sizeof a);
    }
}

/* Goal: an address that does not answer holds up the next one only for its head start. */
static void test_silent_address(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    int fd[8];
    server_start(&s, script_once, OK_ANSWER);
    fill_up(s.port, fd);
    run(f, &c, "GET", url_at(&s, "two.test"), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    free_transport(f);
    server_join(&s);
    assert_int_equal(s.accepted, 1);
    for (int i = 0; i < 8; i++) {
        close(fd[i]);
    }
}

/* Goal: a certificate for another name is refused before anything is sent. */
static void test_other_name(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_close_unread, NULL);
    run(f, &c, "POST", url_at(&s, "other.test"), "{}");
    assert_int_equal(c.result.outcome, OUTCOME_TLS_ERROR);
    assert_int_equal(c.result.sent, SENT_NOTHING);
    assert_non_null(strstr(c.detail, "the certificate is not accepted"));
    server_join(&s);
}

/* Goal: a connection is shared only by those who speak through the same TLS client, and its session
 * is resumed on the next one. */
static void test_sharing(void **state) {
    struct fixture *f = *state;
    struct front_keys *keys = *through_tls();
    struct server s;
    struct client c;
    struct extra fresh = {.fresh = true};
    struct tls_client_options trusting = {.verify = false};
    struct tls_client *own = keys->client, *other = tls_client_new(&trusting, NULL);
    server_start(&s, script_serve, OK_ANSWER);
    run(f, &c, "GET", url_at(&s, "front.test"), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    keys->client = other;
    c = (struct client){.f = f};
    client_start(&c, "GET", url_at(&s, "front.test"), NULL);
    RUN_UNTIL(f, c.connected == 1);
    assert_false(c.reused);
    transfer_cancel(c.transfer);
    keys->client = own;
    c = (struct client){.f = f};
    client_start_with(&c, "GET", url_at(&s, "front.test"), NULL, &fresh);
    RUN_UNTIL(f, c.connected == 1);
    RUN_UNTIL(f, s.front->resumed == 1);
    s.go = true;
    free_transport(f);
    server_join(&s);
    tls_client_unref(other);
}

/* Goal: TLS that ends without saying so is an end all the same where the answer says by itself that
 * it is whole; where only the end could say so, it is broken. */
static void test_truncated(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *answer;
        enum outcome outcome;
    } cases[] = {
        {OK_ANSWER, OUTCOME_OK},
        {OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF "2" CRLF "ok" CRLF "0" CRLF CRLF,
         OUTCOME_OK},
        {OK_HEAD CRLF "ok", OUTCOME_STREAM_BROKEN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s;
        struct client c;
        server_start(&s, script_answer_close, cases[i].answer);
        s.front->rude = true;
        run(f, &c, "GET", url_of(&s), NULL);
        if (c.result.outcome != cases[i].outcome || strcmp(c.body, "ok") != 0) {
            fail_msg("case %zu: %s (%s)", i, outcome_name(c.result.outcome), c.detail);
        }
        server_join(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test)                                                                                    \
    cmocka_unit_test_setup_teardown(test, setup_native, teardown),                                 \
        cmocka_unit_test_setup_teardown(test, setup_native_tls, teardown)
#define PLAIN(test) cmocka_unit_test_setup_teardown(test, setup_native, teardown)
#define TLS(test) cmocka_unit_test_setup_teardown(test, setup_native_tls, teardown)
        T(test_name),
        T(test_host),
        T(test_no_name),
        T(test_slow_name),
        PLAIN(test_second_address),
        PLAIN(test_silent_address),
        TLS(test_other_name),
        TLS(test_sharing),
        TLS(test_truncated),
#undef T
#undef PLAIN
#undef TLS
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
