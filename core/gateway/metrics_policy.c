/* SPDX-License-Identifier: MIT */
/* The gauges that tell of policies out of service: read from the generation, not counted. */
#include "gateway/metrics.h"
#include "policy/policy.h"

int metrics_policies(const struct generation *g, struct buf *out) {
    struct policy_health h;
    struct buf labels;
    int bad = buf_adds(
        out, "# HELP moongate_policy_switched_off 1 while a policy that kept failing is out of "
             "service.\n# TYPE moongate_policy_switched_off gauge\n");
    buf_init(&labels, MAX_LABELS);
    for (size_t i = 0; generation_policy(g, i, &h); i++) {
        buf_clear(&labels);
        metrics_label(&labels, "policy", str_of(h.name));
        bad |= buf_addf(out, "moongate_policy_switched_off{%s} %d\n", labels.data, h.switched_off);
    }
    buf_release(&labels);
    return bad ? -1 : 0;
}
