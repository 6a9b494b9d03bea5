/* SPDX-License-Identifier: MIT */
/*
 * Messages to a thread that runs an event loop: any thread posts, the owner's loop delivers, in
 * order. A message is embedded in what it is about, so posting never allocates and never fails.
 */
#ifndef GATEWAY_MAILBOX_H
#define GATEWAY_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

struct event_base;
struct event;

struct mail {
    void (*deliver)(struct mail *mail); /* on the owner's thread; the mail may be freed or posted
                                           again from it */
    struct mail *next;                  /* the mailbox's */
    bool posted; /* the mailbox's: posting twice before delivery delivers once */
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *head, **tail;
    int fd; /* eventfd; -1: not open */
    struct event *event;
};

int mailbox_open(struct mailbox *box, struct event_base *base)
    __attribute__((warn_unused_result)); /* 0 or -1 */
void mailbox_close(struct mailbox *box); /* undelivered mail is dropped */
void mailbox_post(struct mailbox *box, struct mail *mail);
/* Whether there is mail that has not been delivered. Any thread. */
bool mailbox_waiting(struct mailbox *box);
/* Takes mail back that may have been posted; true when it had been. On the owner's thread only. */
bool mailbox_withdraw(struct mailbox *box, struct mail *mail);

#endif
