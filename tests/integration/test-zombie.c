/* Locks and descriptors that live on where nobody expects them: in children that never became
 * another program; and several holders of a name inside one process. */
#include "holder.h"

#include <dlfcn.h>

static bool is_empty(void)
{
    return count_entries(directory) == 0;
}

/* A child made behind libc's back; it keeps all that its parent had. */
static void end_clone(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    WAIT_UNTIL(kill(pid, 0) < 0); /* it is init's to wait for */
}

START_TEST(a_child_that_keeps_a_dead_owners_locks_blocks_no_start)
{
    struct child owner = spawn_holder_of(path);
    int64_t since;
    sockref *ref;
    pid_t clone;

    /* With a guard, or without. */
    ck_assert_int_eq(tell(&owner, _i ? START : START_UNGUARDED), OWNED);
    clone = clone_of(&owner);
    kill_child(&owner);
    ck_assert(is_connectable(path)); /* the child keeps it alive, and answers nobody */
    since = now_ms();
    ref = start_with(NULL, path, SOCKREF_OPT_START_TIMEOUT_MS, 20000);
    ck_assert_int_lt(now_ms() - since, 10000);
    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert(is_in_use_at(ref, path));
    end_clone(clone);
    ck_assert(is_in_use_at(ref, path));
    sockref_release(ref);
    ck_assert(is_empty());
}
END_TEST

/* Whoever holds the name hears of the owner's death, though its descriptors live on; by the first
 * start of somebody else at the latest. */
START_TEST(those_who_joined_a_dead_owner_join_the_next_one)
{
    struct child owner = spawn_holder_of(path), joiner = spawn_holder_of(path);
    sockref *ref;
    pid_t clone;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ck_assert_int_eq(tell(&joiner, START), JOINED);
    clone = clone_of(&owner);
    kill_child(&owner);
    ref = start_with(NULL, path, SOCKREF_OPT_START_TIMEOUT_MS, 20000);
    ck_assert(sockref_is_owner(ref));
    end_clone(clone);
    ck_assert_int_eq(tell(&joiner, AWAIT_LOST), DONE);
    ck_assert_int_eq(tell(&joiner, START), JOINED);
    ck_assert_uint_eq(sockref_holder_count(ref), 2);
    ck_assert_int_eq(tell(&joiner, RELEASE), DONE);
    ck_assert(is_in_use_at(ref, path));
    sockref_release(ref);
    WAIT_UNTIL(is_empty());
    end_in_order(&joiner);
}
END_TEST

/* The slot of a dead joiner stays busy with its child: the name ends all the same, and begins
 * again. */
START_TEST(a_child_that_keeps_a_dead_joiners_slot_blocks_no_end)
{
    struct child joiner = spawn_holder_of(path);
    sockref *ref = start(NULL, path);
    pid_t clone;

    ck_assert_int_eq(tell(&joiner, START), JOINED);
    clone = clone_of(&joiner);
    kill_child(&joiner);
    sockref_release(ref);
    WAIT_UNTIL(!exists(path)); /* there is nobody to take it over */
    ref = start(NULL, path);
    ck_assert(sockref_is_owner(ref));
    ck_assert(is_in_use_at(ref, path));
    end_clone(clone);
    WAIT_UNTIL(sockref_holder_count(ref) == 1);
    sockref_release(ref);
    WAIT_UNTIL(is_empty());
}
END_TEST

/* The bytes belong to the descriptor that parent and child share: the child must not unlock. */
START_TEST(a_child_that_exits_takes_nothing_from_its_parent)
{
    struct child owner = spawn_holder_of(path);
    sockref *ref = NULL;

    ck_assert_int_eq(tell(&owner, START), OWNED);
    ck_assert_int_eq(tell(&owner, CLONE_TO_EXIT), DONE);
    ck_assert_int_eq(count_sockets(directory), 1);
    ck_assert_int_eq(count_beside(directory), 2);
    ck_assert_int_eq(tell(&owner, IS_OWNER), DONE);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &ref), SOCKREF_EBUSY);
    ref = start(NULL, path);
    ck_assert(!sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 2);
    sockref_release(ref);
    end_in_order(&owner);
    ck_assert(is_empty());
}
END_TEST

