/* Compiler attributes, and clang's thread-safety annotations (empty elsewhere). */
#ifndef SR_BASE_ATTR_H
#define SR_BASE_ATTR_H

#define SR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define SR_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define SR_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define SR_CACHE_LINE          64
#define SR_COLD                __attribute__((cold, noinline))
#define SR_HOT                 __attribute__((aligned(SR_CACHE_LINE))) /* begins a cache line */

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
