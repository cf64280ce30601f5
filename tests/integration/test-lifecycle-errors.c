/* Life-cycle scenarios: what is refused, and how it is told. tests/lifecycle.md has the list. */
#include "util.h"

START_TEST(L12_null_is_refused_where_a_reference_is_expected)
{
    sockref *ref = NULL;

    ck_assert_ptr_null(sockref_acquire(NULL));
    ck_assert_int_eq(sockref_last_error()->status, -EINVAL);
    sockref_release(NULL);
    ck_assert_ptr_null(sockref_path(NULL));
    ck_assert_int_eq(sockref_fd(NULL), -1);
    ck_assert(!sockref_is_active(NULL));
    ck_assert(!sockref_is_owner(NULL));
    ck_assert_uint_eq(sockref_reference_count(NULL), 0);
    ck_assert_uint_eq(sockref_holder_count(NULL), 0);
    ck_assert_int_eq(sockref_set_watch(NULL, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_serve(NULL, sockref_echo_handlers(), NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_get_existing(NULL, NULL, &ref), -EINVAL);
    ck_assert_int_eq(sockref_registry_get_existing(NULL, path, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_register_new(NULL, NULL, -1, &ref), -EINVAL);
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, 0, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_new(NULL, NULL), -EINVAL);
    ck_assert(!sockref_registry_is_socket_active(NULL, NULL));
    sockref_registry_free(NULL);
    sockref_options_free(NULL);
    sockref_live_counts(NULL, NULL, NULL);
    ck_assert_ptr_null(ref);
    ck_assert(!exists(path));
}
END_TEST

START_TEST(L12_a_revoked_reference_answers_closed)
{
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(sockref_serve(ref, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_set_watch(ref, NULL, NULL, NULL), SOCKREF_ECLOSED);
    ck_assert(!sockref_is_active(ref));
    ck_assert(!sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 0);
    ck_assert_str_eq(sockref_path(ref), path);
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &ref), 0);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), SOCKREF_ECLOSED);
    sockref_release(ref);
}
END_TEST

static void never_called(int status, sockref *ref, void *user)
{
    (void)ref, (void)user;
    ck_abort_msg("on_start came with %d after a negative return", status);
}

/* Every function that takes a name refuses it with the status, describes it, and does nothing. */
static void assert_refused(const char *name, int status)
{
    int fd = bind_plain(path);
    sockref *ref = NULL;

    ck_assert_msg(sockref_registry_listen(NULL, name, NULL, &ref) == status, "'%s'", name);
    ck_assert_int_eq(sockref_last_error()->status, status);
    ck_assert_str_eq(sockref_last_error()->path, name);
    ck_assert_str_ne(sockref_last_error()->message, "");
    ck_assert_int_eq(sockref_registry_start_listener(NULL, name, NULL, never_called, NULL), status);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, name, &ref), status);
    ck_assert_int_eq(sockref_registry_get_existing(NULL, name, &ref), status);
    ck_assert_int_eq(sockref_registry_register_new(NULL, name, fd, &ref), status);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, name), status);
    ck_assert(!sockref_registry_is_socket_active(NULL, name));
    ck_assert_ptr_null(ref);
    close(fd);
    unlink(path);
    ck_assert_int_eq(count_entries(directory), 0);
}

START_TEST(L13_bad_paths_are_refused_with_their_reason)
{
    static const char *const leaves[] = {"../x.sock", "a/../x.sock", "..",   "x.sock/..", "x.sock/",
                                         "",          ".",           "a\nb", "a\tb",      "a\x01",
                                         "a\x7f.so",  "d/./"};
    static const char *const whole[] = {"",  "x.sock", "./x.sock", "../x.sock", "/", "~/x.sock",
                                        "@", "@a\nb",  " ",        "//",        "."};

    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
        assert_refused(file(leaves[i]), SOCKREF_EPATH);
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        assert_refused(whole[i], SOCKREF_EPATH);
}
END_TEST

