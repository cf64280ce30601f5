/* Registries, options and starts as the cases want them. */
#ifndef TEST_STARTS_H
#define TEST_STARTS_H

#include "case.h"
#include "plain-sockets.h"

static inline sockref *start(sockref_registry *registry, const char *name)
{
    sockref *ref = NULL;
    int status = sockref_registry_listen(registry, name, NULL, &ref);

    ck_assert_msg(status == 0, "%s: %s", sockref_status_name(status),
                  sockref_last_error()->message);
    ck_assert_ptr_nonnull(ref);
    return ref;
}

static inline sockref_options *make_options(int option, int64_t value)
{
    sockref_options *options = sockref_options_new();

    ck_assert_ptr_nonnull(options);
    if (option)
        ck_assert_int_eq(sockref_options_set_int(options, option, value), 0);
    return options;
}

static inline int try_start_with(sockref_registry *registry, const char *name, int option,
                                 int64_t value, sockref **out_ref)
{
    sockref_options *options = make_options(option, value);
    int status = sockref_registry_listen(registry, name, options, out_ref);

    sockref_options_free(options);
    return status;
}

static inline sockref *start_with(sockref_registry *registry, const char *name, int option,
                                  int64_t value)
{
    sockref *ref = NULL;

    ck_assert_int_eq(try_start_with(registry, name, option, value, &ref), 0);
    return ref;
}

/* The same for a child, with up to two options (0: none). */
static inline int listen_with(const char *name, int first, int64_t first_value, int second,
                              int64_t second_value, sockref **out_ref)
{
    sockref_options *options = sockref_options_new();
    int status = -ENOMEM;

    if (options && (!first || sockref_options_set_int(options, first, first_value) == 0) &&
        (!second || sockref_options_set_int(options, second, second_value) == 0))
        status = sockref_registry_listen(NULL, name, options, out_ref);
    sockref_options_free(options);
    return status;
}

static inline int try_start(sockref_registry *registry, const char *name)
{
    sockref *ref = NULL;
    int status = sockref_registry_listen(registry, name, NULL, &ref);

    sockref_release(ref);
    return status;
}

static inline sockref_registry *make_registry(int option, int64_t value)
{
    sockref_options *options = make_options(option, value);
    sockref_registry *registry = NULL;

    ck_assert_int_eq(sockref_registry_new(options, &registry), 0);
    sockref_options_free(options);
    return registry;
}

/* A registry whose default names stand in the directory of the case. */
static inline sockref_registry *make_registry_here(void)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *registry = NULL;

    ck_assert_int_eq(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, directory), 0);
    ck_assert_int_eq(sockref_registry_new(options, &registry), 0);
    sockref_options_free(options);
    return registry;
}

/* Whether a held name is registered, and a client gets through to its listener; the client is let
 * go again. */
static inline bool is_in_use_at(sockref *ref, const char *name)
{
    int fd, accepted;

    if (!sockref_is_active(ref) || !sockref_registry_is_socket_active(NULL, name))
        return false;
    fd = try_dial(name);
    if (fd < 0)
        return false;
    /* Whosever connection it is: there is one for each that connected. */
    accepted = accept(sockref_fd(ref), NULL, NULL);
    close(fd);
    if (accepted < 0)
        return false;
    close(accepted);
    return true;
}

#endif
