/* Functions of the programs, by the symbol tables of their files: static ones are nowhere else. */
#include "torture/crash.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct function {
    uint64_t from, to;
    const char *name;
};

static struct {
    struct function *functions; /* sorted */
    size_t count;
} programs[CRASH_IMAGES];

/* All of base/fd.c is thin as well. */
static const char *const thin_names[] = {
    "noted",
    "noted_pair",
    "lock_range",
    "sr_lockfile_take",
    "take_range",
    "take_to_own",
    "sr_lockfile_free",
    "sr_record_read",
    "sr_record_write",
    "sr_thread_start",
    "sr_lockfile_close",
    "sr_lockfile_leave",
    "sr_lockfile_reenter",
    "sr_lockfile_reenter_alone",
    "rename_own",
};

static int compare(const void *a, const void *b)
{
    uint64_t first = ((const struct function *)a)->from,
             second = ((const struct function *)b)->from;

    return first < second ? -1 : first > second;
}

static const Elf64_Shdr *find_section(const char *file, uint32_t type)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)file;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(file + header->e_shoff);

    for (int i = 0; i < header->e_shnum; i++)
        if (sections[i].sh_type == type)
            return &sections[i];
    return NULL;
}

static uint64_t find_base(const char *file)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)file;
    const Elf64_Phdr *parts = (const Elf64_Phdr *)(file + header->e_phoff);

    for (int i = 0; i < header->e_phnum; i++)
        if (parts[i].p_type == PT_LOAD)
            return parts[i].p_vaddr;
    return 0;
}

static const char *map_program(const char *program)
{
    int fd = open(program, O_RDONLY | O_CLOEXEC);
    struct stat info;
    void *file = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &info) == 0)
        file = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    return file == MAP_FAILED || memcmp(file, ELFMAG, SELFMAG) != 0 ||
                   ((const Elf64_Ehdr *)file)->e_ident[EI_CLASS] != ELFCLASS64
               ? NULL
               : file;
}

/* Compilers name the special version of a function NAME.something. */
static bool is_named(const char *symbol, const char *name)
{
    size_t length = strlen(name);

    return strncmp(symbol, name, length) == 0 && (symbol[length] == '\0' || symbol[length] == '.');
}

static bool is_thin(const char *name)
{
    if (strncmp(name, "sr_fd_", 6) == 0)
        return true;
    for (size_t i = 0; i < sizeof thin_names / sizeof *thin_names; i++)
        if (is_named(name, thin_names[i]))
            return true;
    return false;
}

static void note(enum crash_image image, const struct function *function, unsigned *inout_thin)
{
    struct crash_range range = {function->from, function->to};

    if (is_thin(function->name) && *inout_thin < CRASH_THIN)
        crash_table->thin[image][(*inout_thin)++] = range;
    for (int i = 0; i < FUNCTIONS; i++)
        if (is_named(function->name, crash_function_names[i]))
            crash_table->functions[image][i] = range;
}

const char *symbols_load(enum crash_image image, const char *program)
{
    const char *file = map_program(program), *names;
    const Elf64_Shdr *section;
    const Elf64_Sym *symbols;
    unsigned thin = 0;
    uint64_t base;

    if (!file)
        return "is not a 64 bit ELF file";
    section = find_section(file, SHT_SYMTAB);
    if (!section)
        return "has no symbols";
    base = find_base(file);
    symbols = (const Elf64_Sym *)(file + section->sh_offset);
    names =
        file + ((const Elf64_Shdr *)(file + ((const Elf64_Ehdr *)file)->e_shoff))[section->sh_link]
                   .sh_offset;
    programs[image].functions = calloc(section->sh_size / sizeof *symbols, sizeof(struct function));
    for (size_t i = 0; i < section->sh_size / sizeof *symbols; i++) {
        struct function *function = &programs[image].functions[programs[image].count];

        if (ELF64_ST_TYPE(symbols[i].st_info) != STT_FUNC || symbols[i].st_size == 0)
            continue;
        *function = (struct function){symbols[i].st_value - base,
                                      symbols[i].st_value - base + symbols[i].st_size,
                                      names + symbols[i].st_name};
        note(image, function, &thin);
        programs[image].count++;
    }
    qsort(programs[image].functions, programs[image].count, sizeof(struct function), compare);
    return thin < 8 || thin == CRASH_THIN ? "does not have the functions that it should have"
                                          : NULL;
}

const char *symbols_find(enum crash_image image, uint64_t address, uint64_t *out_distance)
{
    const struct function *functions = programs[image].functions;
    size_t low = 0, high = programs[image].count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (functions[middle].to <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == programs[image].count || functions[low].from > address) {
        *out_distance = address;
        return "?";
    }
    *out_distance = address - functions[low].from;
    return functions[low].name;
}
