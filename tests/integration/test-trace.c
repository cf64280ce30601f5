/* What reaches the kernel: a program that plays a role runs under strace, and its calls between two
 * marks are read. */
#include "util.h"

#include <sys/syscall.h>

#define BEGIN "/sockref-mark-begin"
#define END   "/sockref-mark-end"

static void mark(const char *name)
{
    syscall(SYS_faccessat, AT_FDCWD, name, F_OK);
}

/* Without a guard, which would be traced as well, at whatever it does meanwhile. */
static int listen_traced(const char *name, sockref **out_ref)
{
    return listen_with(name, SOCKREF_OPT_GUARD, 0, 0, 0, out_ref);
}

/* Questions about names that are known: a million of them. */
static int ask(const char *argument)
{
    uint64_t references, entries;
    sockref *ref, *found;
    char name[256];

    snprintf(name, sizeof name, "%s/s.sock", argument);
    if (listen_traced(name, &ref) < 0)
        return 3;
    mark(BEGIN);
    for (int i = 0; i < 100000; i++) {
        if (!sockref_is_active(ref) || !sockref_is_owner(ref) || sockref_fd(ref) < 0 ||
            sockref_reference_count(ref) != 1 || strcmp(sockref_path(ref), name) != 0 ||
            !sockref_registry_is_socket_active(NULL, name) ||
            sockref_registry_active_socket_count(NULL) != 1)
            return 4;
        sockref_live_counts(&references, &entries, NULL);
        if (references != 1 || entries != 1 ||
            sockref_registry_get_existing(NULL, name, &found) < 0)
            return 5;
        sockref_release(found);
    }
    mark(END);
    sockref_release(ref);
    return 0;
}

/* The holders of a name are told by its locks: the lock file is asked, but not looked for. */
static int ask_for_holders(const char *argument)
{
    char name[256];
    sockref *ref;

    snprintf(name, sizeof name, "%s/s.sock", argument);
    if (listen_traced(name, &ref) < 0)
        return 3;
    mark(BEGIN);
    for (int i = 0; i < 1000; i++)
        if (sockref_holder_count(ref) != 1)
            return 4;
    mark(END);
    sockref_release(ref);
    return 0;
}

static void never(int status, sockref *ref, void *user)
{
    (void)status, (void)ref, (void)user;
}

static int be_refused(const char *argument)
{
    static const char *const leaves[] = {"/../x", "/a/../x", "/x/", "/a\nb", "/.", "/.."};
    char names[16][512] = {"", "x", "./x", "@", "@a\nb", "/"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), count = 6;
    sockref *ref = NULL;

    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
        snprintf(names[count++], sizeof names[0], "%s%s", argument, leaves[i]);
    snprintf(names[count], sizeof names[0], "%s/", argument);
    memset(names[count] + strlen(names[count]), 'x', 200);
    count++;
    sockref_registry_is_socket_active(NULL, argument); /* the default registry is made */
    mark(BEGIN);
    for (int i = 0; i < count; i++) {
        if (sockref_registry_listen(NULL, names[i], NULL, &ref) != sockref_last_error()->status ||
            sockref_registry_start_listener(NULL, names[i], NULL, never, NULL) >= 0 ||
            sockref_registry_get_or_create(NULL, names[i], &ref) >= 0 ||
            sockref_registry_get_existing(NULL, names[i], &ref) >= 0 ||
            sockref_registry_register_new(NULL, names[i], fd, &ref) >= 0 ||
            sockref_registry_cleanup(NULL, names[i]) >= 0 ||
            sockref_registry_is_socket_active(NULL, names[i]))
            return 3;
    }
    mark(END);
    close(fd);
    return ref ? 4 : 0;
}

/* Run a role under strace. Returns how many calls stand between the marks, -1: there is no strace
 * that works. */
