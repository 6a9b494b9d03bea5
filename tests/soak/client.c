/* SPDX-License-Identifier: MIT */
/*
 * The clients of the soak: mixed requests (mix.h) on many connections, each answer checked byte for
 * byte while it comes (answer.h). One thread, epoll, loopback only.
 *
 *   client PORT SECONDS RATE SLOTS SEED
 *
 * Starts RATE jobs a second on at most SLOTS connections, and after SECONDS (or SIGTERM) waits for
 * the last of them. Each second, and at the end, prints its counters as one line of JSON; what must
 * not be goes to standard error, one line each. Exit status 1 when there was any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "mix.h"

#define MAX_SLOTS 1024
#define PIPELINE 4
#define PATIENCE 45.0 /* seconds for a job: anything longer is lost */
#define SHOWN 40      /* problems told in words */

struct slot {
    int fd;
    bool busy, fresh, leaves, resets, paused;
    enum kind kind;
    struct job jobs[PIPELINE];
    int n_jobs, at_job;
    char *out;
    size_t n_out, sent;
    size_t step, read_step; /* bytes to send, to read at a time; 0 = all */
    double send_due, read_due, give_up, used_at;
    size_t leave_at; /* bytes of the body after which it leaves; 0 = once the request is sent */
    struct answer answer;
};

static struct slot slots[MAX_SLOTS];
static int epoll_fd, port, n_slots;
static long done[KINDS], started, problems, answers, events, bytes, connections, in_flight;
static struct mix mix;
static volatile sig_atomic_t stopped;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void hang_up(struct slot *s) {
    if (s->fd >= 0) {
        if (s->resets) {
            setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        }
        close(s->fd);
    }
    s->fd = -1;
}

static void release(struct slot *s, bool keep) {
    free(s->out);
    s->out = NULL;
    s->busy = false;
    in_flight--;
    s->used_at = now();
    if (!keep) {
        hang_up(s);
    }
}

/* What must not be, on one line. */
__attribute__((format(printf, 2, 3))) static void tell(const struct slot *s, const char *format,
                                                       ...) {
    char spec[SPEC_MAX], words[1400];
    if (++problems > SHOWN) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    for (char *p = words; *p; p++) {
        *p = *p == '\n' || *p == '\r' ? '~' : *p;
    }
    job_write(&s->jobs[s->at_job < s->n_jobs ? s->at_job : s->n_jobs - 1], spec);
    fprintf(stderr, "client: %s: %s [%s answer %d of %d]\n", kind_name(s->kind), words, spec,
            s->at_job + 1, s->n_jobs);
}

static void count_answer(const struct slot *s) {
    answers++;
    bytes += (long)s->answer.got;
    events += s->answer.job->reply == 's' ? s->answer.pieces : 0;
}

static void expect(struct slot *s) {
    answer_begin(&s->answer, &s->jobs[s->at_job], s->kind == BAD);
}

static void answered(struct slot *s) {
    count_answer(s);
    done[s->kind]++;
    if (++s->at_job < s->n_jobs) {
        expect(s);
        return;
    }
    release(s, !s->fresh && !s->answer.closes && s->kind != BAD);
}

/* The end of an answer, or of the whole job. */
static void judge(struct slot *s, enum verdict found, bool cut) {
    switch (found) {
    case ANSWER_MORE:
        break;
    case ANSWER_WRONG:
        tell(s, "%s", s->answer.problem);
        release(s, false);
        break;
    case ANSWER_FAILED:
        done[s->kind]++;
        release(s, false);
        break;
    case ANSWER_DONE:
        s->fresh |= cut;
        answered(s);
        break;
    }
}

static void leave_if_due(struct slot *s) {
    bool sent = s->sent == s->n_out;
    if (s->busy && s->leaves && sent && (s->leave_at ? s->answer.got >= s->leave_at : true)) {
        count_answer(s);
        done[s->kind]++;
        release(s, false);
    }
}

static void take(struct slot *s, const char *data, size_t n) {
    while (n > 0 && s->busy) {
        size_t used = 0;
        judge(s, answer_feed(&s->answer, data, n, &used), false);
        data += used;
        n -= used;
    }
    leave_if_due(s);
    if (n > 0 && s->fd >= 0) {
        tell(s, "%zu bytes after the last answer: '%.*s'", n, n < 100 ? (int)n : 100, data);
        hang_up(s);
    }
}

static void watch(struct slot *s) {
    bool writes = s->busy && s->sent < s->n_out && !s->step;
    struct epoll_event ev = {.data.ptr = s};
    ev.events = (s->paused ? 0u : (unsigned)EPOLLIN) | (writes ? (unsigned)EPOLLOUT : 0u);
    if (s->fd >= 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
    }
}

static void on_readable(struct slot *s) {
    static char data[131072];
    ssize_t n = recv(s->fd, data, s->busy && s->read_step ? s->read_step : sizeof(data), 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (!s->busy) { /* an idle connection: it may be closed, and nothing else */
        if (n > 0) {
            tell(s, "bytes nobody asked for: '%.*s'", n < 100 ? (int)n : 100, data);
        }
        hang_up(s);
        return;
    }
    if (n <= 0) {
        judge(s, answer_cut(&s->answer, n == 0 ? "closed" : "reset"), true);
        return;
    }
    if (s->read_step) {
        s->paused = true;
        s->read_due = now() + 0.02;
    }
    take(s, data, (size_t)n);
}

static void on_writable(struct slot *s) {
    while (s->sent < s->n_out) {
        size_t left = s->n_out - s->sent;
        ssize_t n =
            send(s->fd, s->out + s->sent, s->step && s->step < left ? s->step : left, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                judge(s, answer_cut(&s->answer, "closed while the request was sent"), true);
            }
            return;
        }
        s->sent += (size_t)n;
        if (s->step) {
            s->send_due = now() + 0.03;
            break;
        }
    }
    leave_if_due(s);
}

