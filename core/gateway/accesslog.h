/* SPDX-License-Identifier: MIT */
/*
 * One JSON line per request, with the fields of DESIGN section 5.8, and the request's metrics. No
 * content, no secrets.
 */
#ifndef GATEWAY_ACCESSLOG_H
#define GATEWAY_ACCESSLOG_H

#include "gateway/exchange.h"

void accesslog_write(struct exchange *x, enum exchange_end end);
/* A request that never became an exchange (refused by the connection). */
void accesslog_refused(struct worker *w, int status);

#endif
