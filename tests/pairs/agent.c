/*
 * One holder of a name, driven by lines: the reference for the protocol that the agents of all
 * languages speak. Each line of standard input is a command in JSON, each is answered by one line:
 *
 *   {"cmd":"start","path":P,"options":{...}}   {"ok":true,"owner":B,"holders":N}
 *   {"cmd":"status"}                           {"active":B,"owner":B,"holders":N,"count":N}
 *   {"cmd":"wait","event":E,"timeout":MS}      {"ok":B}
 *   {"cmd":"serve"}                            {"ok":true}
 *   {"cmd":"dial","path":P,"text":T}           {"ok":true,"text":T}
 *   {"cmd":"close"}                            {"ok":true}
 *   {"cmd":"exit"}                             {"ok":true}
 *
 * What fails is answered by {"ok":false,"code":"ESOCKREF_BUSY","message":"..."}.
 *
 * Options are share, guard, exclusive, mode and handover; true is 1. An agent holds one reference:
 * a start that succeeds takes the place of what was held before, and forgets what was heard. wait
 * takes one event, "lost" or "owner", that was heard since the start and not waited for. dial sends
 * the text and reads as many bytes. exit, and the end of input, end the program with what it holds.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sockref/net.h>
#include <sockref/sockref.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES  (1 << 20)
#define DIAL_TIMEOUT_MS 20000

/* ---- JSON, as much of it as the protocol needs ---- */

/* Past a value that is no object's or array's part any more. */
static const char *skip_value(const char *at)
{
    int depth = 0;

    do {
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++)
                if (*at == '\\' && at[1])
                    at++;
            if (*at)
                at++;
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else {
            at++;
        }
    } while (*at && (depth > 0 || !strchr(",}]", *at)));
    return at;
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* The value of a key of an object; NULL where it has none. */
static const char *find(const char *object, const char *key)
{
    size_t length = strlen(key);
    const char *at;

    if (!object || *object != '{')
        return NULL;
    at = skip_space(object + 1);
    while (*at == '"') {
        bool found = strncmp(at + 1, key, length) == 0 && at[length + 1] == '"';

        for (at++; *at && *at != '"'; at++)
            continue;
        at = skip_space(*at ? at + 1 : at);
        if (*at != ':')
            return NULL;
        at = skip_space(at + 1);
        if (found)
            return at;
        at = skip_space(skip_value(at));
        if (*at == ',')
            at = skip_space(at + 1);
    }
    return NULL;
}

static char *put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

static unsigned hex(const char *digits)
{
    char four[5] = {0};

    memcpy(four, digits, strnlen(digits, 4));
    return (unsigned)strtoul(four, NULL, 16);
}

/* A string's text, to be freed; NULL where the value is none. */
static char *text_of(const char *value)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char *text, *out;

    if (!value || *value != '"')
        return NULL;
    text = out = malloc(strlen(value) + 1);
    if (!text)
        abort();
    for (value++; *value && *value != '"'; value++) {
        const char *letter;

        if (*value != '\\' || !value[1]) {
            *out++ = *value;
            continue;
        }
        value++;
        if (*value == 'u' && strnlen(value, 5) == 5) {
            unsigned code = hex(value + 1);

            value += 4;
            if (code >= 0xd800 && code < 0xdc00 && value[1] == '\\' && value[2] == 'u' &&
                strnlen(value, 7) == 7) {
                code = 0x10000 + ((code - 0xd800) << 10) + ((hex(value + 3) - 0xdc00) & 0x3ff);
                value += 6;
            }
            out = put_utf8(out, code);
        } else {
            letter = strchr(letters, *value);
            *out++ = letter ? meant[letter - letters] : *value;
        }
    }
    *out = '\0';
    return text;
}

/* A number or a boolean. */
static long long number_of(const char *value)
{
    if (strncmp(value, "true", 4) == 0)
        return 1;
    return strtoll(value, NULL, 10);
}

static void put_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

/* ---- answers ---- */

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void answer(bool ok)
{
    printf("{\"ok\":%s}\n", boolean(ok));
}

static void answer_failure(const char *code, const char *message)
{
    printf("{\"ok\":false,\"code\":\"%s\",\"message\":", code);
    put_text(message);
    printf("}\n");
}

static void answer_status(int status)
{
    answer_failure(sockref_status_name(status), sockref_last_error()->message);
}

/* ---- the reference ---- */

static sockref *held;

