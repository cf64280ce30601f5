/* The program sockref, as it was built: what it prints, its exit statuses, and that a look changes
 * nothing. */
#include "util.h"

#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define MOST_PRINTED 8192

static char printed[MOST_PRINTED], complained[MOST_PRINTED];

static void read_all(int fd, char *out)
{
    size_t length = 0;
    ssize_t got;

    while ((got = read(fd, out + length, MOST_PRINTED - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    close(fd);
}

/* In the child: become the program. */
static void become(const char *const *words)
{
    char program[4096];
    const char *argv[16];
    int argc = 0;

    snprintf(program, sizeof program, "%s/src/cli/sockref", getenv("top_builddir"));
    argv[argc++] = program; /* messages begin with its name alone */
    while (*words)
        argv[argc++] = *words++;
    argv[argc] = NULL;
    execv(program, (char *const *)argv);
    _exit(127);
}

/* Run it; what it prints goes to a pipe, or to a terminal. Returns its exit status. */
static int run_to(int out_read, int out_write, const char *const *words)
{
    int errors[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe2(errors, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(out_write, STDOUT_FILENO);
        dup2(errors[1], STDERR_FILENO);
        become(words);
    }
    close(out_write);
    close(errors[1]);
    read_all(out_read, printed);
    read_all(errors[0], complained);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "it ended with %x: %s", (unsigned)status, complained);
    return WEXITSTATUS(status);
}

static int run(const char *const *words)
{
    int pair[2];

    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    return run_to(pair[0], pair[1], words);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void assert_printed(const char *expected)
{
    ck_assert_str_eq(printed, expected);
    ck_assert_str_eq(complained, "");
}

static void assert_complained(const char *part)
{
    ck_assert_msg(strncmp(complained, "sockref: ", 9) == 0 && strstr(complained, part),
                  "\"%s\" is not in \"%s\"", part, complained);
}

static const char *user(void)
{
    const struct passwd *entry = getpwuid(geteuid());

    ck_assert_ptr_nonnull(entry);
    return entry->pw_name;
}

/* ---- roles ---- */

static int own(const char *name)
{
    sockref *ref;

    if (listen_with(name, SOCKREF_OPT_GUARD, 0, 0, 0, &ref) < 0)
        return 3;
    say('o');
    hear();
    sockref_release(ref);
    return 0;
}

static const struct role roles[] = {{"own", own}, {NULL, NULL}};

/* What a killed process left that had no guard. */
static pid_t leave_stale(const char *name)
{
    struct child child = spawn("own", name);

    ck_assert_int_eq(hear_from(child.talk), 'o');
    kill(child.pid, SIGKILL);
    end_child(&child);
    ck_assert(is_socket(name));
    return child.pid;
}

/* ---- status ---- */

START_TEST(a_live_name_is_told_in_tabs)
{
    struct child owner = spawn("own", path), joiner;
    char expected[512];

    ck_assert_int_eq(hear_from(owner.talk), 'o');
    joiner = spawn("own", path);
    ck_assert_int_eq(hear_from(joiner.talk), 'o');
    ck_assert_int_eq(RUN("status", path), 0);
    snprintf(expected, sizeof expected, "%s\tlive\t%d\texe\t%s\t2\t-\n", path, (int)owner.pid,
             user());
    assert_printed(expected);
    say_to(joiner.talk, '.');
    ck_assert(exited_well(end_child(&joiner)));
    say_to(owner.talk, '.');
    ck_assert(exited_well(end_child(&owner)));
    ck_assert_int_eq(RUN("status", path), 1);
    snprintf(expected, sizeof expected, "%s\tabsent\t-\t-\t-\t-\t-\n", path);
    assert_printed(expected);
}
END_TEST

START_TEST(the_exit_status_is_that_of_the_worst)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    ck_assert_int_eq(RUN("status", path, path), 0);
    ck_assert_int_eq(RUN("status", path, file("none")), 1);
    ck_assert_int_eq(RUN("status", path, "tcp:127.0.0.1:1"), 2);
    assert_complained("tcp:127.0.0.1:1: ");
    ck_assert_ptr_nonnull(strstr(printed, "\tlive\t")); /* the others are told all the same */
    ck_assert_int_eq(RUN("status", "tcp:127.0.0.1:1", file("none"), path), 2);
    ck_assert_int_eq(RUN("status", "../x"), 2);
    assert_complained("../x: ");
    sockref_release(ref);
}
END_TEST

START_TEST(a_socket_without_sharing_is_live_too)
{
    sockref *ref;

    ck_assert_int_eq(listen_with(path, SOCKREF_OPT_SHARE, 0, 0, 0, &ref), 0);
    ck_assert_int_eq(RUN("status", path), 0);
    ck_assert_ptr_nonnull(strstr(printed, "\tunshared\t-\t-\t"));
    ck_assert_ptr_nonnull(strstr(printed, "\tlive: "));
    sockref_release(ref);
}
END_TEST

START_TEST(a_relative_path_is_one_of_the_working_directory)
{
    char here[4096];
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(RUN("status", "s.sock"), 0);
    ck_assert_int_eq(strncmp(printed, "s.sock\tlive\t", 12), 0);
    ck_assert_int_eq(RUN("list", "."), 0);
    ck_assert_int_eq(strncmp(printed, "./s.sock\tlive\t", 14), 0);
    ck_assert_int_eq(chdir(here), 0);
    sockref_release(ref);
}
END_TEST

START_TEST(a_working_directory_that_is_gone_is_told)
{
    char here[4096];

    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(mkdir(file("gone"), 0700) | chdir(file("gone")) | rmdir(file("gone")), 0);
    ck_assert_int_eq(RUN("status", "s.sock", "@none"), 2);
    assert_complained("s.sock: the working directory");
    ck_assert_ptr_nonnull(strstr(printed, "@none\tabsent\t"));
    ck_assert_int_eq(RUN("list", "."), 2);
    assert_complained(".: the working directory");
    ck_assert_int_eq(RUN("sweep", "x"), 2);
    assert_complained("x: the working directory");
    ck_assert_int_eq(chdir(here), 0);
}
END_TEST

START_TEST(json_tells_it_all)
{
    pid_t pid = leave_stale(path);
    char expected[1024];
    sockref *ref;

    ck_assert_int_eq(RUN("--json", "status", path, file("none")), 1);
    snprintf(expected, sizeof expected,
             "{\"path\": \"%s\", \"state\": \"stale\", \"bound\": false, \"pid\": %d, \"program\": "
             "\"exe\", \"user\": \"%s\", \"uid\": %u, \"holders\": 0, \"note\": null}\n"
             "{\"path\": \"%s\", \"state\": \"absent\", \"bound\": false, \"pid\": null, "
             "\"program\": null, \"user\": null, \"uid\": null, \"holders\": null, \"note\": "
             "null}\n",
             path, (int)pid, user(), (unsigned)geteuid(), file("none"));
    assert_printed(expected);
    ck_assert_int_eq(RUN("sweep", "--json", directory), 0);
    snprintf(expected, sizeof expected, "{\"directory\": \"%s\", \"removed\": 1}\n", directory);
    assert_printed(expected);
    ck_assert_int_eq(listen_with(path, SOCKREF_OPT_SHARE, 0, 0, 0, &ref), 0);
    ck_assert_int_eq(RUN("list", "--json", directory), 0);
    snprintf(expected, sizeof expected,
             "{\"path\": \"%s\", \"state\": \"unshared\", \"bound\": true, ", path);
    ck_assert_int_eq(strncmp(printed, expected, strlen(expected)), 0);
    sockref_release(ref);
}
END_TEST

/* A quote, a backslash, a byte that is no UTF-8, a letter that is, and one of the controls that
 * terminals obey. */
#define ODD "q\"\\\377\303\244\302\233.sock"

START_TEST(any_byte_of_a_path_can_be_read_back)
{
    char expected[512];

    write_file(file(ODD), "");
    ck_assert_int_eq(RUN("status", file(ODD)), 1);
    snprintf(expected, sizeof expected,
             "%s/q\"\\\\\\377\303\244\\302\\233.sock\tforeign\t-\t-\t%s\t-\ta file stands at the "
             "path\n",
             directory, user());
    assert_printed(expected);
    ck_assert_int_eq(RUN("status", "--json", file(ODD)), 1);
    snprintf(expected, sizeof expected,
             "{\"path\": \"%s/q\\\"\\\\\\udcff\303\244\302\233.sock\", \"state\": \"foreign\", ",
             directory);
    ck_assert_int_eq(strncmp(printed, expected, strlen(expected)), 0);
    ck_assert_int_eq(RUN("status", "/bad\nname"), 2);
    assert_complained("/bad\\012name: ");
    ck_assert_int_eq(RUN("list", file(ODD)), 2); /* the message has it too */
    ck_assert_ptr_null(strpbrk(complained, "\377\233"));
    unlink(file(ODD));
}
END_TEST

/* A master and a slave that is wide enough. */
static int open_terminal(int *out_slave)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        return -1;
    *out_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return *out_slave < 0 ? -1 : master;
}

START_TEST(on_a_terminal_columns_have_a_header)
{
    int slave, master = open_terminal(&slave), width = (int)strlen(path);
    const char *words[] = {"status", path, "@no-such-name", NULL};
    char expected[1024];

    if (master < 0)
        SKIP("there are no terminals");
    ck_assert_int_eq(run_to(master, slave, words), 1);
    snprintf(expected, sizeof expected,
             "%-*s  STATE   PID  PROGRAM  USER  HOLDERS  NOTE\r\n"
             "%s  absent  -    -        -     -        -\r\n"
             "%-*s  absent  -    -        -     -        -\r\n",
             width, "PATH", path, width, "@no-such-name");
    assert_printed(expected);
}
END_TEST

/* More than there was room for at first, and a directory with slashes at its end. */
START_TEST(a_long_list_is_told_in_columns_too)
{
    int slave, master = open_terminal(&slave);
    char *line, expected[256], many[256];
    const char *words[] = {"list", many, NULL};

    if (master < 0)
        SKIP("there are no terminals");
    snprintf(many, sizeof many, "%s/many//", directory);
    ck_assert_int_eq(mkdir(file("many"), 0700), 0);
    for (int i = 0; i < 40; i++) {
        snprintf(expected, sizeof expected, "many/%02d", i);
        close(bind_plain(file(expected)));
    }
    ck_assert_int_eq(run_to(master, slave, words), 0);
    line = strtok(printed, "\r\n");
    for (int i = 0; i < 40; i++) {
        line = strtok(NULL, "\r\n");
        snprintf(expected, sizeof expected, "%s/many/%02d  unshared  ", directory, i);
        ck_assert_msg(line && strncmp(line, expected, strlen(expected)) == 0, "line %d: %s", i,
                      line ? line : "none");
        line[strcspn(line, " ")] = '\0';
        ck_assert_int_eq(unlink(line), 0);
    }
    ck_assert_int_eq(rmdir(file("many")), 0);
}
END_TEST

/* ---- a look changes nothing ---- */

/* Each file's number, mode, size and times, and what the lock file holds. */
static void take_snapshot(char *out, size_t size)
{
    const char *const names[] = {".", "s.sock", ".s.sock.srlock", ".s.sock.srctl"};
    char bytes[256];
    size_t length = 0;
    ssize_t got;
    int fd;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct stat info;

        ck_assert_int_eq(lstat(file(names[i]), &info), 0);
        length += (size_t)snprintf(
            out + length, size - length, "%lu %o %ld %ld.%ld %ld.%ld\n", (unsigned long)info.st_ino,
            (unsigned)info.st_mode, (long)info.st_size, (long)info.st_mtim.tv_sec,
            info.st_mtim.tv_nsec, (long)info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
    }
    fd = open(file(".s.sock.srlock"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    got = read(fd, bytes, sizeof bytes);
    close(fd);
    ck_assert_int_gt(got, 0);
    for (ssize_t i = 0; i < got; i++)
        length += (size_t)snprintf(out + length, size - length, "%02x", (unsigned char)bytes[i]);
    length += (size_t)snprintf(out + length, size - length, "\n%d", count_entries(directory));
    ck_assert_uint_lt(length, size);
}

START_TEST(status_and_list_change_nothing)
{
    char before_it[2048], after_it[2048];
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    take_snapshot(before_it, sizeof before_it);
    for (int i = 0; i < (IS_BRIEF ? 10 : 100); i++) {
        ck_assert_int_eq(RUN("status", path, path, path, path, path, path, path, path, path), 0);
        ck_assert_int_eq(RUN("list", directory), 0);
    }
    take_snapshot(after_it, sizeof after_it);
    ck_assert_str_eq(before_it, after_it);
    ck_assert_int_eq(accept(sockref_fd(ref), NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN); /* of a thousand looks none was a client */
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(ref);
}
END_TEST

/* ---- directories ---- */

START_TEST(a_list_is_sorted_and_a_sweep_removes_what_is_stale)
{
    char expected[1024], program[16];
    pid_t pid = leave_stale(path);
    int foreign = bind_plain(file("foreign"));
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, file("a.sock"), NULL, &ref), 0);
    prctl(PR_GET_NAME, program);
    ck_assert_int_eq(RUN("list", directory), 0);
    snprintf(expected, sizeof expected,
             "%s/a.sock\tlive\t%d\t%s\t%s\t1\t-\n"
             "%s/foreign\tunshared\t-\t-\t%s\t-\tlive: somebody has the socket\n"
             "%s\tstale\t%d\texe\t%s\t0\t-\n",
             directory, (int)getpid(), program, user(), directory, user(), path, (int)pid, user());
    assert_printed(expected);
    ck_assert_int_eq(RUN("sweep", directory), 0);
    assert_printed("1\n");
    ck_assert(!exists(path) && is_socket(file("a.sock")) && is_socket(file("foreign")));
    ck_assert_int_eq(RUN("sweep", directory), 0);
    assert_printed("0\n");
    close(foreign);
    unlink(file("foreign"));
    sockref_release(ref);
}
END_TEST

START_TEST(the_default_directory_is_looked_for_and_not_made)
{
    sockref *ref;

    setenv("SOCKREF_DIR", file("default"), 1);
    ck_assert_int_eq(RUN("list"), 0);
    assert_printed("");
    ck_assert_int_eq(RUN("sweep"), 0);
    assert_printed("0\n");
    ck_assert(!exists(file("default")));
    ck_assert_int_eq(mkdir(file("default"), 0700), 0);
    ck_assert_int_eq(sockref_registry_listen(NULL, file("default/x.sock"), NULL, &ref), 0);
    ck_assert_int_eq(RUN("list"), 0);
    ck_assert_int_eq(strncmp(printed, file("default/x.sock"), strlen(file("default/x.sock"))), 0);
    sockref_release(ref);
    ck_assert_int_eq(rmdir(file("default")), 0);
    unsetenv("SOCKREF_DIR");
}
END_TEST

/* ---- use ---- */

START_TEST(wrong_use_is_told)
{
    static const char *const wrong[][4] = {
        {NULL},
        {"status", NULL},
        {"nonsense", NULL},
        {"--nonsense"},
        {"list", "/tmp", "/tmp"},
        {"sweep", "/tmp", "/tmp"},
        {"list", "/no/such"},
        {"sweep", "/no/such"},
        {"list", "/tmp/../tmp"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(run(wrong[i]), 2);
        ck_assert_str_eq(printed, "");
        assert_complained("");
    }
}
END_TEST

START_TEST(help_and_version_are_told)
{
    char expected[64];

    ck_assert_int_eq(RUN("--help"), 0);
    ck_assert_int_eq(strncmp(printed, "Usage: sockref status", 21), 0);
    ck_assert_int_eq(RUN("--version"), 0);
    snprintf(expected, sizeof expected, "sockref %s\n", sockref_version());
    assert_printed(expected);
}
END_TEST

START_TEST(what_can_not_be_printed_is_an_error)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC),
        nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const char *words[][3] = {{"status", path, NULL}, {"--help", NULL}, {"--version", NULL}};

    if (full < 0)
        SKIP("there is no /dev/full");
    ck_assert_int_eq(run_to(nothing, full, words[_i]), 2);
    assert_complained("output");
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("command");
    TCase *tcase = add_case(suite, "command");

    tcase_add_test(tcase, a_live_name_is_told_in_tabs);
    tcase_add_test(tcase, the_exit_status_is_that_of_the_worst);
    tcase_add_test(tcase, a_socket_without_sharing_is_live_too);
    tcase_add_test(tcase, a_relative_path_is_one_of_the_working_directory);
    tcase_add_test(tcase, a_working_directory_that_is_gone_is_told);
    tcase_add_test(tcase, json_tells_it_all);
    tcase_add_test(tcase, any_byte_of_a_path_can_be_read_back);
    tcase_add_test(tcase, on_a_terminal_columns_have_a_header);
    tcase_add_test(tcase, a_long_list_is_told_in_columns_too);
    tcase_add_test(tcase, status_and_list_change_nothing);
    tcase_add_test(tcase, a_list_is_sorted_and_a_sweep_removes_what_is_stale);
    tcase_add_test(tcase, the_default_directory_is_looked_for_and_not_made);
    tcase_add_test(tcase, wrong_use_is_told);
    tcase_add_test(tcase, help_and_version_are_told);
    tcase_add_loop_test(tcase, what_can_not_be_printed_is_an_error, 0, 3);
    return run_suite(suite, argc, argv, roles);
}
