/* What earlier systems got wrong with calls, callbacks and accepting; each defect has its number.
 */
#include "interpose.h"

#include <sys/resource.h>

START_TEST(d20_a_release_counts_on_the_next_line)
{
    sockref *ref = start(NULL, path), *again = start(NULL, path);

    sockref_release(again);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    ck_assert(!exists(path));
}
END_TEST

static int fail_bind(enum call call, const char *name)
{
    (void)name;
    return call == CALL_BIND ? ENOSPC : 0;
}

START_TEST(d21_a_failing_start_tries_once_and_tells_its_own_error)
{
    unsigned binds = calls[CALL_BIND];
    int status;

    before_call = fail_bind;
    status = try_start(NULL, path);
    before_call = NULL;
    ck_assert_int_eq(status, -ENOSPC);
    ck_assert_uint_eq(calls[CALL_BIND], binds + 1);
    ck_assert_int_eq(sockref_last_error()->os_errno, ENOSPC);
    ck_assert_str_eq(sockref_last_error()->syscall, "bind");
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert(!exists(path));
}
END_TEST

START_TEST(d22_every_status_has_a_name_and_a_sentence_of_its_own)
{
    for (int status = SOCKREF_EPATH; status >= SOCKREF_EUNSUPPORTED; status--) {
        ck_assert_int_eq(strncmp(sockref_status_name(status), "ESOCKREF_", 9), 0);
        ck_assert_str_ne(sockref_status_message(status), "");
        for (int other = SOCKREF_EPATH; other > status; other--) {
            ck_assert_str_ne(sockref_status_name(status), sockref_status_name(other));
            ck_assert_str_ne(sockref_status_message(status), sockref_status_message(other));
        }
    }
    ck_assert_str_eq(sockref_status_name(-EACCES), "EACCES");
    ck_assert_str_eq(sockref_status_name(ENOENT), "ENOENT");
    ck_assert_str_eq(sockref_status_name(-30000), "EUNKNOWN");
    ck_assert_str_eq(sockref_status_name(0), "OK");
}
END_TEST

static atomic_bool watching;
static atomic_int too_wide, seen;

static void *watch_modes(void *arg)
{
    while (atomic_load(&watching)) {
        struct stat info;

        if (lstat(arg, &info) < 0)
            continue;
        atomic_fetch_add(&seen, 1);
        if (info.st_mode & 077)
            atomic_fetch_add(&too_wide, 1);
    }
    return NULL;
}

/* Start over and over while another thread looks at one file. */
static void watch_starts(char *name, int share, int count)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_SHARE, share);
    pthread_t thread;

    atomic_store(&watching, true);
    atomic_store(&seen, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, watch_modes, name), 0);
    for (int i = 0; i < count || (seen == 0 && i < 1000 * count); i++)
        sockref_release(start(registry, path));
    atomic_store(&watching, false);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(too_wide, 0);
    ck_assert_int_gt(seen, 0);
    sockref_registry_free(registry);
}

START_TEST(d23_the_mode_is_narrow_at_every_moment)
{
    int count = IS_SANITIZED ? 300 : 1000;
    mode_t mask = umask(0);

    watch_starts(path, 1, count);
    watch_starts(path, 0, count);
    watch_starts(file(".s.sock.srlock"), 1, count);
    watch_starts(file(".s.sock.srctl"), 1, count);
    umask(mask);
}
END_TEST

START_TEST(d24_limits_are_kept_and_recovered_from)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_MAX_SOCKETS, 10);
    sockref *refs[10];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++) {
            char leaf[32];

            snprintf(leaf, sizeof leaf, "%d", i);
            refs[i] = start(registry, file(leaf));
        }
        for (int i = 0; i < 20; i++)
            ck_assert_int_eq(try_start(registry, path), SOCKREF_ELIMIT);
        ck_assert(!exists(path));
        sockref_release(refs[0]);
        refs[0] = start(registry, path);
        for (int i = 0; i < 10; i++)
            sockref_release(refs[i]);
    }
    sockref_registry_free(registry);
}
END_TEST

static atomic_int starts, freed;

