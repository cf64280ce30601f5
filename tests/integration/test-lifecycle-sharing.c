/* Life-cycle scenarios: one name in several processes. tests/lifecycle.md has the list. */
#include "holder.h"

#define CROWD (IS_SANITIZED ? 6 : 16)

static bool is_empty(void)
{
    return count_entries(directory) == 0;
}

/* The message of the last error has it. */
static bool message_has(const char *text)
{
    return strstr(sockref_last_error()->message, text) != NULL;
}

/* A client is served, by whatever process. */
static void check_echo(const char *name)
{
    int fd = dial(name);

    say_to(fd, 'x');
    ck_assert_int_eq(hear_from(fd), 'x');
    close(fd);
}

START_TEST(L46_two_processes_start_one_path)
{
    struct child owner = spawn_holder_of(path), joiner = spawn_holder_of(path);
    sockref *ref;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ck_assert_int_eq(ask_number(&owner, HOLDERS), 1);
    ck_assert_int_eq(tell(&joiner, START), JOINED);
    ck_assert_int_eq(ask_number(&owner, HOLDERS), 2);
    ck_assert_int_eq(ask_number(&joiner, HOLDERS), 2);
    ck_assert_int_eq(count_sockets(directory), 1);
    ref = start(NULL, path); /* and a third, from here */
    ck_assert(sockref_is_active(ref) && !sockref_is_owner(ref));
    ck_assert_int_eq(sockref_fd(ref), -1);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(sockref_holder_count(ref), 3);
    ck_assert_int_eq(tell(&owner, SERVE), DONE);
    check_echo(path);
    sockref_release(ref);
    end_in_order(&joiner);
    ck_assert_int_eq(ask_number(&owner, HOLDERS), 1);
    check_echo(path);
    end_in_order(&owner);
    ck_assert(is_empty());
}
END_TEST

START_TEST(L47_owner_is_killed_while_another_process_holds_the_path)
{
    struct child owner = spawn_holder_of(path), joiner = spawn_holder_of(path);
    static atomic_uint events;
    sockref *ref, *again;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ck_assert_int_eq(tell(&joiner, START), JOINED);
    ref = start(NULL, path);
    ck_assert_int_eq(sockref_set_watch(ref, collect_events, &events, NULL), 0);
    kill_child(&owner);
    WAIT_UNTIL(HEARD(events, SOCKREF_WATCH_LOST));
    ck_assert(!HEARD(events, SOCKREF_WATCH_OWNER));
    ck_assert(!sockref_is_active(ref) && !sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_int_eq(tell(&joiner, AWAIT_LOST), DONE);
    ck_assert_int_eq(tell(&joiner, IS_ACTIVE), FAILED);
    /* One call of each, and it goes on. */
    again = start(NULL, path);
    ck_assert(sockref_is_owner(again));
    ck_assert_int_eq(tell(&joiner, START), JOINED);
    ck_assert(is_in_use_at(again, path));
    ck_assert_uint_eq(sockref_holder_count(again), 2);
    sockref_release(ref); /* of the life that was lost */
    ck_assert(is_in_use_at(again, path));
    ck_assert_int_eq(tell(&joiner, RELEASE), DONE);
    sockref_release(again);
    ck_assert(is_empty());
    end_in_order(&joiner);
}
END_TEST

START_TEST(L48_only_holder_is_killed)
{
    struct child child = spawn_holder_of(path);

    ck_assert_int_eq(tell(&child, START), OWNED);
    if (_i)
        ck_assert_int_eq(tell(&child, SERVE), DONE);
    ck_assert_int_eq(count_sockets(directory), 1);
    ck_assert_int_eq(count_beside(directory), 2);
    kill_child(&child);
    WAIT_UNTIL(is_empty());
}
END_TEST

/* In what way the owner ends its last reference. */
static void let_go(struct child *owner, int way)
{
    if (way == 0)
        ck_assert_int_eq(tell(owner, RELEASE), DONE);
    else
        end_in_order(owner);
}

START_TEST(L49_owner_that_does_not_serve_ends_its_last_reference)
{
    struct child owner = spawn_holder_of(path);
    static atomic_uint events;
    struct dialler dialler;
    sockref *ref;
    int early, fd;
    ino_t inode;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ref = start(NULL, path);
    ck_assert_int_eq(sockref_set_watch(ref, collect_events, &events, NULL), 0);
    inode = inode_of(path);
    early = dial(path); /* it waits in the queue */
    say_to(early, 'e');
    begin_dialling(&dialler, path);
    let_go(&owner, _i);
    WAIT_UNTIL(HEARD(events, SOCKREF_WATCH_OWNER));
    ck_assert(sockref_is_active(ref) && sockref_is_owner(ref));
    end_dialling(&dialler);
    ck_assert(!HEARD(events, SOCKREF_WATCH_LOST));
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    fd = accept(sockref_fd(ref), NULL, NULL); /* the one that came first */
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(hear_from(fd), 'e');
    close(fd);
    close(early);
    sockref_release(ref);
    WAIT_UNTIL(is_empty()); /* its last owner may have the lock for a moment yet */
    if (_i == 0)
        end_in_order(&owner);
}
END_TEST

START_TEST(L50_owner_that_serves_ends_its_last_reference)
{
    struct child owner = spawn_holder_of(path);
    struct dialler dialler;
    sockref *ref;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ck_assert_int_eq(tell(&owner, SERVE), DONE);
    ref = start(NULL, path);
    begin_dialling(&dialler, path);
    ck_assert_int_eq(tell(&owner, RELEASE), DONE);
    check_echo(path);
    end_dialling(&dialler);
    ck_assert(sockref_is_active(ref) && !sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(ref);
    WAIT_UNTIL(is_empty()); /* the owner's process lives on, and holds nothing */
    ck_assert_int_eq(tell(&owner, START), OWNED);
    end_in_order(&owner);
    ck_assert(is_empty());
}
END_TEST

START_TEST(L51_exclusive_start_on_a_path_that_another_process_owns)
{
    struct child owner = spawn_holder_of(path);
    sockref *ref = NULL;
    char pid[32];
    ino_t inode;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    inode = inode_of(path);
    snprintf(pid, sizeof pid, "process %d ", (int)owner.pid);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &ref), SOCKREF_EBUSY);
    ck_assert_ptr_null(ref);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_EBUSY);
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert_msg(message_has(pid), "%s", sockref_last_error()->message);
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert_int_eq(ask_number(&owner, HOLDERS), 1);
    ck_assert_int_eq(tell(&owner, IS_OWNER), DONE);
    ck_assert_int_eq(tell(&owner, SERVE), DONE);
    check_echo(path);
    end_in_order(&owner);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &ref), 0);
    sockref_release(ref);
}
END_TEST

