/* SPDX-License-Identifier: MIT */
/* See budget.h. Knows no Lua. */
#include "policy/budget.h"

#include "base/limits.h"

void budget_arm(struct budget *b, usec allowance) {
    b->allowance = allowance;
    b->wall0 = clock_steady();
    b->cpu0 = -1;
    b->before = 0;
    b->debt = 0;
    b->steps = 0;
    b->armed = true;
    b->killed = false;
    b->where[0] = '\0';
}

static usec unseen(usec wall) {
    return wall < LUA_FIRST_LOOK ? wall : LUA_FIRST_LOOK;
}

usec budget_disarm(struct budget *b) {
    b->armed = false;
    if (b->cpu0 < 0) {
        return unseen(clock_steady() - b->wall0);
    }
    return b->before + clock_thread_cpu() - b->cpu0;
}

bool budget_spent(struct budget *b) {
    usec wall;

    if (!b->armed || b->killed) {
        return b->armed;
    }
    wall = clock_steady() - b->wall0;
    if (wall < LUA_FIRST_LOOK && wall < b->allowance) {
        return false;
    }
    if (b->cpu0 < 0) {
        b->cpu0 = clock_thread_cpu();
        b->before = unseen(wall);
    }
    if (wall < b->allowance) {
        return false;
    }
    return b->before + clock_thread_cpu() - b->cpu0 >= b->allowance;
}

bool budget_charge(struct budget *b, size_t steps) {
    b->steps += steps;
    b->debt += steps;
    if (b->debt < LUA_HOOK_COUNT) {
        return false;
    }
    b->debt = 0;
    return budget_spent(b);
}