START_TEST(L13_paths_that_are_too_long_are_refused_with_the_limit)
{
    char name[5000] = "";

    snprintf(name, sizeof name, "%s/", directory);
    memset(name + strlen(name), 'x', 300);
    assert_refused(name, SOCKREF_EPATHLEN);
    memset(name + strlen(directory) + 1, 'x', sizeof name - strlen(directory) - 2);
    assert_refused(name, SOCKREF_EPATHLEN);
    memset(name, 'x', 200);
    name[0] = '@';
    name[109] = '\0';
    assert_refused(name, SOCKREF_EPATHLEN);
    ck_assert_ptr_nonnull(strstr(sockref_status_name(SOCKREF_EPATHLEN), "PATHLEN"));
}
END_TEST

START_TEST(L15_a_long_directory_is_no_hindrance)
{
    char deep[400], name[420], near[64];
    sockref *ref;
    int dir, fd;

    strcpy(deep, directory);
    while (strlen(deep) < 150) {
        strcat(deep, "/a-directory-with-a-long-name");
        ck_assert_int_eq(mkdir(deep, 0700), 0);
    }
    snprintf(name, sizeof name, "%s/s.sock", deep);
    ref = start(NULL, name);
    ck_assert(is_socket(name));
    ck_assert_uint_eq(mode_of(name), 0600);
    ck_assert_str_eq(sockref_path(ref), name);
    dir = open(deep, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(near, sizeof near, "/proc/self/fd/%d/s.sock", dir);
    fd = dial(near);
    close(fd);
    close(dir);
    ck_assert_ptr_eq(start(NULL, name), ref);
    sockref_release(ref);
    sockref_release(ref);
    ck_assert(!exists(name));
}
END_TEST

/* Things that may stand in the way. */
static void put_in_the_way(int kind, const char *name)
{
    switch (kind) {
    case 0:
        write_file(name, "a file of the user's");
        break;
    case 1:
        ck_assert_int_eq(mkdir(name, 0700), 0);
        break;
    case 2:
        ck_assert_int_eq(mkfifo(name, 0600), 0);
        break;
    case 3:
        write_file(file("target"), "a target");
        ck_assert_int_eq(symlink(file("target"), name), 0);
        break;
    default:
        ck_assert_int_eq(symlink("nowhere", name), 0);
        break;
    }
}

START_TEST(L17_what_is_no_socket_stands_untouched)
{
    static const char *const kinds[] = {"a file", "a directory", "a FIFO", "a symbolic link"};
    struct stat was, is;
    sockref *ref = NULL;
    int share = _i < 5;

    _i %= 5;
    put_in_the_way(_i, path);
    ck_assert_int_eq(lstat(path, &was), 0);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_SHARE, share, &ref), SOCKREF_EFOREIGN);
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, kinds[_i < 3 ? _i : 3]));
    ck_assert_int_eq(count_beside(directory), 0);
    ck_assert_ptr_null(ref);
    ck_assert_int_eq(lstat(path, &is), 0);
    ck_assert_int_eq(memcmp(&was.st_ctim, &is.st_ctim, sizeof was.st_ctim), 0);
    ck_assert_uint_eq(was.st_ino, is.st_ino);
    if (_i == 0)
        ck_assert(file_holds(path, "a file of the user's"));
    if (_i == 3)
        ck_assert(file_holds(file("target"), "a target"));
    ck_assert(!exists(file("nowhere")));
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    remove(path);
    sockref_release(start(NULL, path));
}
END_TEST