static int trace(const char *role, const char *calls, char *first, size_t size)
{
    const char *command[] = {"strace", "-f", "-qq", "-o", file("trace"), "-e", calls, NULL};
    bool begun = false, over = false;
    struct child child;
    char line[1024];
    int count = 0, status;
    FILE *lines;

    if (system("strace -qq -o /dev/null true >/dev/null 2>&1") != 0)
        return -1;
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* it can't trace where it is traced */
    child = spawn_with(command, role, directory);
    status = end_child(&child);
    unsetenv("ASAN_OPTIONS");
    ck_assert_msg(exited_well(status), "the traced program ended with %x", (unsigned)status);
    lines = fopen(file("trace"), "r");
    ck_assert_ptr_nonnull(lines);
    while (!over && fgets(line, sizeof line, lines)) {
        over = strstr(line, END) != NULL;
        /* A look at a descriptor of the caller's is none at a file. */
        if (begun && !over && !strstr(line, "AT_EMPTY_PATH") && !strstr(line, " fstat(") &&
            count++ == 0)
            snprintf(first, size, "%s", line);
        begun = begun || strstr(line, BEGIN);
    }
    fclose(lines);
    unlink(file("trace"));
    ck_assert_msg(begun && over, "the marks are not in the trace");
    return count;
}

START_TEST(g17_a_million_questions_touch_no_file)
{
    char first[1024] = "";
    int count = trace("ask", IS_SANITIZED ? "trace=%file,%network" : "trace=%file,%network,%desc",
                      first, sizeof first);

    if (count < 0)
        SKIP("no strace that works");
    ck_assert_msg(count == 0, "%d calls, the first: %s", count, first);
}
END_TEST

START_TEST(g17_a_count_of_holders_names_no_file)
{
    char first[1024] = "";
    int count = trace("ask-for-holders", "trace=%file,%network", first, sizeof first);

    if (count < 0)
        SKIP("no strace that works");
    ck_assert_msg(count == 0, "%d calls, the first: %s", count, first);
}
END_TEST

START_TEST(v4_d06_d31_a_refused_path_reaches_no_bind_nor_any_file)
{
    char first[1024] = "";
    int count = trace("be-refused", "trace=%file,%network,unlink,mkdir", first, sizeof first);

    if (count < 0)
        SKIP("no strace that works");
    ck_assert_msg(count == 0, "%d calls, the first: %s", count, first);
}
END_TEST

START_TEST(g17_questions_change_no_count)
{
    sockref *ref = start(NULL, path), *found;
    uint64_t references[2], entries[2];
    ino_t inode = inode_of(path);

    sockref_live_counts(&references[0], &entries[0], NULL);
    for (int i = 0; i < 100000; i++) {
        ck_assert(sockref_registry_is_socket_active(NULL, path));
        if (i % 100 == 0)
            ck_assert(!sockref_registry_is_socket_active(NULL, file("other")));
        sockref_registry_active_socket_count(NULL);
        sockref_is_active(ref);
        sockref_reference_count(ref);
    }
    ck_assert_int_eq(sockref_registry_get_existing(NULL, file("other"), &found), SOCKREF_ENOTFOUND);
    sockref_live_counts(&references[1], &entries[1], NULL);
    ck_assert_uint_eq(references[0], references[1]);
    ck_assert_uint_eq(entries[0], entries[1]);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(inode_of(path), inode);
    sockref_release(ref);
}
END_TEST

static const struct role roles[] = {
    {"ask", ask}, {"ask-for-holders", ask_for_holders}, {"be-refused", be_refused}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("trace");
    TCase *tcase = add_case(suite, "trace");

    tcase_add_test(tcase, g17_a_million_questions_touch_no_file);
    tcase_add_test(tcase, g17_a_count_of_holders_names_no_file);
    tcase_add_test(tcase, v4_d06_d31_a_refused_path_reaches_no_bind_nor_any_file);
    tcase_add_test(tcase, g17_questions_change_no_count);
    return run_suite(suite, argc, argv, roles);
}
