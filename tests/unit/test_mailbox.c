/* SPDX-License-Identifier: MIT */
/*
 * Mail between threads: delivered once, in order, on the owner's thread; what is taken back is not
 * delivered; many senders at once lose nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "gateway/mailbox.h"

#define DEADLINE (90 * USEC_PER_SEC)

struct letter {
    struct mail mail; /* first */
    struct box *box;
    int number, deliveries;
    pthread_t delivered_on;
};

struct box {
    struct event_base *base;
    struct mailbox mailbox;
    int order[64];
    int n;
    struct letter *post_again; /* from inside a delivery */
};

static void on_deliver(struct mail *mail) {
    struct letter *l = (struct letter *)mail;
    l->deliveries++;
    l->delivered_on = pthread_self();
    if (l->box->n < 64) {
        l->box->order[l->box->n] = l->number;
    }
    l->box->n++;
    if (l->box->post_again) {
        struct letter *again = l->box->post_again;
        l->box->post_again = NULL;
        mailbox_post(&l->box->mailbox, &again->mail);
    }
}

static int setup(void **state) {
    struct box *box = calloc(1, sizeof(*box));
    *state = box;
    if (!box) {
        return -1;
    }
    box->base = event_base_new();
    return box->base ? mailbox_open(&box->mailbox, box->base) : -1;
}

static int teardown(void **state) {
    struct box *box = *state;
    mailbox_close(&box->mailbox);
    event_base_free(box->base);
    free(box);
    return 0;
}

static void letters(struct letter *list, int n, struct box *box) {
    for (int i = 0; i < n; i++) {
        list[i] = (struct letter){.mail = {.deliver = on_deliver}, .box = box, .number = i};
    }
}

static void turn(struct box *box) {
    event_base_loop(box->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void order_and_once(void **state) {
    /* Goal: in the order of posting, each once however often it was posted, none before the loop
     * runs. */
    struct box *box = *state;
    struct letter list[3];
    letters(list, 3, box);
    mailbox_post(&box->mailbox, &list[2].mail);
    mailbox_post(&box->mailbox, &list[0].mail);
    mailbox_post(&box->mailbox, &list[2].mail);
    mailbox_post(&box->mailbox, &list[1].mail);
    assert_int_equal(box->n, 0);
    turn(box);
    assert_int_equal(box->n, 3);
    assert_int_equal(box->order[0], 2);
    assert_int_equal(box->order[1], 0);
    assert_int_equal(box->order[2], 1);
    mailbox_post(&box->mailbox, &list[2].mail); /* it may be posted again after its delivery */
    turn(box);
    assert_int_equal(list[2].deliveries, 2);
    turn(box);
    assert_int_equal(box->n, 4);
}

static void withdrawn(void **state) {
    /* Goal: first, middle and last can be taken back; the others come, and so does what is posted
     * after. Taking back what was not posted does nothing. */
    struct box *box = *state;
    for (int gone = 0; gone < 3; gone++) {
        struct letter list[4];
        letters(list, 4, box);
        box->n = 0;
        for (int i = 0; i < 3; i++) {
            mailbox_post(&box->mailbox, &list[i].mail);
        }
        mailbox_withdraw(&box->mailbox, &list[gone].mail);
        mailbox_withdraw(&box->mailbox, &list[gone].mail);
        mailbox_post(&box->mailbox, &list[3].mail);
        turn(box);
        assert_int_equal(box->n, 3);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(list[i].deliveries, i != gone);
        }
        assert_int_equal(box->order[2], 3);
    }
}

static void posted_from_a_delivery(void **state) {
    /* Goal: a delivery may post, itself included. */
    struct box *box = *state;
    struct letter list[2];
    letters(list, 2, box);
    box->post_again = &list[1];
    mailbox_post(&box->mailbox, &list[0].mail);
    turn(box);
    turn(box);
    assert_int_equal(list[1].deliveries, 1);
    box->post_again = &list[0];
    mailbox_post(&box->mailbox, &list[0].mail);
    turn(box);
    turn(box);
    assert_int_equal(list[0].deliveries, 3);
}

static void closed_with_mail(void **state) {
    /* Goal: a box may be closed with mail in it, which is then not delivered. */
    struct box *box = *state;
    struct letter list[1];
    letters(list, 1, box);
    mailbox_post(&box->mailbox, &list[0].mail);
    mailbox_close(&box->mailbox);
    turn(box);
    assert_int_equal(list[0].deliveries, 0);
}

/* ---- threads ---- */

#define SENDERS 4
#define ROUNDS 2000

struct sender {
    struct box *box;
    struct letter letter;
    atomic_int seen; /* deliveries, told by the owner */
};

static void on_seen(struct mail *mail) {
    struct letter *l = (struct letter *)mail;
    struct sender *s = (struct sender *)((char *)l - offsetof(struct sender, letter));
    l->delivered_on = pthread_self();
    atomic_fetch_add(&s->seen, 1);
}

/* Posts, waits until it was delivered, posts again. */
static void *send_all(void *arg) {
    struct sender *s = arg;
    usec until = clock_now() + DEADLINE;
    for (int i = 0; i < ROUNDS; i++) {
        mailbox_post(&s->box->mailbox, &s->letter.mail);
        while (atomic_load(&s->seen) <= i && clock_now() < until) {
            sched_yield();
        }
    }
    return NULL;
}

static void many_senders(void **state) {
    /* Goal: no letter of any thread is lost or doubled, and all arrive on the owner's thread. */
    struct box *box = *state;
    static struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    int total = 0;
    for (int i = 0; i < SENDERS; i++) {
        memset(&senders[i], 0, sizeof(senders[i]));
        senders[i].box = box;
        senders[i].letter.mail.deliver = on_seen;
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    usec until = clock_now() + DEADLINE;
    while (total < SENDERS * ROUNDS && clock_now() < until) {
        struct timeval tick = {.tv_usec = 1000};
        event_base_loopexit(box->base, &tick);
        event_base_loop(box->base, EVLOOP_ONCE);
        total = 0;
        for (int i = 0; i < SENDERS; i++) {
            total += atomic_load(&senders[i].seen);
        }
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&senders[i].seen), ROUNDS);
        assert_true(pthread_equal(senders[i].letter.delivered_on, pthread_self()));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(order_and_once),   TEST(withdrawn),    TEST(posted_from_a_delivery),
        TEST(closed_with_mail), TEST(many_senders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