START_TEST(L18_a_live_foreign_server_stands_untouched)
{
    int live = bind_plain(path), fd;
    ino_t inode = inode_of(path);
    sockref *ref = NULL;

    ck_assert_int_eq(try_start(NULL, path), SOCKREF_EFOREIGN);
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &ref), SOCKREF_EFOREIGN);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_SHARE, 0, &ref), SOCKREF_EBUSY);
    ck_assert_ptr_null(ref);
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert_int_eq(count_beside(directory), 0);
    fd = dial(path);
    close(fd);
    /* Nothing was queued at the live one but our own connection. */
    fd = accept(live, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
    fcntl(live, F_SETFL, O_NONBLOCK);
    ck_assert_int_eq(accept(live, NULL, NULL), -1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    close(live);
    unlink(path);
}
END_TEST

START_TEST(L18_a_dead_socket_of_this_user_is_replaced)
{
    struct sockaddr_un address;
    socklen_t length;
    sockref *ref;
    int fd;

    for (int share = 0; share < 2; share++) {
        leave_dead_socket(path);
        ref = start_with(NULL, path, SOCKREF_OPT_SHARE, share);
        ck_assert(sockref_is_owner(ref));
        ck_assert(is_connectable(path));
        sockref_release(ref);
        ck_assert_int_eq(count_entries(directory), 0);
    }
    /* One that is bound, though nobody listens, is somebody's; so is a datagram socket. */
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        length = make_address(path, &address);
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
        ck_assert_int_eq(try_start(NULL, path), SOCKREF_EFOREIGN);
        ck_assert(is_socket(path));
        close(fd);
        sockref_release(start(NULL, path));
        ck_assert_int_eq(count_entries(directory), 0);
    }
    if (can_become_nobody()) { /* another user's stays */
        leave_dead_socket(path);
        ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
        ck_assert_int_eq(try_start(NULL, path), SOCKREF_EFOREIGN);
        ck_assert(is_socket(path));
        ck_assert_int_eq(unlink(path), 0);
    }
}
END_TEST

START_TEST(L19_a_missing_directory_is_enoent)
{
    ck_assert_int_eq(try_start(NULL, file("missing/s.sock")), -ENOENT);
    ck_assert_int_eq(sockref_last_error()->os_errno, ENOENT);
    ck_assert_str_eq(sockref_last_error()->path, file("missing/s.sock"));
    ck_assert_str_eq(sockref_last_error()->syscall, "open");
    write_file(file("plain"), "");
    ck_assert_int_eq(try_start(NULL, file("plain/s.sock")), -ENOTDIR);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

static int start_as_nobody(void *name)
{
    sockref *ref;

    EXPECT(become_nobody());
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == -EACCES);
    EXPECT(sockref_last_error()->os_errno == EACCES);
    EXPECT(sockref_last_error()->path && strstr(name, sockref_last_error()->path));
    EXPECT(sockref_registry_active_socket_count(NULL) == 0);
    return 0;
}

START_TEST(L19_an_unwritable_directory_is_eacces)
{
    if (!can_become_nobody())
        SKIP("only root can become another user");
    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert(in_child(start_as_nobody, path));
    ck_assert_int_eq(chmod(directory, 0700), 0);
    ck_assert(in_child(start_as_nobody, path));
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

START_TEST(L19_a_directory_that_others_may_change_is_not_trusted)
{
    static const mode_t modes[] = {0777, 0770, 0722, 0707, 0720};
    const char *open_to_all = file("open");
    char name[200];

    ck_assert_int_eq(mkdir(open_to_all, 0700), 0);
    snprintf(name, sizeof name, "%s/s.sock", open_to_all);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(chmod(open_to_all, modes[i]), 0);
        ck_assert_int_eq(try_start(NULL, name), SOCKREF_EUNTRUSTED);
        ck_assert_str_eq(sockref_last_error()->path, name);
        ck_assert_int_eq(count_entries(open_to_all), 0);
    }
    ck_assert_int_eq(chmod(open_to_all, 0700), 0);
    if (can_become_nobody()) { /* another user's directory */
        ck_assert_int_eq(chown(open_to_all, NOBODY, NOBODY), 0);
        ck_assert_int_eq(try_start(NULL, name), SOCKREF_EUNTRUSTED);
        ck_assert_int_eq(chown(open_to_all, 0, 0), 0);
    }
    sockref_release(start(NULL, name));
}
END_TEST

