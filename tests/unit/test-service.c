/* Serving, and the library's own loop: src/net/serve.c, src/net/service.c, src/net/echo.c */
#include "test-loop-helpers.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"
#include "ref/hooks.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

static int thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = -2; /* . and .. */

    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

static void echo_once(const char *text)
{
    char buffer[64] = "";
    int fd = dial();

    send_text(fd, text);
    for (size_t had = 0; had < strlen(text);)
        had += (size_t)recv(fd, buffer + had, sizeof buffer - had, 0);
    ck_assert_str_eq(buffer, text);
    shutdown(fd, SHUT_WR);
    ck_assert_int_eq(recv(fd, buffer, sizeof buffer, 0), 0);
    close(fd);
}

static sockref *listen_here(const sockref_options *options)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, options, &ref), 0);
    return ref;
}

START_TEST(the_own_loop_serves_and_its_thread_ends_with_the_last)
{
    int threads = thread_count();
    sockref *ref = listen_here(NULL);

    ck_assert(IS_SANITIZED || thread_count() == threads); /* nobody is served: no thread */
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    echo_once("hello");
    ck_assert(IS_SANITIZED || thread_count() == threads + 1);
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert(IS_SANITIZED || thread_count() == threads);
}
END_TEST

START_TEST(the_service_thread_comes_and_goes)
{
    for (int i = 0; i < 300; i++) {
        sockref *ref = listen_here(NULL);

        ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
        if (i % 3 == 0)
            echo_once("x");
        sockref_release(ref);
    }
}
END_TEST

static void *serve_often(void *arg)
{
    char own[sizeof path + 8];

    snprintf(own, sizeof own, "%s%d", path, (int)(intptr_t)arg);
    for (int i = 0; i < 200; i++) {
        sockref *ref;

        ck_assert_int_eq(sockref_registry_listen(NULL, own, NULL, &ref), 0);
        ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
        sockref_release(ref);
    }
    return NULL;
}

START_TEST(the_service_thread_races_with_new_work)
{
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, serve_often, (void *)(intptr_t)i);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

START_TEST(a_served_name_is_not_served_twice)
{
    sockref *ref = listen_here(NULL);

    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), SOCKREF_EBUSY);
    ck_assert_int_eq(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL), SOCKREF_EBUSY);
    echo_once("still");
    sockref_release(ref);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    sockref *ref = listen_here(NULL), *unbound;
    sockref_handlers handlers = recording;
    sockref_options *options = sockref_options_new();

    ck_assert_int_eq(sockref_serve(NULL, &handlers, NULL), -EINVAL);
    ck_assert_int_eq(sockref_serve(ref, NULL, NULL), -EINVAL);
    handlers.size = 0;
    ck_assert_int_eq(sockref_serve(ref, &handlers, NULL), -EINVAL);
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, NULL), -EINVAL);
    handlers.size = sizeof handlers + 1;
    ck_assert_int_eq(sockref_serve(ref, &handlers, NULL), -EINVAL);
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, NULL), -EINVAL);
    ck_assert_int_eq(sockref_options_set_handlers(NULL, &recording, NULL), -EINVAL);
    ck_assert_int_eq(sockref_options_set_loop(NULL, loop), -EINVAL);
    ck_assert_int_eq(sockref_options_set_handlers(options, NULL, NULL), 0);
    sockref_options_free(options);
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &unbound), 0);
    ck_assert_int_eq(sockref_serve(unbound, &recording, NULL), SOCKREF_ECLOSED);
    sockref_release(unbound);
}
END_TEST

START_TEST(a_name_that_is_not_bound_here_says_why)
{
    sockref *unbound, *owner, *joiner;
    sockref_registry *other;

    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &unbound), 0);
    ck_assert_int_eq(sockref_serve(unbound, sockref_echo_handlers(), NULL), SOCKREF_ECLOSED);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "listen on the name"));
    sockref_release(unbound);

    owner = listen_here(NULL);
    ck_assert_int_eq(sockref_registry_new(NULL, &other), 0);
    ck_assert_int_eq(sockref_registry_listen(other, path, NULL, &joiner), 0);
    ck_assert_int_eq(sockref_serve(joiner, sockref_echo_handlers(), NULL), SOCKREF_ECLOSED);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "another registry owns the name"));
    sockref_release(joiner);
    sockref_release(owner);
    sockref_registry_free(other);
}
END_TEST

START_TEST(handlers_of_an_older_program_may_be_shorter)
{
    struct record record = {0};
    sockref_handlers handlers = recording;
    sockref *ref = listen_here(NULL);
    int peer;

    handlers.size = offsetof(sockref_handlers, on_end);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &record), 0);
    peer = dial();
    send_text(peer, "x");
    DRIVE_UNTIL(record.bytes == 1);
    close(peer);
    sockref_release(ref);
    drive_all();
    ck_assert_str_eq(record.events, "CD");
}
END_TEST

START_TEST(a_listen_with_handlers_serves_from_the_first_moment)
{
    struct record record = {0}, second = {0};
    sockref_options *options = sockref_options_new();
    sockref *ref, *shared;
    int peer;

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &record), 0);
    ref = listen_here(options);
    peer = dial();
    DRIVE_UNTIL(record.connections == 1);

    /* A second one with handlers shares the name; its handlers are told at once that they are not
     * used. */
    ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &second), 0);
    shared = listen_here(options);
    ck_assert_ptr_eq(shared, ref);
    DRIVE_UNTIL(second.stops == 1);
    ck_assert_str_eq(second.events, "S");
    sockref_options_free(options);
    ck_assert_int_eq(record.stops, 0);
    sockref_release(ref);
    sockref_release(shared);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "CZS");
    close(peer);
}
END_TEST

