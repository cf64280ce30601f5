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

/* At most eight bytes as a number, by loads of a fixed size that may overlap: a copy of a length
 * that varies goes byte by byte, and reading it back waits for all of them. */
static inline uint64_t sr_hash_tail(const unsigned char *at, size_t length)
{
    uint32_t low, high;

    if (length >= 4) {
        memcpy(&low, at, 4);
        memcpy(&high, at + length - 4, 4);
        return (uint64_t)high << 32 | low;
    }
    if (length == 0)
        return 0;
    return (uint64_t)at[0] << 16 | (uint64_t)at[length / 2] << 8 | at[length - 1];
}

static inline uint64_t sr_hash_bytes(uint64_t seed, const void *data, size_t length)
{
    const unsigned char *at = data;
    uint64_t hash = seed ^ length, word;

    for (; length > 8; length -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = sr_hash_mix(hash ^ word, 0x9fb21c651e98df25u);
    }
    return sr_hash_mix(hash ^ sr_hash_tail(at, length), 0xd6e8feb86659fd93u);
}

#endif