static void count_free(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static void count_start(int status, sockref *ref, void *user)
{
    (void)status;
    atomic_fetch_add((atomic_int *)user, 1);
    sockref_release(ref);
}

static void ignore_event(sockref *ref, int event, void *user)
{
    (void)ref, (void)event, (void)user;
}

static void ignore_record(const sockref_log_record *record, void *user)
{
    (void)record, (void)user;
}

START_TEST(d26_callbacks_are_called_once_and_their_data_freed_once)
{
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(sockref_set_watch(ref, ignore_event, &freed, count_free), 0);
    ck_assert_int_eq(sockref_set_watch(ref, ignore_event, &freed, count_free), 0);
    ck_assert_int_eq(freed, 1);
    sockref_release(ref);
    ck_assert_int_eq(freed, 2);
    ck_assert_int_eq(sockref_set_log(ignore_record, &freed, count_free), 0);
    ck_assert_int_eq(sockref_set_log(NULL, NULL, NULL), 0);
    ck_assert_int_eq(freed, 3);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(sockref_registry_start_listener(NULL, i % 10 ? path : file("no/x.sock"),
                                                         NULL, count_start, &starts),
                         0);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert_int_eq(starts, 100);
}
END_TEST

static atomic_int depth_reached;

/* A callback that starts another listener, waiting and not waiting, and asks every question. */
static void start_another(int status, sockref *ref, void *user)
{
    int depth = (int)(intptr_t)user;
    char leaf[32];
    sockref *other = NULL;

    ck_assert_int_eq(status, 0);
    ck_assert_uint_ge(sockref_registry_active_socket_count(NULL), 1);
    ck_assert(sockref_registry_is_socket_active(NULL, sockref_path(ref)));
    snprintf(leaf, sizeof leaf, "sync-%d", depth);
    ck_assert_int_eq(sockref_registry_listen(NULL, file(leaf), NULL, &other), 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, -1), SOCKREF_EBUSY);
    ck_assert_int_eq(sockref_registry_shutdown(NULL, -1), SOCKREF_EBUSY);
    sockref_release(other);
    sockref_release(ref);
    if (depth < 10) {
        snprintf(leaf, sizeof leaf, "%d.sock", depth + 1);
        ck_assert_int_eq(sockref_registry_start_listener(NULL, file(leaf), NULL, start_another,
                                                         (void *)(intptr_t)(depth + 1)),
                         0);
    }
    atomic_fetch_add(&depth_reached, 1);
}

static void log_and_start(const sockref_log_record *record, void *user)
{
    static _Thread_local bool inside;

    (void)record, (void)user;
    if (inside)
        return;
    inside = true; /* its own calls log too */
    sockref_release(start(NULL, file("from-log")));
    ck_assert_int_eq(sockref_set_log(NULL, NULL, NULL), SOCKREF_EBUSY);
    inside = false;
}

START_TEST(d27_a_callback_may_start_another_listener)
{
    ck_assert_int_eq(
        sockref_registry_start_listener(NULL, file("0.sock"), NULL, start_another, (void *)0), 0);
    WAIT_UNTIL(atomic_load(&depth_reached) == 11);
    ck_assert_int_eq(sockref_set_log(log_and_start, NULL, NULL), 0);
    for (int i = 0; i < 10; i++)
        sockref_release(start(NULL, path));
    ck_assert_int_eq(sockref_set_log(NULL, NULL, NULL), 0);
}
END_TEST

START_TEST(d29_a_path_is_bytes)
{
    char name[200], all[128];
    sockref *ref;

    for (int i = 0; i < 64; i++)
        all[i] = (char)(0xff - i);
    all[64] = '\0';
    snprintf(name, sizeof name, "%s/%s", directory, "\xff\xc0\x80\xf5");
    ref = start(NULL, name);
    ck_assert_int_eq(strcmp(sockref_path(ref), name), 0);
    ck_assert(is_connectable(name));
    sockref_release(ref);
    ref = start(NULL, file(all));
    ck_assert_int_eq(strcmp(sockref_path(ref), file(all)), 0);
    ck_assert(is_connectable(file(all)));
    sockref_release(ref);
}
END_TEST

static atomic_int paused;

static void note_pause(const sockref_log_record *record, void *user)
{
    (void)user;
    if (strcmp(record->event, "accept_paused") == 0)
        atomic_fetch_add(&paused, 1);
}

static bool answers(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char word = 'x';

    return send(fd, &word, 1, MSG_NOSIGNAL) == 1 && poll(&item, 1, PATIENCE_MS) == 1 &&
           recv(fd, &word, 1, 0) == 1;
}

