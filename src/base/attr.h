/* Compiler attributes, and clang's thread-safety annotations (empty elsewhere). */
#ifndef SR_BASE_ATTR_H
#define SR_BASE_ATTR_H

#define SR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define SR_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define SR_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define SR_CACHE_LINE          64
#define SR_COLD                __attribute__((cold, noinline))
#define SR_HOT                 __attribute__((aligned(SR_CACHE_LINE))) /* begins a cache line */

/*
 * Have a line brought here to be written, while the way to it is still being computed. What is read
 * before it is written would else be fetched twice from a core that wrote it last. gcc and clang
 * say "prefetch to read" for x86-64 unless told of a newer processor; the instruction is older than
 * that and does nothing where it is not known.
 */
static inline void sr_prefetch_to_write(const void *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* Wait without a system call, in steps of some ten nanoseconds. */
static inline void sr_spin(int steps)
{
    while (steps-- > 0) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" : : : "memory");
#else
        __asm__ volatile("" : : : "memory");
#endif
    }
}

#if defined(__clang__)
#define SR_CAPABILITY(name) __attribute__((capability(name)))
#define SR_GUARDED_BY(lock) __attribute__((guarded_by(lock)))
#define SR_REQUIRES(...)    __attribute__((requires_capability(__VA_ARGS__)))
#define SR_EXCLUDES(...)    __attribute__((locks_excluded(__VA_ARGS__)))
#define SR_ACQUIRES(...)    __attribute__((acquire_capability(__VA_ARGS__)))
#define SR_RELEASES(...)    __attribute__((release_capability(__VA_ARGS__)))
#define SR_UNCHECKED        __attribute__((no_thread_safety_analysis))
#else
#define SR_CAPABILITY(name)
#define SR_GUARDED_BY(lock)
#define SR_REQUIRES(...)
#define SR_EXCLUDES(...)
#define SR_ACQUIRES(...)
#define SR_RELEASES(...)
#define SR_UNCHECKED
#endif

#endif
