/* SPDX-License-Identifier: MIT */
/*
 * Hashes, random numbers, and comparing secrets.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define HASH_SIZE 32

/* When memory is short: random bytes, which equal no hash. */
void hash_sha256(struct str data, unsigned char out[HASH_SIZE]);
/* Of the pieces one after another. */
void hash_sha256_pieces(const struct str *piece, size_t n, unsigned char out[HASH_SIZE]);
/* HMAC-SHA256. When memory is short: as above. */
void hash_hmac(struct str key, struct str data, unsigned char out[HASH_SIZE]);
void hash_hex(const unsigned char *hash, size_t n, char *out);             /* out: 2n + 1 bytes */
bool hash_equal(const unsigned char *a, const unsigned char *b, size_t n); /* constant time */
uint64_t hash_quick(
    struct str data); /* SipHash-1-3 with a key drawn once per process: tables only, never stored */

/* A generator of one owner (a worker): xoshiro256**, seeded from the system. Not for secrets. */
struct rng {
    uint64_t s[4];
};
int rng_init(struct rng *rng) __attribute__((warn_unused_result));
void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
double rng_unit(struct rng *rng); /* [0, 1) */

#endif
