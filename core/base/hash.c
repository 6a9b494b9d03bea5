/* SPDX-License-Identifier: MIT */
/*
 * SHA-256, HMAC and constant-time comparing from libcrypto; SipHash-1-3 and xoshiro256** of our
 * own. Holds two values per process, written once before their first use: the hash key and
 * libcrypto's handle of SHA-256 (looking that up costs more than hashing a client key).
 */
#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
    uint64_t key[2];
    EVP_MD *sha256;
} process; /* constant after `once` */

static int random_bytes(void *out, size_t n) {
    return getrandom(out, n, 0) == (ssize_t)n ? 0 : -1; /* up to 256 bytes come whole */
}

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void set_up(void) {
    if (random_bytes(process.key, sizeof(process.key))) {
        /* A sandbox without getrandom(2): a guessable key costs speed under attack, not
         * correctness. */
        uint64_t state = (uint64_t)clock_wall() ^ ((uint64_t)clock_now() << 32) ^ (uintptr_t)&state;
        process.key[0] = splitmix(&state);
        process.key[1] = splitmix(&state);
    }
    process.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* Memory is short. A hash that equals no other is the safe answer: no key matches, every file has
 * changed, no signature is good. */
static void no_hash(unsigned char out[HASH_SIZE]) {
    if (random_bytes(out, HASH_SIZE)) {
        uint64_t state = (uint64_t)clock_now() ^ process.key[0];
        for (size_t i = 0; i < HASH_SIZE; i += sizeof(state)) {
            uint64_t word = splitmix(&state);
            memcpy(out + i, &word, sizeof(word));
        }
    }
}

void hash_sha256(struct str data, unsigned char out[HASH_SIZE]) {
    pthread_once(&once, set_up);
    const void *bytes = data.n ? data.p : "";
    if (!process.sha256 || EVP_Digest(bytes, data.n, out, NULL, process.sha256, NULL) != 1) {
        no_hash(out);
    }
}

void hash_sha256_pieces(const struct str *piece, size_t n, unsigned char out[HASH_SIZE]) {
    pthread_once(&once, set_up);
    EVP_MD_CTX *ctx = process.sha256 ? EVP_MD_CTX_new() : NULL;
    bool good = ctx && EVP_DigestInit_ex(ctx, process.sha256, NULL) == 1;
    for (size_t i = 0; good && i < n; i++) {
        good = piece[i].n == 0 || EVP_DigestUpdate(ctx, piece[i].p, piece[i].n) == 1;
    }
    if (!good || EVP_DigestFinal_ex(ctx, out, NULL) != 1) {
        no_hash(out);
    }
    EVP_MD_CTX_free(ctx);
}

void hash_hmac(struct str key, struct str data, unsigned char out[HASH_SIZE]) {
    pthread_once(&once, set_up);
    const unsigned char *bytes = (const unsigned char *)(data.n ? data.p : "");
    if (!HMAC(EVP_sha256(), key.n ? key.p : "", (int)key.n, bytes, data.n, out, NULL)) {
        no_hash(out);
    }
}

void hash_hex(const unsigned char *hash, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[2 * n] = '\0';
}

bool hash_equal(const unsigned char *a, const unsigned char *b, size_t n) {
    return CRYPTO_memcmp(a, b, n) == 0;
}

static inline uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t hash_quick(struct str data) {
    pthread_once(&once, set_up);
    uint64_t k0 = process.key[0];
    uint64_t k1 = process.key[1];
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;
    size_t i = 0;
    for (; i + 8 <= data.n; i += 8) {
        memcpy(&word, data.p + i, 8); /* the host's byte order: the hash never leaves the process */
        sip_word(v, word);
    }
    word = 0;
    if (i < data.n) {
        memcpy(&word, data.p + i, data.n - i);
    }
    sip_word(v, word ^ ((uint64_t)data.n << 56));
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int rng_init(struct rng *rng) {
    if (random_bytes(rng->s, sizeof(rng->s))) {
        return -1;
    }
    rng->s[0] |= 1; /* all zero is the one state it cannot leave */
    return 0;
}

void rng_seed(struct rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        rng->s[i] = splitmix(&seed);
    }
}

uint64_t rng_next(struct rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_unit(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}
