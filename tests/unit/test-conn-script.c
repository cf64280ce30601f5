/*
 * Random scripts of calls and peers' doings, also inside callbacks, against the model of a
 * connection: all is as it promises, every byte taken arrives, in order, and nothing which can go
 * on stands still.
 */
#include "conn-model.h"
#include "test-conn-helpers.h"

#define STEPS 150
#ifdef __SANITIZE_THREAD__
#define SCRIPTS 50 /* a script has one thread: there is less to see than with other sanitizers */
#else
#define SCRIPTS 150
#endif

/* ---- a system that gives less than is asked for ---- */

static ssize_t short_send(int fd, const void *data, size_t length, int flags)
{
    if (length > 1 && fuzz_chance(3) == 0)
        length = 1 + fuzz_chance((uint32_t)length);
    return send(fd, data, length, flags);
}

static ssize_t short_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr first = *message;

    if (fuzz_chance(3) == 0)
        first.msg_iovlen = 1;
    return sendmsg(fd, &first, flags);
}

static ssize_t short_recv(int fd, void *data, size_t length, int flags)
{
    return recv(fd, data, fuzz_chance(3) == 0 ? 1 + fuzz_chance(5000) : length, flags);
}

static ssize_t short_recvmsg(int fd, struct msghdr *message, int flags)
{
    if (fuzz_chance(3) == 0 && message->msg_iov->iov_len > 5000)
        message->msg_iov->iov_len = 1 + fuzz_chance(5000);
    return recvmsg(fd, message, flags);
}

