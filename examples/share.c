/*
 * share PATH: hold a name together with other processes, and serve it whenever this one owns it.
 *
 * The first line of input starts the name, each further one has the program tell what it knows of
 * it, and the end of the input ends it. Where the owner is killed, the name is started anew.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sockref/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *path;

/* What is held; the service thread changes it, and the main thread looks at it. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sockref *held;
static bool is_ending;

static void begin(void);

static void say(const char *what)
{
    printf("C      (%d): %s\n", (int)getpid(), what);
    fflush(stdout);
}

static void fail(void)
{
    say(sockref_last_error()->message);
    exit(EXIT_FAILURE);
}

static void tell(const sockref *ref)
{
    char what[80];

    snprintf(what, sizeof what, "%s, holders: %" PRIu64, sockref_is_owner(ref) ? "owner" : "joined",
             sockref_holder_count(ref));
    say(what);
}

/* Hold another reference, or none; the one before is given back. */
static void hold(sockref *ref)
{
    sockref *before;

    pthread_mutex_lock(&mutex);
    before = held;
    held = ref;
    if (is_ending) {
        held = NULL;
        sockref_release(ref);
    }
    pthread_mutex_unlock(&mutex);
    sockref_release(before);
}

/* On the service thread. It must not wait there, so it starts without waiting. */
static void on_event(sockref *ref, int event, void *user)
{
    (void)user;
    if (event == SOCKREF_WATCH_LOST) {
        say("lost the owner, start anew");
        hold(NULL);
        begin();
    } else if (event == SOCKREF_WATCH_OWNER && sockref_is_owner(ref)) {
        tell(ref);
    }
}

static void on_start(int status, sockref *ref, void *user)
{
    (void)user;
    if (status < 0)
        fail();
    tell(ref);
    status = sockref_set_watch(ref, on_event, NULL, NULL);
    hold(ref);
    if (status < 0) /* it was lost in this moment */
        begin();
}

/* The handlers are kept: they serve the name as soon as this process owns it. */
static void begin(void)
{
    sockref_options *options = sockref_options_new();

    if (!options || sockref_options_set_handlers(options, sockref_echo_handlers(), NULL) < 0 ||
        sockref_registry_start_listener(NULL, path, options, on_start, NULL) < 0)
        fail();
    sockref_options_free(options);
}

int main(int argc, char **argv)
{
    bool is_begun = false;
    int c;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    path = argv[1];
    say("ready");
    while ((c = getchar()) != EOF) {
        if (c != '\n')
            continue;
        if (!is_begun) {
            begin(); /* on_start tells what came of it */
            is_begun = true;
            continue;
        }
        pthread_mutex_lock(&mutex);
        if (held)
            tell(held);
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    is_ending = true;
    pthread_mutex_unlock(&mutex);
    hold(NULL);
    say("released");
    return EXIT_SUCCESS; /* what is served still is handed to another holder */
}
