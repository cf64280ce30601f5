/* A fast keyed hash of short strings. The key is drawn once a process, so collisions can't be
 * prepared. */
#ifndef SR_BASE_HASH_H
#define SR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint64_t sr_hash_seed(void);

static inline uint64_t sr_hash_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t sr_hash_bytes(uint64_t seed, const void *data, size_t length)
{
    const unsigned char *at = data;
    uint64_t hash = seed ^ length, word;

    for (; length >= 8; length -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = sr_hash_mix(hash ^ word, 0x9fb21c651e98df25u);
    }
    word = 0;
    memcpy(&word, at, length);
    return sr_hash_mix(hash ^ word, 0xd6e8feb86659fd93u);
}

#endif
