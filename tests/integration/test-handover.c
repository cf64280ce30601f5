/* A listener that goes from process to process is the same one for its clients: none is refused,
 * and none is lost in the queue. */
#include "holder.h"

#define CHANGES (IS_BRIEF ? 100 : 1000)
#define CREW    4
/* Clients that may wait: more than one change of owner sees, fewer than the queue takes. */
#define MOST_AHEAD 200

static struct child crew[CREW];
static long accepted;

/* The number of the one that owns the name, or -1. */
static int look_for_owner(const struct child *holders, int count)
{
    for (int i = 0; i < count; i++)
        if (tell(&holders[i], IS_OWNER) == DONE)
            return i;
    return -1;
}

/* There is one in time, and no other. */
static int find_owner(void)
{
    int owner;

    WAIT_UNTIL((owner = look_for_owner(crew, CREW)) >= 0);
    ck_assert_int_eq(look_for_owner(crew + owner + 1, CREW - owner - 1), -1);
    return owner;
}

/* All that wait are accepted; what is dialled without a stop gets no further ahead than a change of
 * owner takes. */
static void drain(int owner, struct dialler *dialler)
{
    int count;

    do
        accepted += count = ask_number(&crew[owner], DRAIN);
    while (count == MOST_DRAINED);
    atomic_store(&dialler->most, accepted + MOST_AHEAD);
}

START_TEST(no_client_is_refused_while_the_owner_changes_a_thousand_times)
{
    struct dialler dialler;
    ino_t inode;

    accepted = 0;
    for (int i = 0; i < CREW; i++) {
        crew[i] = spawn_holder_of(path);
        ck_assert_int_eq(tell(&crew[i], START), i == 0 ? OWNED : JOINED);
    }
    inode = inode_of(path);
    begin_dialling(&dialler, path);
    atomic_store(&dialler.most, MOST_AHEAD); /* or it might outrun the first drain for ever */
    for (int change = 1, owner = 0; change <= CHANGES && !dialler.refusal; change++) {
        int old = owner;

        drain(owner, &dialler);
        ck_assert_int_eq(tell(&crew[old], RELEASE), DONE);
        owner = find_owner();
        ck_assert_int_ne(owner, old);
        ck_assert_uint_eq(inode_of(path), inode);
        ck_assert_int_eq(tell(&crew[old], START), JOINED);
    }
    end_dialling(&dialler);
    drain(find_owner(), &dialler);
    ck_assert_int_eq(accepted, dialler.dialled);
    ck_assert_int_ge(accepted, CHANGES / 10);
    for (int i = 0; i < CREW; i++)
        end_in_order(&crew[i]);
    WAIT_UNTIL(count_entries(directory) == 0);
}
END_TEST

enum { MANY = 24 };

/* An owner's process ends: with the name held, or right after it let go of it. */
static void end_owner(struct child *owner, int way)
{
    if (way > 0)
        ck_assert_int_eq(tell(owner, RELEASE), DONE);
    end_in_order(owner);
}

/* Many hold the name, each ends when it has become the owner, and nobody comes again. */
START_TEST(each_of_many_holders_owns_in_turn)
{
    struct child holders[MANY];
    struct dialler dialler;
    sockref *ref;

    for (int i = 0; i < MANY; i++) {
        holders[i] = spawn_holder_of(path);
        ck_assert_int_eq(tell(&holders[i], START), i == 0 ? OWNED : JOINED);
    }
    ref = start(NULL, path);
    begin_dialling(&dialler, path);
    for (int left = MANY; left > 0 && !dialler.refusal; left--) {
        int owner;

        WAIT_UNTIL((owner = look_for_owner(holders, left)) >= 0 || sockref_is_owner(ref));
        if (owner < 0)
            owner = left - 1; /* it has come here, out of turn: they all just hold it */
        end_owner(&holders[owner], _i);
        holders[owner] = holders[left - 1];
    }
    WAIT_UNTIL(sockref_is_owner(ref) || dialler.refusal);
    end_dialling(&dialler);
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(ref);
    WAIT_UNTIL(count_entries(directory) == 0); /* the last owner may have the lock yet */
}
END_TEST

/* Who may not pass it on, ends it: the others lose it. */
START_TEST(without_handover_the_name_ends)
{
    struct child joiner = spawn_holder_of(path);
    sockref *ref = start_with(NULL, path, SOCKREF_OPT_HANDOVER, 0);

    ck_assert_int_eq(tell(&joiner, START), JOINED);
    sockref_release(ref);
    ck_assert_int_eq(tell(&joiner, AWAIT_LOST), DONE);
    WAIT_UNTIL(count_entries(directory) == 0);
    end_in_order(&joiner);
}
END_TEST

static const struct role roles[] = {HOLDER_ROLE, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("handover");
    TCase *tcase = add_case(suite, "handover");

    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, no_client_is_refused_while_the_owner_changes_a_thousand_times);
    tcase_add_loop_test(tcase, each_of_many_holders_owns_in_turn, 0, 2);
    tcase_add_test(tcase, without_handover_the_name_ends);
    return run_suite(suite, argc, argv, roles);
}
