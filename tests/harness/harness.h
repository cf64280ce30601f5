/*
 * What the C suites share: a private directory for each case, files and sockets in it that are not
 * the library's, children, and the check that a case leaves nothing behind.
 */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <check.h>
#include <sockref/sockref.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HARNESS_PATIENCE_MS                                                                        \
    20000 /* a deadline for what must come; nothing waits this long unless it fails */

/* Add a group of cases, each with a directory of its own and a leak check at its end. */
TCase *harness_tcase(Suite *suite, const char *name);
/* The same, with its name as a tag: CK_EXCLUDE_TAGS leaves it out where all is slow. */
TCase *harness_tcase_tagged(Suite *suite, const char *tag);
/* The same, without the leak check: for cases that are about what is left. */
TCase *harness_tcase_unchecked(Suite *suite, const char *name);
/* Run a suite; the exit status of its program. Takes suite. */
int harness_run(Suite *suite);
/* From now on, whoever closes a descriptor that is closed is ended by SIGABRT. */
void harness_watch_closing(void);

/* The directory of the case; a path in it; any text. All live until the case ends. */
const char *harness_dir(void);
const char *harness_at(const char *leaf);
const char *harness_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A path of so many bytes in the directory of the case, leading through directories that are made.
 */
const char *harness_long_path(size_t length, size_t leaf_length);
/* A directory where others may add files, sticky and root's; NULL where that can't be had. */
const char *harness_sticky_dir(void);

/* Assert that nothing is left: no reference, entry, descriptor, thread, nor socket file in the
 * directory. */
void harness_assert_clean(void);
/* What a case that leaks on purpose may look at itself. */
unsigned harness_sockets(void); /* in the directory of the case and below */
unsigned harness_files(void);
/* Lock files and control sockets; the two above do not count them. */
unsigned harness_beside(void); /* of any kind but directories */
unsigned harness_descriptors(void);
size_t harness_noted(void); /* by the library, without the guard's */
unsigned harness_threads(void);
/* Wait, up to the patience, until the process has so many threads. */
bool harness_threads_become(unsigned count);

bool harness_exists(const char *path);
bool harness_is_socket(const char *path);
ino_t harness_inode(const char *path); /* 0: nothing there */
unsigned harness_mode(const char *path);
void harness_write(const char *path, const char *content);
bool harness_holds(const char *path, const char *content);

/* A socket that is not the library's: listening, returned; or dead, its file left. */
int harness_bind(const char *path);
void harness_leave_dead(const char *path);
/* Connect as a client does, by whatever path; returns the descriptor or -errno. */
int harness_dial(const char *path);
bool harness_can_dial(const char *path);

/* Run a body in a child and return its exit status; -signal when one killed it. */
int harness_in_child(int (*body)(void *arg), void *arg);

/* Threads that begin together. */
#define HARNESS_THREADS_MAX 32
void harness_in_threads(unsigned count, void (*body)(unsigned number, void *arg), void *arg);

/* A registry with options given as pairs of option and value, ended by 0. */
sockref_registry *harness_registry(int option, ...);
sockref_options *harness_options(int option, ...);
/* Listen, and assert that it succeeds. */
sockref *harness_listen(sockref_registry *registry, const char *path);

/* Record what the library logs, until the case ends. */
void harness_log(void);
unsigned
harness_logged(const char *event); /* records of the event so far, suppressed ones included */

/* The thread's last error describes this status. */
#define harness_assert_error(status_)                                                              \
    do {                                                                                           \
        ck_assert_int_eq(sockref_last_error()->status, (status_));                                 \
        ck_assert_str_ne(sockref_last_error()->message, "");                                       \
    } while (0)
/* A call fails with a status and describes it. */
#define harness_assert_fails(call, status_)                                                        \
    do {                                                                                           \
        int got_ = (call);                                                                         \
        ck_assert_msg(got_ == (status_), "%s: %s instead of %s (%s)", #call,                       \
                      sockref_status_name(got_), sockref_status_name(status_),                     \
                      sockref_last_error()->message);                                              \
        harness_assert_error(status_);                                                             \
    } while (0)
#define harness_assert_ok(call)                                                                    \
    do {                                                                                           \
        int got_ = (call);                                                                         \
        ck_assert_msg(got_ == 0, "%s: %s (%s)", #call, sockref_status_name(got_),                  \
                      sockref_last_error()->message);                                              \
    } while (0)

/* Whether IPv6 can be used here; says so where it can not, and the case is passed over. */
bool harness_has_v6(void);

#endif
