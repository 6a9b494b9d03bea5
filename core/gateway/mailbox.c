/* SPDX-License-Identifier: MIT */
#include "gateway/mailbox.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct mail *take_first(struct mailbox *box) {
    pthread_mutex_lock(&box->lock);
    struct mail *mail = box->head;
    if (mail) {
        box->head = mail->next;
        if (!box->head) {
            box->tail = &box->head;
        }
        mail->next = NULL;
        mail->posted = false;
    }
    pthread_mutex_unlock(&box->lock);
    return mail;
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct mailbox *box = arg;
    uint64_t count;
    (void)what;
    ssize_t got = read((int)fd, &count, sizeof(count));
    (void)got; /* EAGAIN is as good: the list below is what counts */
    for (struct mail *mail = take_first(box); mail; mail = take_first(box)) {
        mail->deliver(mail);
    }
}

int mailbox_open(struct mailbox *box, struct event_base *base) {
    pthread_mutex_init(&box->lock, NULL);
    box->head = NULL;
    box->tail = &box->head;
    box->event = NULL;
    box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (box->fd < 0) {
        return -1;
    }
    box->event = event_new(base, box->fd, EV_READ | EV_PERSIST, on_readable, box);
    if (!box->event || event_add(box->event, NULL) != 0) {
        mailbox_close(box);
        return -1;
    }
    return 0;
}

void mailbox_close(struct mailbox *box) {
    if (box->event) {
        event_free(box->event);
        box->event = NULL;
    }
    if (box->fd >= 0) {
        close(box->fd);
        box->fd = -1;
        pthread_mutex_destroy(&box->lock);
    }
}

void mailbox_post(struct mailbox *box, struct mail *mail) {
    bool wake = false;
    pthread_mutex_lock(&box->lock);
    if (!mail->posted) {
        wake = box->head == NULL;
        mail->posted = true;
        mail->next = NULL;
        *box->tail = mail;
        box->tail = &mail->next;
    }
    pthread_mutex_unlock(&box->lock);
    if (wake) {
        uint64_t one = 1;
        ssize_t put = write(box->fd, &one, sizeof(one));
        (void)put; /* EAGAIN means that the counter is full, so the owner wakes anyway */
    }
}

bool mailbox_waiting(struct mailbox *box) {
    pthread_mutex_lock(&box->lock);
    bool waiting = box->head != NULL;
    pthread_mutex_unlock(&box->lock);
    return waiting;
}

bool mailbox_withdraw(struct mailbox *box, struct mail *mail) {
    pthread_mutex_lock(&box->lock);
    bool posted = mail->posted;
    if (posted) {
        struct mail **at = &box->head;
        while (*at && *at != mail) {
            at = &(*at)->next;
        }
        if (*at) {
            *at = mail->next;
            if (box->tail == &mail->next) {
                box->tail = at;
            }
        }
        mail->posted = false;
        mail->next = NULL;
    }
    pthread_mutex_unlock(&box->lock);
    return posted;
}
