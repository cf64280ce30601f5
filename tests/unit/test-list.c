/* The list: src/base/list.h. */
#include "base/list.h"

#include "harness/harness.h"

#include <stdlib.h>

struct item {
    int number;
    struct sr_list node;
};

#define MANY 100

static struct item items[MANY];
static struct sr_list head;

static struct item *item_of(struct sr_list *node)
{
    return SR_LIST_OWNER(node, struct item, node);
}

static void fill(int count)
{
    sr_list_init(&head);
    for (int i = 0; i < count; i++) {
        items[i].number = i;
        sr_list_append(&head, &items[i].node);
    }
}

static int length_of(const struct sr_list *list)
{
    struct sr_list *node;
    int length = 0;

    SR_LIST_EACH(node, list)
    {
        ck_assert_ptr_eq(node->next->prev, node);
        ck_assert_ptr_eq(node->prev->next, node);
        length++;
    }
    return length;
}

START_TEST(a_new_list_is_empty)
{
    struct sr_list list = SR_LIST_INIT(list);

    ck_assert(sr_list_is_empty(&list));
    sr_list_init(&head);
    ck_assert(sr_list_is_empty(&head));
    ck_assert_int_eq(length_of(&head), 0);
}
END_TEST

START_TEST(nodes_stand_in_the_order_of_appending)
{
    struct sr_list *node;
    int expected = 0;

    fill(MANY);
    SR_LIST_EACH(node, &head)
    {
        ck_assert_int_eq(item_of(node)->number, expected);
        expected++;
    }
    ck_assert_int_eq(expected, MANY);
}
END_TEST

START_TEST(a_node_can_be_removed_twice)
{
    fill(3);
    sr_list_remove(&items[1].node);
    sr_list_remove(&items[1].node);
    ck_assert(sr_list_is_empty(&items[1].node));
    ck_assert_int_eq(length_of(&head), 2);
    ck_assert_ptr_eq(items[0].node.next, &items[2].node);
}
END_TEST

START_TEST(the_safe_walk_survives_the_removal_of_its_node)
{
    struct sr_list *node, *next;

    fill(MANY);
    SR_LIST_EACH_SAFE(node, next, &head)
    {
        if (item_of(node)->number % 2)
            sr_list_remove(node);
    }
    ck_assert_int_eq(length_of(&head), MANY / 2);
}
END_TEST

START_TEST(a_list_moves_to_the_end_of_another)
{
    struct sr_list other;

    fill(4);
    sr_list_init(&other);
    sr_list_remove(&items[3].node);
    sr_list_append(&other, &items[3].node);
    sr_list_move(&other, &head);
    ck_assert(sr_list_is_empty(&head));
    ck_assert_int_eq(length_of(&other), 4);
    ck_assert_ptr_eq(other.next, &items[3].node);
    ck_assert_ptr_eq(other.prev, &items[2].node);
    sr_list_move(&other, &head); /* from an empty one: nothing */
    ck_assert_int_eq(length_of(&other), 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *tcase = harness_tcase(suite, "list");

    tcase_add_test(tcase, a_new_list_is_empty);
    tcase_add_test(tcase, nodes_stand_in_the_order_of_appending);
    tcase_add_test(tcase, a_node_can_be_removed_twice);
    tcase_add_test(tcase, the_safe_walk_survives_the_removal_of_its_node);
    tcase_add_test(tcase, a_list_moves_to_the_end_of_another);
    return harness_run(suite);
}