static atomic_int own_stops;

static void count_stop(void *user)
{
    (void)user;
    own_stops++;
}

START_TEST(options_without_a_loop_serve_on_the_own_one)
{
    sockref_handlers handlers = *sockref_echo_handlers();
    sockref_options *options = sockref_options_new();
    sockref *ref, *shared;

    own_stops = 0;
    handlers.on_stop = count_stop;
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, NULL), 0);
    ref = listen_here(options);
    shared = listen_here(options);
    WAIT_UNTIL(own_stops == 1);
    echo_once("hello");
    sockref_options_free(options);
    sockref_release(ref);
    sockref_release(shared);
    WAIT_UNTIL(own_stops == 2);
}
END_TEST

static int failing_thread(pthread_t *out, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg)
{
    (void)out;
    (void)attr;
    (void)body;
    (void)arg;
    return EAGAIN;
}

START_TEST(without_a_thread_nothing_is_changed)
{
    sockref *ref = listen_here(NULL);
    size_t fds = sr_fd_count();

    sr_sys.thread_create = failing_thread;
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), -EAGAIN);
    sr_sys.thread_create = pthread_create;
    ck_assert_uint_eq(sr_fd_count(), fds);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    echo_once("now");
    sockref_release(ref);
}
END_TEST

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void *failing_calloc(size_t count, size_t size)
{
    return allocations_left-- > 0 ? calloc(count, size) : NULL;
}

START_TEST(each_allocation_may_fail)
{
    struct record record = {0};
    sockref *ref = listen_here(NULL);
    size_t fds = sr_fd_count();
    int status;

    for (int n = 0;; n++) {
        allocations_left = n;
        sr_sys.malloc = failing_malloc;
        sr_sys.calloc = failing_calloc;
        status = sockref_serve_on(ref, loop, &recording, &record);
        sr_sys.malloc = malloc;
        sr_sys.calloc = calloc;
        if (status == 0)
            break;
        ck_assert_int_eq(status, -ENOMEM);
        ck_assert_uint_eq(sr_fd_count(), fds);
        drive_all();
        ck_assert_str_eq(record.events, "");
    }
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static atomic_int noticed;

static void notice(sockref *ref, int event, void *user)
{
    ck_assert_ptr_nonnull(ref);
    ck_assert_int_eq(event, SOCKREF_WATCH_LOST);
    ck_assert_ptr_eq(user, &noticed);
    noticed++;
}

START_TEST(a_notice_runs_on_the_service_thread)
{
    sockref *ref = listen_here(NULL);

    ck_assert_int_eq(sr_hooks.notify(NULL, ref, SOCKREF_WATCH_LOST, notice, &noticed), 0);
    WAIT_UNTIL(noticed == 1);
    sockref_release(ref);
}
END_TEST

/* A number is used again when the system has come round to it, by a thread that stays. */
START_TEST(who_has_the_number_of_a_thread_that_ended_is_not_waited_for)
{
    struct sr_last_word word = sr_thread_last_word();

    ck_assert_int_eq(sr_thread_wait_gone(&word, sr_clock_after_ms(1)), -ETIMEDOUT);
    word.said_ns -= 60000000000u;
    ck_assert_int_eq(sr_thread_wait_gone(&word, SR_CLOCK_NEVER), 0);
}
END_TEST

START_TEST(echo_sends_much_data_back)
{
    static char out[1 << 20], in[1 << 20];
    sockref *ref = listen_here(NULL);
    size_t sent = 0, got = 0;
    uint64_t until = deadline();
    int fd;

    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    fd = dial();
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 31 >> 3);
    /* All is sent before anything is read: what the service can't send back makes it pause us. */
    while (got < sizeof in && sr_clock_ns() < until) {
        ssize_t length = sent < sizeof out
                             ? send(fd, out + sent, sizeof out - sent, MSG_DONTWAIT | MSG_NOSIGNAL)
                             : -1;

        if (length > 0) {
            sent += (size_t)length;
            continue;
        }
        length = recv(fd, in + got, sizeof in - got, sent < sizeof out ? MSG_DONTWAIT : 0);
        got += length > 0 ? (size_t)length : 0;
    }
    ck_assert_uint_eq(got, sizeof in);
    ck_assert_int_eq(memcmp(in, out, sizeof in), 0);
    close(fd);
    sockref_release(ref);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("service");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_own_loop_serves_and_its_thread_ends_with_the_last);
    tcase_add_test(tcase, the_service_thread_comes_and_goes);
    tcase_add_test(tcase, the_service_thread_races_with_new_work);
    tcase_add_test(tcase, a_served_name_is_not_served_twice);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, a_name_that_is_not_bound_here_says_why);
    tcase_add_test(tcase, handlers_of_an_older_program_may_be_shorter);
    tcase_add_test(tcase, a_listen_with_handlers_serves_from_the_first_moment);
    tcase_add_test(tcase, options_without_a_loop_serve_on_the_own_one);
    tcase_add_test(tcase, without_a_thread_nothing_is_changed);
    tcase_add_test(tcase, each_allocation_may_fail);
    tcase_add_test(tcase, a_notice_runs_on_the_service_thread);
    tcase_add_test(tcase, who_has_the_number_of_a_thread_that_ended_is_not_waited_for);
    tcase_add_test(tcase, echo_sends_much_data_back);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