/* fork() closes in the child what is the parent's. */
static int live_on(void *user)
{
    char word;

    return read(*(int *)user, &word, 1) == 0 ? 0 : 1;
}

static int fork_and_wait(const char *name)
{
    int pipes[2], descriptors;
    sockref *ref;
    pid_t pid;

    if (pipe(pipes) < 0)
        return 3;
    descriptors = count_fds();
    if (sockref_registry_listen(NULL, name, NULL, &ref) < 0)
        return 3;
    pid = fork();
    if (pid == 0) {
        alarm(200);
        say(count_fds() == descriptors ? 'c' : 'd');
        close(pipes[1]);
        _exit(live_on(pipes));
    }
    hear(); /* until it is killed */
    return 4;
}

START_TEST(a_forked_child_keeps_nothing)
{
    struct child owner = spawn("fork-and-wait", path);
    sockref *ref;

    ck_assert_int_eq(hear_from(owner.talk), 'c');
    ck_assert_int_eq(count_beside(directory), 2);
    ck_assert_int_eq(kill(owner.pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_of(owner.pid)));
    WAIT_UNTIL(is_empty()); /* by its guard, while the child lives */
    ref = start(NULL, path);
    ck_assert(sockref_is_owner(ref));
    sockref_release(ref);
    close(owner.talk);
}
END_TEST

/* ---- several holders in one process ---- */

START_TEST(two_registries_of_one_process_join_and_hand_over)
{
    sockref_registry *registries[2] = {make_registry(0, 0), make_registry(0, 0)};
    static atomic_uint events;
    struct dialler dialler;
    sockref *first, *second;
    ino_t inode;

    first = start(registries[0], path);
    second = start(registries[1], path);
    ck_assert_ptr_ne(first, second);
    ck_assert(sockref_is_owner(first) && !sockref_is_owner(second));
    ck_assert_uint_eq(sockref_holder_count(first), 2);
    ck_assert_uint_eq(sockref_holder_count(second), 2);
    ck_assert_int_eq(sockref_set_watch(second, collect_events, &events, NULL), 0);
    inode = inode_of(path);
    begin_dialling(&dialler, path);
    sockref_release(first);
    WAIT_UNTIL(HEARD(events, SOCKREF_WATCH_OWNER) || dialler.refusal);
    end_dialling(&dialler);
    ck_assert(sockref_is_owner(second));
    ck_assert_uint_eq(inode_of(path), inode);
    first = start(registries[0], path);
    ck_assert(!sockref_is_owner(first));
    sockref_release(first);
    ck_assert(sockref_is_active(second) && inode_of(path) == inode); /* its queue may be full */
    sockref_release(second);
    WAIT_UNTIL(is_empty());
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sockref_registry_drain(registries[i], PATIENCE_MS), 0);
        sockref_registry_free(registries[i]);
    }
}
END_TEST

/* A second copy of the library, as when two bindings each bring their own. */
struct copy {
    int (*listen)(sockref_registry *, const char *, const sockref_options *, sockref **);
    void (*release)(sockref *);
    bool (*is_owner)(const sockref *);
    bool (*is_active)(const sockref *);
    uint64_t (*holders)(const sockref *);
    int (*drain)(sockref_registry *, int);
};

static bool copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char part[65536];
    size_t length;

    if (!in || !out)
        return false;
    while ((length = fread(part, 1, sizeof part, in)) > 0)
        if (fwrite(part, 1, length, out) != length)
            return false;
    fclose(in);
    return fclose(out) == 0;
}