/* How often each event was heard, and not waited for. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static unsigned heard[SOCKREF_WATCH_SHUTDOWN + 1];

static void on_event(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    if (event < 1 || event > SOCKREF_WATCH_SHUTDOWN)
        return;
    pthread_mutex_lock(&mutex);
    heard[event]++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static sockref_options *make_options(const char *object)
{
    static const struct {
        const char *key;
        int option;
    } known[] = {{"share", SOCKREF_OPT_SHARE},
                 {"guard", SOCKREF_OPT_GUARD},
                 {"exclusive", SOCKREF_OPT_EXCLUSIVE},
                 {"mode", SOCKREF_OPT_MODE},
                 {"handover", SOCKREF_OPT_HANDOVER}};
    sockref_options *options = sockref_options_new();

    for (size_t i = 0; options && i < sizeof known / sizeof *known; i++) {
        const char *value = find(object, known[i].key);

        if (value && sockref_options_set_int(options, known[i].option, number_of(value)) < 0) {
            sockref_options_free(options);
            return NULL;
        }
    }
    return options;
}

static void start(const char *command)
{
    char *path = text_of(find(command, "path"));
    sockref_options *options = make_options(find(command, "options"));
    sockref *fresh = NULL;
    int status = options ? 0 : -EINVAL;

    if (status == 0)
        status = sockref_registry_listen(NULL, path, options, &fresh);
    if (status < 0) {
        answer_status(status);
    } else {
        pthread_mutex_lock(&mutex);
        memset(heard, 0, sizeof heard);
        pthread_mutex_unlock(&mutex);
        status = sockref_set_watch(fresh, on_event, NULL, NULL);
        if (status == SOCKREF_ECLOSED)
            on_event(fresh, SOCKREF_WATCH_LOST, NULL); /* lost in this moment */
        sockref_release(held);
        held = fresh;
        printf("{\"ok\":true,\"owner\":%s,\"holders\":%llu}\n", boolean(sockref_is_owner(held)),
               (unsigned long long)sockref_holder_count(held));
    }
    sockref_options_free(options);
    free(path);
}

static void tell_status(void)
{
    printf("{\"active\":%s,\"owner\":%s,\"holders\":%llu,\"count\":%llu}\n",
           boolean(sockref_is_active(held)), boolean(sockref_is_owner(held)),
           (unsigned long long)sockref_holder_count(held),
           (unsigned long long)sockref_reference_count(held));
}

static void wait_for(const char *command)
{
    const char *timeout = find(command, "timeout");
    char *name = text_of(find(command, "event"));
    long long ms = timeout ? number_of(timeout) : 0;
    struct timespec until;
    int event = 0, status = 0;
    bool ok;

    if (name && strcmp(name, "lost") == 0)
        event = SOCKREF_WATCH_LOST;
    else if (name && strcmp(name, "owner") == 0)
        event = SOCKREF_WATCH_OWNER;
    free(name);
    if (event == 0) {
        answer_failure("EINVAL", "no such event");
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&mutex);
    while (heard[event] == 0 && status == 0)
        status = pthread_cond_timedwait(&changed, &mutex, &until);
    ok = heard[event] > 0;
    if (ok)
        heard[event]--;
    pthread_mutex_unlock(&mutex);
    answer(ok);
}

static void serve(void)
{
    int status = held ? sockref_serve(held, sockref_echo_handlers(), NULL) : SOCKREF_ECLOSED;

    if (held && status < 0)
        answer_status(status);
    else if (status < 0)
        answer_failure(sockref_status_name(status), "nothing is held");
    else
        answer(true);
}

/* ---- a client, without the library ---- */

/* Send all and read as much into the same buffer; 0 or an errno. */
static int exchange(int fd, char *text)
{
    struct timeval limit = {.tv_sec = DIAL_TIMEOUT_MS / 1000};
    size_t length = strlen(text), done = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    while (done < length) {
        ssize_t sent = send(fd, text + done, length - done, MSG_NOSIGNAL);

        if (sent < 0 && errno != EINTR)
            return errno == EAGAIN ? ETIMEDOUT : errno;
        done += sent > 0 ? (size_t)sent : 0;
    }
    memset(text, 0, length);
    for (done = 0; done < length;) {
        ssize_t got = recv(fd, text + done, length - done, 0);

        if (got == 0)
            return ECONNRESET;
        if (got < 0 && errno != EINTR)
            return errno == EAGAIN ? ETIMEDOUT : errno;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int dial_path(const char *path, char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error = 0;

    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        error = errno;
    if (error == 0)
        error = exchange(fd, text);
    close(fd);
    return error;
}

static void dial(const char *command)
{
    char *path = text_of(find(command, "path")), *text = text_of(find(command, "text"));
    int error = path && text ? dial_path(path, text) : EINVAL;

    if (error) {
        answer_failure(sockref_status_name(-error), strerror(error));
    } else {
        printf("{\"ok\":true,\"text\":");
        put_text(text);
        printf("}\n");
    }
    free(path);
    free(text);
}

/* ---- commands ---- */

/* False: it was the last one. */
static bool run(const char *line)
{
    const char *command = skip_space(line);
    char *name = text_of(find(command, "cmd"));
    bool more = true;

    if (!name) {
        answer_failure("EINVAL", "no command");
    } else if (strcmp(name, "start") == 0) {
        start(command);
    } else if (strcmp(name, "status") == 0) {
        tell_status();
    } else if (strcmp(name, "wait") == 0) {
        wait_for(command);
    } else if (strcmp(name, "serve") == 0) {
        serve();
    } else if (strcmp(name, "dial") == 0) {
        dial(command);
    } else if (strcmp(name, "close") == 0) {
        sockref_release(held);
        held = NULL;
        answer(true);
    } else if (strcmp(name, "exit") == 0) {
        answer(true);
        more = false;
    } else {
        answer_failure("EINVAL", "no such command");
    }
    free(name);
    fflush(stdout);
    return more;
}

int main(void)
{
    char *line = malloc(LINE_MAX_BYTES);
    pthread_condattr_t attributes;

    if (!line)
        return 1;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    while (fgets(line, LINE_MAX_BYTES, stdin) && run(line))
        continue;
    free(line);
    return 0;
}