static void *scarce_malloc(size_t size)
{
    if (script.lacks_memory && fuzz_chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc(size);
}

static void *scarce_calloc(size_t count, size_t size)
{
    if (script.lacks_memory && fuzz_chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return calloc(count, size);
}

/* ---- peers ---- */

/* Send with some descriptors, or none. */
static ssize_t send_with(int fd, void *bytes, size_t length, unsigned fds)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct iovec part = {bytes, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds > 0) {
        message.msg_control = room;
        message.msg_controllen = CMSG_SPACE(fds * sizeof(int)); /* descriptor 0, each time */
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(fds * sizeof(int)),
            .cmsg_level = SOL_SOCKET,
            .cmsg_type = SCM_RIGHTS,
        };
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void peer_sends(struct model *model)
{
    bool may_pass = model->takes_descriptors && model->bundles_sent - model->bundles_got < BUNDLES;
    unsigned fds = may_pass ? fuzz_chance(4) : 0;
    size_t length = model_some_length() + (fds > 0);
    unsigned char *bytes = malloc(length + 1);
    ssize_t sent;

    model_fill_bytes(bytes, length, model->peer_sent, 1);
    sent = send_with(model->peer, bytes, length, fds);
    if (sent > 0 && fds > 0)
        model->bundles[model->bundles_sent++ % BUNDLES] = (struct bundle){model->peer_sent, fds};
    if (sent > 0)
        model->peer_sent += (uint64_t)sent;
    free(bytes);
}

/* Returns what recv() does; descriptors are counted and closed. */
static ssize_t receive(struct model *model, void *bytes, size_t length)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(4 * sizeof(int))];
    struct iovec part = {bytes, length};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t got = recvmsg(model->peer, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    int fd;

    if (head) {
        EXPECT(model, head->cmsg_len == CMSG_LEN(sizeof fd));
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
        close(fd);
        model->peer_fds++;
    }
    return got;
}

/* Returns whether there was something. */
static bool peer_reads(struct model *model)
{
    static unsigned char bytes[65536];
    ssize_t length;

    if (model->peer < 0 || model->peer_saw_end || model->peer_broken)
        return false;
    length = receive(model, bytes, 1 + fuzz_chance(sizeof bytes - 1));
    if (length > 0) {
        model_check_bytes(model, bytes, (size_t)length, model->peer_got, 0);
        model->peer_got += (uint64_t)length;
        EXPECT(model, model->peer_got <= model->taken && model->peer_fds <= model->fds_taken);
    } else if (length == 0) {
        model->peer_saw_end = true;
        EXPECT(model, model->ended || model->destroyed || model->told_error);
        EXPECT(model, model->destroyed || model->peer_got == model->taken);
    } else if (errno != EAGAIN) {
        EXPECT(model, model->destroyed || model_look(model).destroyed || model->closed);
        model->peer_broken = true;
    }
    return length > 0;
}

static void peer_closes(struct model *model)
{
    const struct linger none = {.l_onoff = 1};

    if (fuzz_chance(2) == 0)
        setsockopt(model->peer, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(model->peer);
    model->peer = -1;
}

static void peer_does_something(struct model *model)
{
    uint32_t which = fuzz_chance(30);

    script.last_call = "a peer";
    if (model->peer < 0)
        return;
    if (which < 14 && !model->peer_shut)
        peer_sends(model);
    else if (which < 28)
        peer_reads(model);
    else if (which == 28 && fuzz_chance(3) == 0)
        model->peer_shut |= shutdown(model->peer, SHUT_WR) == 0;
    else if (which == 29 && fuzz_chance(4) == 0)
        peer_closes(model);
}

/* ---- a script ---- */

/* What a connection begins with. */
static void adopt(struct model *model, int fd)
{
    static const unsigned flags[] = {SOCKREF_CONN_PAUSED,   SOCKREF_CONN_HALF_OPEN,
                                     SOCKREF_CONN_AUTO_END, SOCKREF_CONN_NODELAY,
                                     SOCKREF_CONN_UNHELD,   SOCKREF_CONN_KEEPALIVE};
    sockref_conn_options options = {
        .size = sizeof options, .high_water = HIGH_WATER, .max_buffered = MOST};
    sockref_handlers handlers = model_handlers;
    bool lacked = script.lacks_memory;

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        options.flags |= fuzz_chance(5) == 0 ? flags[i] : 0;
    options.timeout_ms = model->timeout_ms = fuzz_chance(5) == 0 ? 1 + fuzz_chance(5) : 0;
    options.keepalive_delay_ms = fuzz_chance(3000);
    model->paused = options.flags & SOCKREF_CONN_PAUSED;
    model->is_unheld = options.flags & SOCKREF_CONN_UNHELD;
    model->ends_itself =
        (options.flags & SOCKREF_CONN_AUTO_END) && !(options.flags & SOCKREF_CONN_HALF_OPEN);
    model->takes_descriptors = !model->is_tcp && fuzz_chance(2);
    if (!model->takes_descriptors)
        handlers.on_descriptor = NULL;
    if (fuzz_chance(3) == 0)
        model->room = malloc(ROOM);
    else
        handlers.on_buffer = NULL;
    handlers.options = &options;
    script.lacks_memory = false;
    EXPECT(model, sockref_adopt(loop, fd, &handlers, model, &model->conn) == 0);
    script.lacks_memory = lacked;
}

static struct model *begin_one(void)
{
    struct model *model = calloc(1, sizeof *model);
    int fds[2];

    model->is_tcp = fuzz_chance(4) == 0;
    if (model->is_tcp)
        tcp_pair(fds);
    else
        unix_pair(fds);
    model->peer = fds[0];
    adopt(model, fds[1]);
    return model;
}

static void end_one(struct model *model)
{
    EXPECT(model, model->closed && model->stopped && model->lent == 0);
    model_check(model);
    if (model->peer >= 0)
        close(model->peer);
    sockref_conn_release(model->conn);
    free(model->room);
    free(model);
}

/* ---- the loop ---- */

static void posted(int status, void *user)
{
    struct script *of = user;

    ck_assert(status == 0 || status == SOCKREF_ECANCELED);
    ck_assert_uint_gt(of->posts, 0);
    of->posts--;
    if (status == 0)
        model_act_in_callback();
}

static void post(void)
{
    int status;

    script.last_call = "post";
    status = sockref_loop_post(loop, posted, &script);
    if (status == 0)
        script.posts++;
    else
        ck_assert(status == -ENOMEM && script.may_lack);
}

/* A host looks at the descriptor; who has nothing else to do waits inside. */
static void dispatch(int timeout_ms)
{
    int status = 0;

    script.last_call = "dispatch";
    if (!script.by_descriptor)
        status = sockref_loop_dispatch(loop, timeout_ms);
    else if (is_readable(sockref_loop_fd(loop), timeout_ms))
        status = sockref_loop_dispatch(loop, 0);
    ck_assert_int_ge(status, 0);
}

static void check_holds(void)
{
    uint64_t holds = 0;

    for (int i = 0; i < CONNS; i++)
        holds += script.models[i] && !script.models[i]->closed && !script.models[i]->is_unheld;
    if (sockref_loop_hold_count(loop) != holds)
        model_wrong(NULL, "%llu hold the loop, and not %llu",
                    (unsigned long long)sockref_loop_hold_count(loop), (unsigned long long)holds);
}

/* Whether all that can still happen has happened. */
static bool is_still(const struct model *model)
{
    sockref_conn_details info = model_look(model);

    if (model->closed)
        return model->stopped;
    if (info.destroyed || model->peer < 0)
        return false; /* its end is to come */
    if (model->peer_broken)
        return true;
    return info.buffered == 0 && model->lent == 0 && !model->drain_owed &&
           model->peer_got == model->taken && model->peer_fds == model->fds_taken &&
           model->got == model->peer_sent && model->bundles_got == model->bundles_sent &&
           model->told_end == model->peer_shut && (!model->ended || model->peer_saw_end);
}

/* Nothing stands still that could go on: read all, resume all, and all arrives. */
static void settle_all(void)
{
    uint64_t until = deadline();

    script.last_call = "settling";
    script.lacks_memory = false;
    script.depth = 1; /* callbacks do nothing new */
    for (int i = 0; i < CONNS; i++)
        while (script.models[i] && !is_still(script.models[i])) {
            if (sr_clock_ns() > until)
                model_wrong(script.models[i],
                            "it stands still: %llu of %llu bytes sent, %llu of %llu got",
                            (unsigned long long)script.models[i]->peer_got,
                            (unsigned long long)script.models[i]->taken,
                            (unsigned long long)script.models[i]->got,
                            (unsigned long long)script.models[i]->peer_sent);
            if (script.models[i]->paused && !script.models[i]->destroyed) {
                if (sockref_conn_resume(script.models[i]->conn) == 0)
                    script.models[i]->paused = false;
            }
            for (int k = 0; k < CONNS; k++)
                while (script.models[k] && peer_reads(script.models[k]))
                    continue;
            if (script.models[i]->peer < 0 && !script.models[i]->destroyed &&
                script.models[i]->told_end)
                model_call_plain(script.models[i], MODEL_END);
            dispatch(1);
        }
    script.depth = 0;
}

/* It destroys them: what has failed, and was not told so, is told no more. */
static void free_loop(void)
{
    script.last_call = "loop_free";
    for (int i = 0; i < CONNS; i++)
        if (script.models[i])
            script.models[i]->destroyed = true;
    script.lacks_memory = false;
    sockref_loop_free(loop);
    ck_assert_uint_eq(script.posts, 0);
    for (int i = 0; i < CONNS; i++) {
        if (script.models[i])
            end_one(script.models[i]);
        script.models[i] = NULL;
    }
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static void play(void)
{
    script.may_lack = script.lacks_memory = fuzz_chance(4) == 0;
    script.by_descriptor = fuzz_chance(2);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)fuzz_chance(CONNS);

        fuzz.steps++;
        if (!script.models[i])
            script.models[i] = begin_one();
        if (fuzz_chance(3) == 0)
            peer_does_something(script.models[i]);
        else if (fuzz_chance(2) == 0)
            model_call_something(script.models[i]);
        else if (fuzz_chance(10) == 0)
            post();
        else if (fuzz_chance(10) == 0)
            sockref_loop_wake(loop);
        if (fuzz_chance(3) == 0)
            dispatch(fuzz_chance(20) == 0);
        check_holds();
        if (script.models[i]->stopped) {
            end_one(script.models[i]);
            script.models[i] = NULL;
        }
    }
    if (fuzz_chance(10))
        settle_all();
    free_loop();
}

/* ---- running them ---- */

static void setup_script(void)
{
    setup();
    sr_sys.send = short_send;
    sr_sys.sendmsg = short_sendmsg;
    sr_sys.recv = short_recv;
    sr_sys.recvmsg = short_recvmsg;
    sr_sys.malloc = scarce_malloc;
    sr_sys.calloc = scarce_calloc;
}

static void teardown_script(void)
{
    sr_sys.send = send;
    sr_sys.sendmsg = sendmsg;
    sr_sys.recv = recv;
    sr_sys.recvmsg = recvmsg;
    sr_sys.malloc = malloc;
    sr_sys.calloc = calloc;
    teardown();
}

START_TEST(scripts_do_as_the_model_says)
{
    fuzz_play(SCRIPTS, play);
}
END_TEST

int main(void)
{
    return fuzz_main("conn-script", scripts_do_as_the_model_says, setup_script, teardown_script);
}