START_TEST(L52_share_0)
{
    struct child other = spawn_holder_of(path);
    sockref *ref = start_with(NULL, path, SOCKREF_OPT_SHARE, 0);
    int outcome;

    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert_int_eq(count_entries(directory), 1);
    ck_assert_int_eq(tell(&other, START_ALONE), BUSY);
    outcome = tell(&other, START); /* nothing tells it whose socket that is */
    ck_assert(outcome == BUSY || outcome == FOREIGN);
    ck_assert_int_eq(count_entries(directory), 1);
    ck_assert(is_in_use_at(ref, path));
    sockref_release(ref);
    ck_assert(is_empty());
    /* The other way round, and with a name that is shared. */
    ck_assert_int_eq(tell(&other, START_ALONE), OWNED);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_SHARE, 0, &ref), SOCKREF_EBUSY);
    ck_assert_int_eq(tell(&other, RELEASE), DONE);
    ck_assert(is_empty());
    ck_assert_int_eq(tell(&other, START), OWNED);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_SHARE, 0, &ref), SOCKREF_EBUSY);
    ck_assert_int_eq(tell(&other, SERVE), DONE);
    check_echo(path);
    ck_assert_int_eq(tell(&other, RELEASE), DONE);
    /* The guard removes it all the same. */
    ck_assert_int_eq(tell(&other, START_ALONE), OWNED);
    kill_child(&other);
    WAIT_UNTIL(is_empty());
}
END_TEST

static void open_crowd(struct child *crowd, int count)
{
    char number[16];
    int gate[2];

    ck_assert_int_eq(pipe(gate), 0);
    fcntl(gate[1], F_SETFD, FD_CLOEXEC);
    snprintf(number, sizeof number, "%d", gate[0]);
    setenv("SOCKREF_TEST_GATE", number, 1);
    for (int i = 0; i < count; i++)
        crowd[i] = spawn_holder_of(path);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(tell(&crowd[i], START_AT_GATE), READY);
    close(gate[1]);
    close(gate[0]);
}

START_TEST(L53_many_processes_start_one_path_at_one_moment)
{
    struct child crowd[CROWD];
    int owner = -1;

    open_crowd(crowd, CROWD);
    for (int i = 0; i < CROWD; i++) {
        int outcome = hear_from(crowd[i].talk);

        ck_assert_msg(outcome == JOINED || (outcome == OWNED && owner < 0), "%d: %c, owner: %d", i,
                      outcome, owner);
        if (outcome == OWNED)
            owner = i;
    }
    ck_assert_int_ge(owner, 0);
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(ask_number(&crowd[i], HOLDERS), CROWD);
    ck_assert(is_connectable(path));
    /* Half of them end by SIGKILL, in one round the owner among them, before or after the others.
     */
    for (int i = 0; i < CROWD; i++)
        if (i % 2 == (owner + _i) % 2)
            kill_child(&crowd[i]);
    for (int i = 0; i < CROWD; i++)
        if (i % 2 != (owner + _i) % 2)
            end_in_order(&crowd[i]);
    WAIT_UNTIL(is_empty());
}
END_TEST