/* The file of the library; false where it is a part of the program. */
static bool find_library(Dl_info *out)
{
    void *function = dlsym(RTLD_DEFAULT, "sockref_registry_listen");

    return function && dladdr(function, out) && strstr(out->dli_fname, ".so");
}

/* Each copy uses its own functions: they must not have become one by the dynamic linker. */
static bool load_copy(const char *where, struct copy *out)
{
    Dl_info info;
    void *library;

    if (!find_library(&info) || !copy_file(info.dli_fname, where))
        return false;
    library = dlopen(where, RTLD_NOW | RTLD_LOCAL);
    unlink(where);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
#define FIND(member, name) *(void **)&out->member = dlsym(library, name)
    FIND(listen, "sockref_registry_listen");
    FIND(release, "sockref_release");
    FIND(is_owner, "sockref_is_owner");
    FIND(is_active, "sockref_is_active");
    FIND(holders, "sockref_holder_count");
    FIND(drain, "sockref_registry_drain");
    return out->listen && out->listen != sockref_registry_listen && out->release && out->is_owner &&
           out->is_active && out->holders && out->drain;
}

#define COMES(condition)                                                                           \
    do {                                                                                           \
        int64_t until_ = now_ms() + PATIENCE_MS;                                                   \
        while (!(condition)) {                                                                     \
            EXPECT(now_ms() < until_ && #condition);                                               \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

static int use_two_copies(const char *name)
{
    sockref *ours = NULL, *theirs = NULL;
    struct copy copy;
    char where[512];

    snprintf(where, sizeof where, "%s.so", name);
    EXPECT(load_copy(where, &copy));
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ours) == 0);
    EXPECT(copy.listen(NULL, name, NULL, &theirs) == 0);
    EXPECT(ours != theirs && sockref_is_owner(ours) && !copy.is_owner(theirs));
    EXPECT(sockref_holder_count(ours) == 2 && copy.holders(theirs) == 2);
    sockref_release(ours);
    COMES(copy.is_owner(theirs));
    EXPECT(is_connectable(name) && copy.holders(theirs) == 1);
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ours) == 0);
    EXPECT(!sockref_is_owner(ours) && copy.holders(theirs) == 2);
    copy.release(theirs);
    COMES(sockref_is_owner(ours));
    EXPECT(is_connectable(name));
    sockref_release(ours);
    COMES(!exists(name)); /* its last owner may have the lock for a moment yet */
    /* Both are held at the end, by each of them. */
    EXPECT(copy.listen(NULL, name, NULL, &theirs) == 0 && copy.is_owner(theirs));
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ours) == 0 && !sockref_is_owner(ours));
    EXPECT(copy.is_active(theirs));
    return 0;
}

START_TEST(a_second_copy_of_the_library_joins)
{
    struct child child;
    Dl_info info;

    if (!find_library(&info))
        SKIP("there is no shared library here");
    child = spawn("two-copies", path);
    ck_assert(exited_well(end_child(&child)));
    ck_assert(is_empty());
}
END_TEST

static const struct role roles[] = {
    HOLDER_ROLE, {"fork-and-wait", fork_and_wait}, {"two-copies", use_two_copies}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("zombie");
    TCase *tcase = add_case(suite, "zombie");

    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, a_child_that_keeps_a_dead_owners_locks_blocks_no_start, 0, 2);
    tcase_add_test(tcase, those_who_joined_a_dead_owner_join_the_next_one);
    tcase_add_test(tcase, a_child_that_keeps_a_dead_joiners_slot_blocks_no_end);
    tcase_add_test(tcase, a_child_that_exits_takes_nothing_from_its_parent);
    tcase_add_test(tcase, a_forked_child_keeps_nothing);
    tcase_add_test(tcase, two_registries_of_one_process_join_and_hand_over);
    tcase_add_test(tcase, a_second_copy_of_the_library_joins);
    return run_suite(suite, argc, argv, roles);
}
