/* Files, descriptors and threads: what is there, and how many. */
#ifndef TEST_FILES_H
#define TEST_FILES_H

#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static inline int count_entries(const char *name)
{
    DIR *stream = opendir(name);
    struct dirent *item;
    int count = 0;

    if (!stream)
        return -1;
    while ((item = readdir(stream)))
        count += item->d_name[0] != '.' || (item->d_name[1] && item->d_name[1] != '.');
    closedir(stream);
    return count;
}

static inline int count_fds(void)
{
    return count_entries("/proc/self/fd") - 1; /* without the one that looks */
}

static inline int count_threads(void)
{
    return count_entries("/proc/self/task");
}

static inline bool exists(const char *name)
{
    struct stat info;

    return lstat(name, &info) == 0;
}

static inline bool is_socket(const char *name)
{
    struct stat info;

    return lstat(name, &info) == 0 && S_ISSOCK(info.st_mode);
}

static inline unsigned mode_of(const char *name)
{
    struct stat info;

    ck_assert_int_eq(lstat(name, &info), 0);
    return info.st_mode & 07777;
}

static inline ino_t inode_of(const char *name)
{
    struct stat info;

    ck_assert_int_eq(lstat(name, &info), 0);
    return info.st_ino;
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static inline bool file_holds(const char *name, const char *text)
{
    char found[256] = "";
    FILE *file = fopen(name, "r");
    size_t length;

    if (!file)
        return false;
    length = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    return length == strlen(text) && memcmp(found, text, length) == 0;
}

static int sockets_found __attribute__((unused)), beside_found __attribute__((unused));

/* Lock files and control sockets, which stand beside a shared socket. */
static inline bool is_beside(const char *leaf)
{
    size_t length = strlen(leaf);

    return leaf[0] == '.' && length > 7 &&
           (strcmp(leaf + length - 7, ".srlock") == 0 || strcmp(leaf + length - 6, ".srctl") == 0);
}

static inline int note_socket(const char *name, const struct stat *info, int type, struct FTW *at)
{
    (void)type;
    if (is_beside(name + at->base))
        beside_found++;
    else
        sockets_found += S_ISSOCK(info->st_mode);
    return 0;
}

static inline int count_beside(const char *name)
{
    beside_found = 0;
    nftw(name, note_socket, 8, FTW_PHYS);
    return beside_found;
}

static inline int count_sockets(const char *name)
{
    sockets_found = 0;
    nftw(name, note_socket, 8, FTW_PHYS);
    return sockets_found;
}

static inline int remove_one(const char *name, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(name);
}

#endif
