/* SPDX-License-Identifier: MIT */
/*
 * A table of answers that frame themselves wrongly, or in two ways, over each transport, in plain
 * text and through TLS. None may come to a good end as if nothing were wrong, none may leave its
 * connection to the next request. Where libcurl sees less than we do, the row says so.
 */
#include "../support/scripted_server.h"

struct attack {
    const char *name, *answer;
    size_t n;
    enum outcome outcome;
    const char *method; /* NULL: GET */
    const char *body;   /* what is delivered of it; NULL: nothing good */
    bool closes;        /* the provider closes behind it */
    bool lax;           /* libcurl finds it good and shows us nothing of it */
};

#define BYTES(text) .answer = (text), .n = sizeof(text) - 1
#define CHUNKED OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF
#define LAST "0" CRLF CRLF
#define FIVE OK_HEAD "Content-Length: 5" CRLF
#define INVALID OUTCOME_INVALID_RESPONSE
#define BROKEN OUTCOME_STREAM_BROKEN

static const char reused[] = FIVE CRLF "wrong";

static const struct attack attacks[] = {
    /* Two framings, or none that can be read. */
    {"both lengths", BYTES(FIVE "Transfer-Encoding: chunked" CRLF CRLF LAST), INVALID},
    {"both, the other way round",
     BYTES(OK_HEAD "Transfer-Encoding: chunked" CRLF "Content-Length: 5" CRLF CRLF LAST), INVALID},
    {"two lengths", BYTES(FIVE "Content-Length: 6" CRLF CRLF "hello"), INVALID},
    {"the same length twice", BYTES(FIVE "content-length: 5" CRLF CRLF "hello"), INVALID},
    {"a list of lengths", BYTES(OK_HEAD "Content-Length: 5, 5" CRLF CRLF "hello"), INVALID},
    {"a signed length", BYTES(OK_HEAD "Content-Length: +5" CRLF CRLF "hello"), INVALID},
    {"a negative length", BYTES(OK_HEAD "Content-Length: -5" CRLF CRLF "hello"), INVALID},
    {"a length in hex", BYTES(OK_HEAD "Content-Length: 0x5" CRLF CRLF "hello"), INVALID},
    {"a length with a fraction", BYTES(OK_HEAD "Content-Length: 5.0" CRLF CRLF "hello"), INVALID},
    {"a length with a word", BYTES(OK_HEAD "Content-Length: 5 bytes" CRLF CRLF "hello"), INVALID},
    {"a length in quotes", BYTES(OK_HEAD "Content-Length: \"5\"" CRLF CRLF "hello"), INVALID},
    {"an empty length", BYTES(OK_HEAD "Content-Length:" CRLF CRLF "hello"), INVALID},
    {"a length beyond 64 bits",
     BYTES(OK_HEAD "Content-Length: 18446744073709551621" CRLF CRLF "hello"), INVALID},
    {"a length beyond 63 bits",
     BYTES(OK_HEAD "Content-Length: 9223372036854775813" CRLF CRLF "hello"), INVALID},
    {"a vertical tab before the length", BYTES(OK_HEAD "Content-Length:\v5" CRLF CRLF "hello"),
     INVALID},
    /* Transfer-Encoding in disguise. */
    {"an unknown coding", BYTES(OK_HEAD "Transfer-Encoding: xchunked" CRLF CRLF LAST), INVALID},
    {"a coding in quotes", BYTES(OK_HEAD "Transfer-Encoding: \"chunked\"" CRLF CRLF LAST), INVALID},
    {"two codings", BYTES(OK_HEAD "Transfer-Encoding: gzip, chunked" CRLF CRLF LAST), INVALID},
    {"chunked is not the last", BYTES(OK_HEAD "Transfer-Encoding: chunked, gzip" CRLF CRLF LAST),
     INVALID},
    {"chunked twice", BYTES(OK_HEAD "Transfer-Encoding: chunked, chunked" CRLF CRLF LAST), INVALID},
    {"an empty member", BYTES(OK_HEAD "Transfer-Encoding: ,chunked" CRLF CRLF LAST), INVALID},
    {"identity", BYTES(OK_HEAD "Transfer-Encoding: identity" CRLF CRLF "hello"), INVALID},
    {"two fields",
     BYTES(OK_HEAD "Transfer-Encoding: chunked" CRLF "Transfer-Encoding: identity" CRLF CRLF LAST),
     INVALID},
    {"an empty coding", BYTES(OK_HEAD "Transfer-Encoding:" CRLF CRLF LAST), INVALID},
    {"a coding with a parameter", BYTES(OK_HEAD "Transfer-Encoding: chunked;a=b" CRLF CRLF LAST),
     INVALID},
    {"a vertical tab before the coding",
     BYTES(OK_HEAD "Transfer-Encoding:\vchunked" CRLF CRLF LAST), INVALID},
    {"a NUL behind the coding", BYTES(OK_HEAD "Transfer-Encoding: chunked\0" CRLF CRLF LAST),
     INVALID},
    {"a bare CR behind the coding", BYTES(OK_HEAD "Transfer-Encoding: chunked\r" CRLF CRLF LAST),
     INVALID},
    {"a space before the colon", BYTES(OK_HEAD "Transfer-Encoding : chunked" CRLF CRLF LAST),
     INVALID},
    {"a tab before the colon", BYTES(OK_HEAD "Content-Length\t: 5" CRLF CRLF "hello"), INVALID},
    {"a space before the name", BYTES(OK_HEAD " Transfer-Encoding: chunked" CRLF CRLF LAST),
     INVALID},
    {"a folded coding", BYTES(OK_HEAD "Transfer-Encoding:" CRLF " chunked" CRLF CRLF LAST),
     INVALID},
    {"a folded other field", BYTES(OK_HEAD "X: a" CRLF "\tTransfer-Encoding: chunked" CRLF CRLF),
     INVALID},
    {"chunked in HTTP/1.0",
     BYTES("HTTP/1.0 200 OK" CRLF "Transfer-Encoding: chunked" CRLF CRLF LAST), INVALID},
    /* Heads. */
    {"lines that end with LF", BYTES("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"), INVALID},
    {"one line that ends with LF", BYTES(OK_HEAD "X: a\nContent-Length: 5" CRLF CRLF "hello"),
     INVALID},
    {"the head ends with LF", BYTES(FIVE "\nhello"), INVALID},
    {"a bare CR in a value",
     BYTES(OK_HEAD "X: a\rContent-Length: 9" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"a bare CR in the status line",
     BYTES("HTTP/1.1 200 OK\rContent-Length: 9" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     INVALID},
    {"a NUL in a value", BYTES(FIVE "X: a\0b" CRLF CRLF "hello"), INVALID},
    {"a NUL in a name", BYTES(FIVE "X\0: a" CRLF CRLF "hello"), INVALID},
    {"a NUL in the status line", BYTES("HTTP/1.1 200 O\0K" CRLF CRLF), INVALID},
    {"no colon", BYTES(FIVE "hello" CRLF CRLF "hello"), INVALID},
    {"no name", BYTES(FIVE ": hello" CRLF CRLF "hello"), INVALID},
    {"a name in brackets", BYTES(FIVE "(X): hello" CRLF CRLF "hello"), INVALID},
    {"HTTP/0.9", BYTES("hello, this is an answer of old" CRLF), INVALID, .closes = true},
    {"HTTP/2.0", BYTES("HTTP/2.0 200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"HTTP/1.2", BYTES("HTTP/1.2 200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"HTTP/1.10", BYTES("HTTP/1.10 200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"http in small letters", BYTES("http/1.1 200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     INVALID},
    {"ICY", BYTES("ICY 200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"two spaces before the status",
     BYTES("HTTP/1.1  200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"a tab before the status",
     BYTES("HTTP/1.1\t200 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"two digits", BYTES("HTTP/1.1 20 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"four digits", BYTES("HTTP/1.1 2000 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"a status of 0", BYTES("HTTP/1.1 000 OK" CRLF "Content-Length: 5" CRLF CRLF "hello"), INVALID},
    {"a status of 600", BYTES("HTTP/1.1 600 X" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     INVALID},
    {"a status in letters", BYTES("HTTP/1.1 abc OK" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     INVALID},
    {"an empty line first", BYTES(CRLF FIVE CRLF "hello"), INVALID},
    {"a request", BYTES("GET / HTTP/1.1" CRLF "Host: a" CRLF CRLF), INVALID},
    {"half a head", BYTES(FIVE), INVALID, .closes = true},
    /* Interim answers. */
    {"switching protocols", BYTES("HTTP/1.1 101 Switching" CRLF "Upgrade: x" CRLF CRLF), INVALID},
    {"an interim answer with a length",
     BYTES("HTTP/1.1 103 Hints" CRLF "Content-Length: 5" CRLF CRLF "hello" FIVE CRLF "hello"),
     INVALID},
    {"an interim answer with a length and no body",
     BYTES("HTTP/1.1 103 Hints" CRLF "Content-Length: 5" CRLF CRLF FIVE CRLF "hello"), INVALID},
    {"an interim answer with chunks",
     BYTES("HTTP/1.1 100 Continue" CRLF "Transfer-Encoding: chunked" CRLF CRLF LAST), INVALID},
    {"an interim answer and the end", BYTES("HTTP/1.1 100 Continue" CRLF CRLF), INVALID,
     .closes = true},
    /* Chunks: the head is out by then. libcurl reads hex digits and skips the rest of the line,
     * and a line ends with LF for it. */
    {"a size in 0x", BYTES(CHUNKED "0x5" CRLF "hello" CRLF LAST), BROKEN},
    {"a signed size", BYTES(CHUNKED "+5" CRLF "hello" CRLF LAST), BROKEN},
    {"a negative size", BYTES(CHUNKED "-5" CRLF "hello" CRLF LAST), BROKEN},
    {"a space before the size", BYTES(CHUNKED " 5" CRLF "hello" CRLF LAST), BROKEN},
    {"no size", BYTES(CHUNKED CRLF "hello" CRLF LAST), BROKEN},
    {"17 digits", BYTES(CHUNKED "00000000000000005" CRLF "hello" CRLF LAST), BROKEN},
    {"a size beyond 64 bits", BYTES(CHUNKED "10000000000000005" CRLF "hello" CRLF LAST), BROKEN},
    {"16 digits", BYTES(CHUNKED "8000000000000005" CRLF "hello" CRLF LAST), BROKEN},
    {"a size in quotes", BYTES(CHUNKED "\"5\"" CRLF "hello" CRLF LAST), BROKEN},
    {"a word behind the size", BYTES(CHUNKED "5 x" CRLF "hello" CRLF LAST), BROKEN, .lax = true},
    {"a NUL in an extension", BYTES(CHUNKED "5;\0" CRLF "hello" CRLF LAST), BROKEN, .lax = true},
    {"a bare CR in an extension", BYTES(CHUNKED "5;a\rb" CRLF "hello" CRLF LAST), BROKEN,
     .lax = true},
    {"a size line that ends with LF", BYTES(CHUNKED "5\nhello" CRLF LAST), BROKEN, .lax = true},
    {"data that ends with LF", BYTES(CHUNKED "5" CRLF "hello\n" LAST), BROKEN, .body = "hello",
     .lax = true},
    {"data that ends with nothing", BYTES(CHUNKED "5" CRLF "hello" LAST), BROKEN, .body = "hello"},
    {"more data than said", BYTES(CHUNKED "5" CRLF "hello, you" CRLF LAST), BROKEN,
     .body = "hello"},
    {"the last chunk ends with LF", BYTES(CHUNKED "5" CRLF "hello" CRLF "0\n\n"), BROKEN,
     .body = "hello", .lax = true},
    {"a trailer without colon", BYTES(CHUNKED "0" CRLF "hello" CRLF CRLF), BROKEN},
    {"a NUL in a trailer", BYTES(CHUNKED "0" CRLF "X: a\0" CRLF CRLF), BROKEN},
    {"a folded trailer", BYTES(CHUNKED "0" CRLF " X: a" CRLF CRLF), BROKEN, .lax = true},
    {"no last chunk", BYTES(CHUNKED "5" CRLF "hello" CRLF), BROKEN, .body = "hello",
     .closes = true},
    {"no end behind the last chunk", BYTES(CHUNKED "5" CRLF "hello" CRLF "0" CRLF), BROKEN,
     .body = "hello", .closes = true},
    {"less than the length", BYTES(OK_HEAD "Content-Length: 9" CRLF CRLF "hello"), BROKEN,
     .body = "hello", .closes = true},
    /* Bytes that nobody asked for: the answer is good, its connection is not. libcurl drops what it
     * has read behind some answers, and goes on with the connection. */
    {"more than the length", BYTES(FIVE CRLF "helloHTTP/1.1 200 OK" CRLF CRLF), OUTCOME_OK,
     .body = "hello"},
    {"more behind the chunks",
     BYTES(CHUNKED "5" CRLF "hello" CRLF LAST "HTTP/1.1 200 OK" CRLF CRLF), OUTCOME_OK,
     .body = "hello", .lax = true},
    {"two answers", BYTES(FIVE CRLF "hello" FIVE CRLF "again"), OUTCOME_OK, .body = "hello"},
    {"HEAD with a body", BYTES(FIVE CRLF "hello"), OUTCOME_OK, .method = "HEAD", .lax = true},
    {"204 with a body", BYTES("HTTP/1.1 204 No" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     OUTCOME_OK, .lax = true},
    {"204 with chunks", BYTES("HTTP/1.1 204 No" CRLF "Transfer-Encoding: chunked" CRLF CRLF LAST),
     OUTCOME_OK, .lax = true},
    {"204 that announces a body", BYTES("HTTP/1.1 204 No" CRLF "Content-Length: 5" CRLF CRLF),
     OUTCOME_OK, .lax = true},
    {"304 with a body", BYTES("HTTP/1.1 304 Not" CRLF "Content-Length: 5" CRLF CRLF "hello"),
     OUTCOME_OK, .lax = true},
    {"an empty body and more", BYTES(OK_HEAD "Content-Length: 0" CRLF CRLF "hello"), OUTCOME_OK,
     .lax = true},
};

/* Reads a request, or the end, if there is either, and answers. */
static void serve_ready(struct server *s, int *fd, short revents, const char *answer) {
    if (*fd >= 0 && revents && server_read(s, *fd)) {
        server_send(*fd, answer);
        s->sent += answer == reused;
    } else if (*fd >= 0 && revents) {
        close(*fd);
        *fd = -1;
    }
}

/* The first connection gets the attack and is then watched: a second request must not come there,
 * but on a new one. */
static void script_attack(struct server *s) {
    const struct attack *a = (const struct attack *)(const void *)s->text;
    int first = server_accept(s), second = -1;
    server_read(s, first);
    send(first, a->answer, a->n, MSG_NOSIGNAL);
    if (a->closes) {
        close(first);
        first = -1;
    }
    while (!s->go) {
        struct pollfd p[3] = {
            {second < 0 ? s->listener : -1, POLLIN, 0}, {first, POLLIN, 0}, {second, POLLIN, 0}};
        poll(p, 3, 5);
        second = p[0].revents ? server_accept(s) : second;
        serve_ready(s, &first, p[1].revents, reused);
        serve_ready(s, &second, p[2].revents, FIVE CRLF "clean");
    }
    close(first);
    close(second);
}

static bool is_curl(const struct fixture *f) {
    return f->make == curl_transport_new;
}

static void play(struct fixture *f, const struct attack *a) {
    struct server s;
    struct client c;
    bool lax = a->lax && is_curl(f);
    enum outcome want = lax ? OUTCOME_OK : a->outcome;
    server_start(&s, script_attack, (const char *)a);
    run(f, &c, a->method ? a->method : "GET", url_of(&s), NULL);
    if (c.result.outcome != want || (want == INVALID && c.heads) ||
        (a->body && !lax && strcmp(c.body, a->body) != 0)) {
        fail_msg("%s: %s instead of %s, %d heads, body '%s' (%s)", a->name,
                 outcome_name(c.result.outcome), outcome_name(want), c.heads, c.body, c.detail);
    }
    run(f, &c, "GET", url_of(&s), NULL);
    if (c.result.outcome != OUTCOME_OK || (!lax && strcmp(c.body, "clean") != 0)) {
        fail_msg("after %s: %s, body '%s' (%s)", a->name, outcome_name(c.result.outcome), c.body,
                 c.detail);
    }
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    if (!lax && (c.reused || s.sent > 0)) {
        fail_msg("after %s: its connection was used again", a->name);
    }
    f->transport = f->make(f->base, 8, NULL);
}

static void test_attacks(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        play(f, &attacks[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {OVER_EACH(test_attacks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