static void connect_slot(struct slot *s) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, small = 4096;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->read_step) {
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.data.ptr = s};
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0) {
        tell(s, "no connection: %s", strerror(errno));
        release(s, false);
        return;
    }
    connections++;
}

/* What kind of client it is this time. */
static void take_role(struct slot *s) {
    s->kind = mix_kind(&mix);
    s->n_jobs = s->kind == PIPELINED ? PIPELINE : 1;
    s->fresh = s->n_jobs == 1 && mix_pick(&mix, 10) == 0;
    s->leaves = s->kind == LEAVE;
    s->resets = s->leaves && mix_pick(&mix, 2);
    s->leave_at = s->leaves && mix_pick(&mix, 3) ? mix_between(&mix, 1, 3000) : 0;
    s->step = s->kind == DRIBBLE ? 400 : 0;
    s->read_step = s->kind == SLOW ? 8192 : 0;
}

static void start(struct slot *s) {
    bool was_slow = s->read_step != 0;
    take_role(s);
    s->busy = true;
    in_flight++;
    started++;
    s->at_job = 0;
    s->paused = false;
    s->sent = s->n_out = 0;
    s->send_due = s->read_due = 0;
    s->give_up = now() + PATIENCE;
    s->out = malloc((size_t)s->n_jobs * REQUEST_MAX);
    if (!s->out) {
        exit(3);
    }
    for (int i = 0; i < s->n_jobs; i++) {
        const char *model = mix_job(&mix, s->kind, &s->jobs[i]);
        s->n_out += mix_request(&mix, s->kind, &s->jobs[i], model, s->fresh, s->out + s->n_out);
    }
    expect(s);
    if (s->fd >= 0 && (s->read_step || was_slow || now() - s->used_at > 30)) {
        hang_up(s);
    }
    if (s->fd < 0) {
        connect_slot(s);
    }
    if (s->busy) {
        on_writable(s);
    }
    watch(s);
}

static void look_after(struct slot *s, double at) {
    if (!s->busy) {
        return;
    }
    if (at > s->give_up) {
        tell(s, "lost: no end within %.0f s, %zu bytes of the body came", PATIENCE, s->answer.got);
        release(s, false);
        return;
    }
    if (s->paused && s->read_due <= at) {
        s->paused = false;
        watch(s);
    }
    if (s->step && s->sent < s->n_out && s->send_due <= at) {
        on_writable(s);
    }
}

static void report(double since, bool final) {
    printf("{\"t\":%.1f,\"started\":%ld,\"answers\":%ld,\"events\":%ld,\"bytes\":%ld,"
           "\"problems\":%ld,\"connections\":%ld,\"open\":%ld,\"final\":%s,\"kinds\":{",
           now() - since, started, answers, events, bytes, problems, connections, in_flight,
           final ? "true" : "false");
    for (int kind = 0; kind < KINDS; kind++) {
        printf("%s\"%s\":%ld", kind ? "," : "", kind_name((enum kind)kind), done[kind]);
    }
    printf("}}\n");
    fflush(stdout);
}

static void on_signal(int number) {
    (void)number;
    stopped = 1;
}

static void turn(void) {
    struct epoll_event ready[256];
    int n = epoll_wait(epoll_fd, ready, 256, 2);
    for (int i = 0; i < n; i++) {
        struct slot *s = ready[i].data.ptr;
        if (s->fd >= 0 && s->busy && ready[i].events & EPOLLOUT) {
            on_writable(s);
        }
        if (s->fd >= 0 && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            on_readable(s);
        }
        watch(s);
    }
}

/* Starts jobs at the rate asked for, while there are slots; what the machine cannot do is not owed.
 */
static void start_some(double rate, double at, double *owed, double *last) {
    *owed += (at - *last) * rate;
    *last = at;
    for (int i = 0; i < n_slots && *owed >= 1; i++) {
        struct slot *s = &slots[(started + i) % n_slots];
        if (!s->busy) {
            start(s);
            *owed -= 1;
        }
    }
    *owed = *owed > 50 ? 50 : *owed;
}

static void run(double seconds, double rate) {
    double begun = now(), end = begun + seconds, last = begun, told = begun, owed = 0;
    for (double at = begun; (at < end && !stopped) || in_flight > 0; at = now()) {
        if (at < end && !stopped) {
            start_some(rate, at, &owed, &last);
        }
        turn();
        for (int i = 0; i < n_slots; i++) {
            look_after(&slots[i], at);
        }
        if (at - told >= 1) {
            report(begun, false);
            told = at;
        }
    }
    for (int i = 0; i < n_slots; i++) {
        hang_up(&slots[i]);
    }
    report(begun, true);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fputs("usage: client PORT SECONDS RATE SLOTS SEED\n", stderr);
        return 2;
    }
    port = atoi(argv[1]);
    n_slots = atoi(argv[4]);
    mix.seed = strtoul(argv[5], NULL, 10);
    mix.serial = content_mix(mix.seed) & 0xffffffff000000u;
    epoll_fd = epoll_create1(0);
    if (n_slots < 1 || n_slots > MAX_SLOTS || epoll_fd < 0) {
        return 2;
    }
    for (int i = 0; i < n_slots; i++) {
        slots[i].fd = -1;
    }
    signal(SIGTERM, on_signal);
    run(atof(argv[2]), atof(argv[3]));
    return problems > 0;
}
