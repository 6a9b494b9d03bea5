/* SPDX-License-Identifier: MIT */
/*
 * The models that clients may ask for: public names and names of the routes, and the models of
 * their targets. Told in the client's dialect, without a policy.
 */
#ifndef GATEWAY_MODELS_H
#define GATEWAY_MODELS_H

#include "gateway/exchange.h"

/* Is this a GET of the list (id->p is NULL then) or of one model (*id: the rest of the path, still
 * encoded)? Where depends on the client's dialect: "/v1/models", "/v1beta/models". */
bool models_asked(const struct exchange *x, struct str *id);

/* Answers with those that the client's key may ask for, or with the one; 404 when it is none of
 * them. Finishes the exchange (frees it). */
void models_answer(struct exchange *x, struct str id);

#endif