START_TEST(L26_the_limit_of_names_is_told_and_passes)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_MAX_SOCKETS, 2);
    sockref *first = start(registry, path), *second = start(registry, file("2.sock"));
    sockref *third = NULL;

    ck_assert_int_eq(sockref_registry_listen(registry, file("3.sock"), NULL, &third),
                     SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_registry_get_or_create(registry, file("3.sock"), &third),
                     SOCKREF_ELIMIT);
    ck_assert_ptr_null(third);
    ck_assert(!exists(file("3.sock")));
    sockref_release(start(registry, path)); /* one more reference is not one more name */
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 2);
    sockref_release(first);
    third = start(registry, file("3.sock"));
    sockref_release(second);
    sockref_release(third);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(L26_the_limit_of_references_is_told_and_passes)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_MAX_REFERENCES, 2);
    sockref *ref = start(registry, path), *other = NULL;

    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    ck_assert_ptr_null(sockref_acquire(ref));
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_registry_listen(registry, path, NULL, &other), SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_registry_get_existing(registry, path, &other), SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_registry_get_or_create(registry, path, &other), SOCKREF_ELIMIT);
    ck_assert_ptr_null(other);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    sockref_release(ref);
    ck_assert_ptr_eq(start(registry, path), ref);
    sockref_release(ref);
    sockref_release(ref);
    ck_assert(!exists(path));
    sockref_registry_free(registry);
}
END_TEST

START_TEST(L27_options_that_are_no_option_are_refused)
{
    static const int unknown[] = {0, -1, 20, 99, INT32_MAX, INT32_MIN, SOCKREF_OPT_DIRECTORY};
    static const struct {
        int option;
        int64_t value;
    } wrong[] = {
        {SOCKREF_OPT_MODE, -2},
        {SOCKREF_OPT_MODE, 01000},
        {SOCKREF_OPT_BACKLOG, 0},
        {SOCKREF_OPT_BACKLOG, INT64_MAX},
        {SOCKREF_OPT_SHARE, 2},
        {SOCKREF_OPT_GUARD, 3},
        {SOCKREF_OPT_UNIQUE, -1},
        {SOCKREF_OPT_EXCLUSIVE, 2},
        {SOCKREF_OPT_MAX_SOCKETS, 0},
        {SOCKREF_OPT_MAX_REFERENCES, 0},
        {SOCKREF_OPT_MAX_BUFFERED, -1},
        {SOCKREF_OPT_CLEANUP_DELAY_MS, -1},
        {SOCKREF_OPT_HANDOVER, INT64_MIN},
        {SOCKREF_OPT_IPV6_ONLY, 2},
        {SOCKREF_OPT_REUSE_PORT, -1},
        {SOCKREF_OPT_KEEP_FILE, 2},
        {SOCKREF_OPT_MAX_CONNECTIONS, -1},
        {SOCKREF_OPT_BIND_ONLY, 2},
    };
    sockref_options *options = sockref_options_new();

    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        ck_assert_int_eq(sockref_options_set_int(options, unknown[i], 1), -EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(sockref_options_set_int(options, wrong[i].option, wrong[i].value),
                         -EINVAL);
    ck_assert_int_eq(sockref_options_set_int(NULL, SOCKREF_OPT_MODE, 0600), -EINVAL);
    ck_assert_int_eq(sockref_options_set_string(options, SOCKREF_OPT_MODE, "0600"), -EINVAL);
    ck_assert_int_eq(sockref_options_set_string(NULL, SOCKREF_OPT_DIRECTORY, "/"), -EINVAL);
    ck_assert_int_eq(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, "relative"),
                     SOCKREF_EPATH);
    ck_assert_int_eq(sockref_options_set_loop(NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_options_set_handlers(NULL, NULL, NULL), -EINVAL);
    /* Nothing of it was taken. */
    sockref_release(start(NULL, path));
    sockref_options_free(options);
}
END_TEST

START_TEST(L27_options_of_a_registry_are_refused_at_a_call)
{
    sockref_options *options = sockref_options_new();
    sockref *ref = NULL;

    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_MAX_SOCKETS, 5, &ref), -EINVAL);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_MAX_REFERENCES, 5, &ref), -EINVAL);
    ck_assert_int_eq(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, directory), 0);
    ck_assert_int_eq(sockref_registry_listen(NULL, path, options, &ref), -EINVAL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, never_called, NULL),
                     -EINVAL);
    ck_assert_ptr_null(ref);
    ck_assert(!exists(path));
    sockref_options_free(options);
}
END_TEST