START_TEST(d30_a_flood_without_descriptors_ends_no_listener)
{
    sockref *ref = start(NULL, path);
    struct rlimit old, low;
    int fds[300], made = 0, last;

    ck_assert_int_eq(sockref_set_log(note_pause, NULL, NULL), 0);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (; made < 300; made++) {
        fds[made] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fds[made], 0);
    }
    /* From here on no descriptor is to be had. */
    low = (struct rlimit){.rlim_cur = (rlim_t)count_fds(), .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 0; i < made; i++) {
        struct sockaddr_un address;
        socklen_t length = make_address(path, &address);

        ck_assert_int_eq(connect(fds[i], (struct sockaddr *)&address, length), 0);
    }
    WAIT_UNTIL(atomic_load(&paused) > 0);
    ck_assert(sockref_is_active(ref));
    ck_assert(is_socket(path));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    last = dial(path);
    ck_assert(answers(last));
    close(last);
    for (int i = 0; i < made; i++)
        close(fds[i]);
    sockref_release(ref);
    ck_assert_int_eq(sockref_set_log(NULL, NULL, NULL), 0);
}
END_TEST

static const int transient[] = {ECONNABORTED, EINTR,  EMFILE, ENFILE,
                                ENOBUFS,      ENOMEM, EPROTO, EPERM};
static atomic_int to_fail;
static int failing_errno;

static int fail_accept(enum call call, const char *name)
{
    (void)name;
    return call == CALL_ACCEPT4 && atomic_fetch_sub(&to_fail, 1) > 0 ? failing_errno : 0;
}

START_TEST(d30_no_accept_error_ends_a_listener)
{
    sockref *ref = start(NULL, path);
    int first, second;

    failing_errno = transient[_i];
    atomic_store(&to_fail, 3);
    before_call = fail_accept;
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    first = dial(path); /* without a descriptor for it, it may be turned away */
    WAIT_UNTIL(atomic_load(&to_fail) <= 0);
    second = dial(path);
    ck_assert(answers(second));
    before_call = NULL;
    ck_assert(sockref_is_active(ref));
    close(first);
    close(second);
    sockref_release(ref);
    ck_assert(!exists(path));
}
END_TEST

static int count_unnamed(void)
{
    FILE *table = fopen("/proc/net/unix", "r");
    char line[512];
    int count = 0;

    if (!table)
        return 0;
    while (fgets(line, sizeof line, table)) {
        const char *at = strchr(line, '@');

        count += at && strspn(at + 1, "0123456789abcdef") == 5 && at[6] == '\n';
    }
    fclose(table);
    return count;
}

START_TEST(d31_empty_path_binds_nothing)
{
    int autobound = count_unnamed();
    unsigned binds = calls[CALL_BIND];
    sockref *ref = NULL;

    ck_assert_int_eq(sockref_registry_listen(NULL, "", NULL, &ref), SOCKREF_EPATH);
    ck_assert_int_eq(sockref_registry_listen(NULL, "@", NULL, &ref), SOCKREF_EPATH);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, "", &ref), SOCKREF_EPATH);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, "", NULL, count_start, &starts),
                     SOCKREF_EPATH);
    ck_assert(!sockref_registry_is_socket_active(NULL, ""));
    ck_assert_ptr_null(ref);
    ck_assert_uint_eq(calls[CALL_BIND], binds);
    ck_assert_int_eq(count_unnamed(), autobound);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("defects-calls");
    TCase *tcase = add_case(suite, "calls");

    tcase_add_test(tcase, d20_a_release_counts_on_the_next_line);
    tcase_add_test(tcase, d21_a_failing_start_tries_once_and_tells_its_own_error);
    tcase_add_test(tcase, d22_every_status_has_a_name_and_a_sentence_of_its_own);
    tcase_add_test(tcase, d23_the_mode_is_narrow_at_every_moment);
    tcase_add_test(tcase, d24_limits_are_kept_and_recovered_from);
    tcase_add_test(tcase, d26_callbacks_are_called_once_and_their_data_freed_once);
    tcase_add_test(tcase, d27_a_callback_may_start_another_listener);
    tcase_add_test(tcase, d29_a_path_is_bytes);
    tcase_add_test(tcase, d30_a_flood_without_descriptors_ends_no_listener);
    tcase_add_loop_test(tcase, d30_no_accept_error_ends_a_listener, 0, 8);
    tcase_add_test(tcase, d31_empty_path_binds_nothing);
    return run_suite(suite, argc, argv, NULL);
}