START_TEST(L54_start_that_asks_for_a_narrower_mode)
{
    struct child owner = spawn_holder_of(path);
    sockref *ref = NULL, *wide;

    ck_assert_int_eq(tell(&owner, START_WIDE), OWNED);
    ck_assert_uint_eq(mode_of(path), 0660);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_MODE, 0600, &ref), SOCKREF_EBUSY);
    ck_assert_ptr_null(ref);
    ck_assert_msg(message_has("0660") && message_has("0600"), "%s", sockref_last_error()->message);
    ck_assert_uint_eq(mode_of(path), 0660);
    /* Who asks for no mode, or for one that lets in as many, joins. */
    ref = start(NULL, path);
    wide = start_with(NULL, path, SOCKREF_OPT_MODE, 0666);
    ck_assert_ptr_eq(ref, wide);
    sockref_release(ref);
    sockref_release(wide);
    ref = start_with(NULL, path, SOCKREF_OPT_MODE, 0660);
    ck_assert(!sockref_is_owner(ref));
    ck_assert_uint_eq(mode_of(path), 0660);
    sockref_release(ref);
    end_in_order(&owner);
}
END_TEST

/* Process ids of a process's parent; 0: there is no such process. */
static pid_t parent_of(pid_t pid)
{
    char name[40], line[512], state = 0, *after;
    int parent = 0;
    FILE *file;

    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    file = fopen(name, "r");
    if (!file)
        return 0;
    after = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    if (!after || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
        return 0;
    return parent;
}

static int ask_for_guard(const char *name)
{
    sockref_registry *other;
    sockref *ref;
    int guard;

    EXPECT(sockref_guard_status(NULL) == 0);
    EXPECT(listen_with(name, SOCKREF_OPT_GUARD, 0, 0, 0, &ref) == 0);
    sockref_release(ref);
    EXPECT(sockref_guard_status(NULL) == 0); /* nobody asked for one */
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == 0);
    guard = sockref_guard_status(NULL);
    EXPECT(guard > 0 && guard != getpid());
    EXPECT(parent_of(guard) != 0 && parent_of(guard) != getpid());
    EXPECT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    EXPECT(sockref_registry_new(NULL, &other) == 0);
    EXPECT(sockref_guard_status(other) == guard); /* one for the process */
    sockref_registry_free(other);
    sockref_release(ref);
    EXPECT(sockref_guard_status(NULL) == guard);
    return 0;
}

START_TEST(L55_guard_status)
{
    struct child child = spawn("ask-for-guard", path);

    ck_assert(exited_well(end_child(&child)));
}
END_TEST

static const char *path_in(const char *top, const char *name)
{
    static char path_of[4096];

    snprintf(path_of, sizeof path_of, "%s/%s", top, name);
    return path_of;
}

/* The pairs of languages are tests/pairs/run's; C with itself shows here that it can see. */
START_TEST(L56_owner_and_joiner_in_two_languages)
{
    const char *source = getenv("top_srcdir"), *build = getenv("top_builddir");
    char command[2048];
    int status;

    if (!source || !build || system("python3 -c '' >/dev/null 2>&1") != 0 ||
        !exists(path_in(source, "tests/pairs/run")) ||
        !exists(path_in(build, ".libs/libsockref.so")))
        SKIP("not run by make, no python3, or a build of a part of it");
    snprintf(command, sizeof command, "SOCKREF_BUILD='%s' python3 '%s/tests/pairs/run' c >'%s'",
             build, source, file("said"));
    status = system(command);
    ck_assert_int_eq(unlink(file("said")), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("tests/pairs/agent is not built");
    ck_assert_msg(exited_well(status), "%s: %x", command, (unsigned)status);
}
END_TEST

static const struct role roles[] = {HOLDER_ROLE, {"ask-for-guard", ask_for_guard}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-sharing");
    TCase *tcase = add_case(suite, "sharing");

    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, L46_two_processes_start_one_path);
    tcase_add_test(tcase, L47_owner_is_killed_while_another_process_holds_the_path);
    tcase_add_loop_test(tcase, L48_only_holder_is_killed, 0, 2);
    tcase_add_loop_test(tcase, L49_owner_that_does_not_serve_ends_its_last_reference, 0, 2);
    tcase_add_test(tcase, L50_owner_that_serves_ends_its_last_reference);
    tcase_add_test(tcase, L51_exclusive_start_on_a_path_that_another_process_owns);
    tcase_add_test(tcase, L52_share_0);
    tcase_add_loop_test(tcase, L53_many_processes_start_one_path_at_one_moment, 0, 2);
    tcase_add_test(tcase, L54_start_that_asks_for_a_narrower_mode);
    tcase_add_test(tcase, L55_guard_status);
    tcase_add_test(tcase, L56_owner_and_joiner_in_two_languages);
    return run_suite(suite, argc, argv, roles);
}
