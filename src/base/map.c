/*
 * Large zeroed memory. LeakSanitizer takes what only mapped memory points to for lost, unless it is
 * told to look there; its functions are there only in a program that was built with it.
 */
#include "base/map.h"

#include "base/sys.h"

#include <sys/mman.h>

extern void __lsan_register_root_region(const void *begin, size_t size) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *begin, size_t size) __attribute__((weak));

void *sr_map_new(size_t size)
{
    void *memory = sr_sys.mmap(size);

    if (memory == MAP_FAILED)
        return NULL;
    if (__lsan_register_root_region)
        __lsan_register_root_region(memory, size);
    return memory;
}

void sr_map_free(void *memory, size_t size)
{
    if (__lsan_unregister_root_region)
        __lsan_unregister_root_region(memory, size);
    munmap(memory, size);
}
