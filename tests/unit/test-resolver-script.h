/* Answers of a resolver, so that the suites look nothing up: each host name says what comes of it.
 */
#ifndef TEST_RESOLVER_SCRIPT_H
#define TEST_RESOLVER_SCRIPT_H

#include "net/resolve.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * A name is made of words, one for each address in the order of the answer, and a last one:
 *
 *     "6.4.test"    ::1, then 127.0.0.1
 *     "none.test", "nodata.test", "again.test", "memory.test", "system.test", "fail.test": failures
 *     "slow.4.test" the same as "4.test", once script_let_go() was called
 */
static sem_t script_go;
static atomic_int script_running, script_calls, script_family;

static inline void script_let_go(unsigned lookups)
{
    while (lookups-- > 0)
        sem_post(&script_go);
}

static struct addrinfo *script_address(int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const size_t size = family == AF_INET ? sizeof v4 : sizeof v6;
    struct addrinfo *info = calloc(1, sizeof *info + sizeof v6);

    info->ai_family = family;
    info->ai_addrlen = (socklen_t)size;
    info->ai_addr = (struct sockaddr *)(info + 1);
    memcpy(info->ai_addr, family == AF_INET ? (void *)&v4 : (void *)&v6, size);
    return info;
}

static int script_failure(const char *host)
{
    static const struct {
        const char *host;
        int failure;
    } failures[] = {
        {"none.test", EAI_NONAME},       {"nodata.test", EAI_NODATA}, {"again.test", EAI_AGAIN},
        {"memory.test", EAI_MEMORY},     {"fail.test", EAI_FAIL},     {"system.test", EAI_SYSTEM},
        {"family.test", EAI_ADDRFAMILY},
    };

    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (strcmp(host, failures[i].host) == 0)
            return failures[i].failure;
    return 0;
}

static int script_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                              struct addrinfo **out)
{
    struct addrinfo **end = out;

    (void)service;
    atomic_fetch_add(&script_calls, 1);
    atomic_store(&script_family, hints->ai_family);
    if (strncmp(host, "slow.", 5) == 0) {
        atomic_fetch_add(&script_running, 1);
        while (sem_wait(&script_go) < 0)
            continue;
        atomic_fetch_sub(&script_running, 1);
        host += 5;
    }
    errno = ECONNRESET;
    if (script_failure(host))
        return script_failure(host);
    *out = NULL;
    for (; *host == '4' || *host == '6'; host += 2) {
        int family = *host == '4' ? AF_INET : AF_INET6;

        if (hints->ai_family != AF_UNSPEC && hints->ai_family != family)
            continue;
        *end = script_address(family);
        end = &(*end)->ai_next;
    }
    return *out ? 0 : EAI_ADDRFAMILY;
}

static void script_freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

static void script_begin(void)
{
    sem_init(&script_go, 0, 0);
    sr_resolver.getaddrinfo = script_getaddrinfo;
    sr_resolver.freeaddrinfo = script_freeaddrinfo;
}

#endif
