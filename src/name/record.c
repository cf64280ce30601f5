/*
 * The record in a lock file: SR_RECORD_SIZE bytes in the machine's own order, for a lock file never
 * leaves the machine. A check sum tells a whole one from what a full disk or a power cut left.
 */
#include "name/record.h"

#include "base/fd.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAGIC   "srlock\r\n"
#define VERSION 2u

/* What stands in the file. */
struct image {
    char magic[8];
    uint32_t version;
    uint32_t check;
    struct sr_record record;
    uint8_t reserved[SR_RECORD_SIZE - 16 - sizeof(struct sr_record)];
};

_Static_assert(sizeof(struct image) == SR_RECORD_SIZE, "the record has a fixed size");

/* The same for all processes, so without the seed of this one. */
static uint32_t check_sum(const struct image *image)
{
    return (uint32_t)sr_hash_bytes(VERSION, image, sizeof *image);
}

int sr_record_read(int fd, struct sr_record *out)
{
    struct image image;
    uint32_t check;
    ssize_t got;

    memset(out, 0, sizeof *out);
    do
        got = sr_sys.pread(fd, &image, sizeof image, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    if (got != (ssize_t)sizeof image || memcmp(image.magic, MAGIC, sizeof image.magic) != 0 ||
        image.version != VERSION)
        return 0;
    check = image.check;
    image.check = 0;
    if (check == check_sum(&image) && image.record.state <= SR_RECORD_LIVE)
        *out = image.record;
    out->program[sizeof out->program - 1] = '\0';
    return 0;
}

/* A write beyond that limit of the process would end it by SIGXFSZ. */
static bool may_write(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur >= SR_RECORD_SIZE;
}

int sr_record_write(int fd, const struct sr_record *record)
{
    struct image image;
    ssize_t put;

    if (!may_write())
        return -EFBIG;
    memset(&image, 0, sizeof image);
    memcpy(image.magic, MAGIC, sizeof image.magic);
    image.version = VERSION;
    image.record = *record;
    image.check = check_sum(&image);
    do
        put = sr_sys.pwrite(fd, &image, sizeof image, 0);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    return put == (ssize_t)sizeof image ? 0 : -ENOSPC;
}

static size_t read_file(const char *path, char *out, size_t size)
{
    int fd = sr_fd_open(AT_FDCWD, path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : sr_sys.read(fd, out, size - 1);

    sr_fd_close(fd < 0 ? -1 : fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

/*
 * When a process began, in ticks since the boot; 0 if that can't be told. Its first thread is
 * asked: qemu, where it emulates another processor, invents what a process reads in its own
 * /proc/PID/stat, and others would take it for dead.
 */
static uint64_t start_time_of(uint64_t pid)
{
    char path[64], text[512];
    const char *at;

    snprintf(path, sizeof path, "/proc/%llu/task/%llu/stat", (unsigned long long)pid,
             (unsigned long long)pid);
    if (read_file(path, text, sizeof text) == 0)
        return 0;
    at = strrchr(text, ')'); /* the second field is a name, with anything in it */
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at, ' ');
        if (at)
            at++;
    }
    return at ? strtoull(at, NULL, 10) : 0;
}

static void read_boot_id(uint8_t out[16])
{
    char text[64];
    unsigned nibbles = 0;

    read_file("/proc/sys/kernel/random/boot_id", text, sizeof text);
    memset(out, 0, 16);
    for (const char *at = text; *at && nibbles < 32; at++) {
        const char *digit = strchr("0123456789abcdef", *at);

        if (!digit)
            continue;
        out[nibbles / 2] = (uint8_t)(out[nibbles / 2] << 4 | (digit - "0123456789abcdef"));
        nibbles++;
    }
}

/* The number of a namespace of this process; 0: not told. */
static uint64_t namespace_of_self(const char *path)
{
    struct stat info;

    return sr_sys.fstatat(AT_FDCWD, path, &info, 0) == 0 ? info.st_ino : 0;
}

static void read_self(struct sr_record *out)
{
    memset(out, 0, sizeof *out);
    out->pid = (uint64_t)getpid();
    out->start_time = start_time_of(out->pid);
    out->pid_namespace = namespace_of_self("/proc/self/ns/pid");
    out->time_namespace = namespace_of_self("/proc/self/ns/time");
    read_boot_id(out->boot_id);
    read_file("/proc/self/comm", out->program, sizeof out->program);
    out->program[strcspn(out->program, "\n")] = '\0';
}

/* Another one each time, over all processes, from a random number of this one. */
static uint64_t draw_life(uint64_t random)
{
    static _Atomic uint64_t count;
    uint64_t life = random + atomic_fetch_add(&count, 1) * 0x9e3779b97f4a7c15u;

    life = (life ^ life >> 30) * 0xbf58476d1ce4e5b9u;
    life = (life ^ life >> 27) * 0x94d049bb133111ebu;
    return life ^ life >> 31;
}

/* What is the same for all names of a process is read once, by whoever comes first. */
static struct sr_record known;
static _Atomic uint64_t known_pid; /* a child that no fork handler saw has another one */
static atomic_flag writing = ATOMIC_FLAG_INIT;

void sr_record_of_self(struct sr_record *out)
{
    if (atomic_load_explicit(&known_pid, memory_order_acquire) == (uint64_t)getpid()) {
        *out = known;
        out->life = draw_life(known.life);
        return;
    }
    read_self(out);
    out->life = sr_random();
    if (atomic_load(&known_pid) == 0 && !atomic_flag_test_and_set(&writing)) {
        known = *out;
        atomic_store_explicit(&known_pid, out->pid, memory_order_release);
    }
}

/* Its number is not enough: a child may get that of an ancestor which has ended. */
void sr_record_after_fork(void)
{
    atomic_store(&known_pid, 0);
    atomic_flag_clear(&writing);
}

/* Whether they are of two boots; one that could not be read, as with systemd's ProcSubset=pid, is
 * none. */
static bool is_other_boot(const struct sr_record *a, const struct sr_record *b)
{
    static const uint8_t none[sizeof a->boot_id];

    return memcmp(a->boot_id, none, sizeof none) != 0 &&
           memcmp(b->boot_id, none, sizeof none) != 0 &&
           memcmp(a->boot_id, b->boot_id, sizeof none) != 0;
}

enum sr_record_match sr_record_match(const struct sr_record *record, int inode,
                                     const struct stat *info)
{
    uint64_t born = 0;
    struct stat same;

    if (record->state != SR_RECORD_LIVE || record->device != info->st_dev ||
        record->inode != info->st_ino)
        return SR_RECORD_OTHER;
    if (record->born_ns == 0 || sr_sys.birth(inode, "", &same, &born) < 0 || born == 0)
        return SR_RECORD_NUMBERS;
    return born == record->born_ns ? SR_RECORD_CERTAIN : SR_RECORD_OTHER;
}

bool sr_record_is_dead(const struct sr_record *record)
{
    struct sr_record self;
    uint64_t started;

    if (record->state == SR_RECORD_NONE || record->pid == 0 || record->start_time == 0)
        return false;
    sr_record_of_self(&self);
    if (is_other_boot(record, &self))
        return true; /* nothing lives longer than its boot */
    if (self.pid_namespace == 0 || record->pid_namespace != self.pid_namespace)
        return false;
    if (kill((pid_t)record->pid, 0) < 0 && errno == ESRCH)
        return true;
    if (record->time_namespace != self.time_namespace)
        return false;
    started = start_time_of(record->pid);
    return started != 0 && started != record->start_time;
}