static void *read_own_error(void *out)
{
    *(int *)out = sockref_last_error()->status;
    return sockref_last_error()->message[0] ? out : NULL;
}

START_TEST(L43_an_error_keeps_status_errno_syscall_and_path)
{
    const sockref_error *error;
    pthread_t thread;
    void *result;
    int other = 1;

    ck_assert_int_eq(try_start(NULL, file("missing/s.sock")), -ENOENT);
    error = sockref_last_error();
    ck_assert_uint_eq(error->size, sizeof *error);
    ck_assert_int_eq(error->status, -ENOENT);
    ck_assert_int_eq(error->os_errno, ENOENT);
    ck_assert_str_eq(error->syscall, "open");
    ck_assert_str_eq(error->path, file("missing/s.sock"));
    ck_assert_ptr_nonnull(strstr(error->message, "No such file"));
    ck_assert_str_eq(sockref_status_name(error->status), "ENOENT");
    sockref_release(start(NULL, path)); /* a success changes nothing */
    ck_assert_int_eq(sockref_last_error()->status, -ENOENT);

    ck_assert_int_eq(try_start(NULL, "relative"), SOCKREF_EPATH);
    error = sockref_last_error();
    ck_assert_int_eq(error->status, SOCKREF_EPATH);
    ck_assert_int_eq(error->os_errno, 0);
    ck_assert_ptr_null(error->syscall);
    ck_assert_str_eq(error->path, "relative");
    ck_assert_str_eq(sockref_status_name(error->status), "ESOCKREF_PATH");

    /* Each thread has its own, and none where nothing failed. */
    ck_assert_int_eq(pthread_create(&thread, NULL, read_own_error, &other), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_int_eq(other, 0);
    ck_assert_ptr_null(result);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-errors");
    TCase *tcase = add_case(suite, "errors");

    tcase_add_test(tcase, L12_null_is_refused_where_a_reference_is_expected);
    tcase_add_test(tcase, L12_a_revoked_reference_answers_closed);
    tcase_add_test(tcase, L13_bad_paths_are_refused_with_their_reason);
    tcase_add_test(tcase, L13_paths_that_are_too_long_are_refused_with_the_limit);
    tcase_add_test(tcase, L15_a_long_directory_is_no_hindrance);
    tcase_add_loop_test(tcase, L17_what_is_no_socket_stands_untouched, 0, 10);
    tcase_add_test(tcase, L18_a_live_foreign_server_stands_untouched);
    tcase_add_test(tcase, L18_a_dead_socket_of_this_user_is_replaced);
    tcase_add_test(tcase, L19_a_missing_directory_is_enoent);
    tcase_add_test(tcase, L19_an_unwritable_directory_is_eacces);
    tcase_add_test(tcase, L19_a_directory_that_others_may_change_is_not_trusted);
    tcase_add_test(tcase, L26_the_limit_of_names_is_told_and_passes);
    tcase_add_test(tcase, L26_the_limit_of_references_is_told_and_passes);
    tcase_add_test(tcase, L27_options_that_are_no_option_are_refused);
    tcase_add_test(tcase, L27_options_of_a_registry_are_refused_at_a_call);
    tcase_add_test(tcase, L43_an_error_keeps_status_errno_syscall_and_path);
    return run_suite(suite, argc, argv, NULL);
}
