/* An intrusive doubly linked list; a head is a node that is linked to itself. */
#ifndef SR_BASE_LIST_H
#define SR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct sr_list {
    struct sr_list *next, *prev;
};

#define SR_LIST_INIT(head)                                                                         \
    {                                                                                              \
        &(head), &(head)                                                                           \
    }
#define SR_LIST_OWNER(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
#define SR_LIST_EACH(node, head)          for (node = (head)->next; node != (head); node = node->next)
#define SR_LIST_EACH_SAFE(node, next_, head)                                                       \
    for (node = (head)->next, next_ = node->next; node != (head); node = next_, next_ = node->next)

static inline void sr_list_init(struct sr_list *node)
{
    node->next = node->prev = node;
}

static inline bool sr_list_is_empty(const struct sr_list *head)
{
    return head->next == head;
}

static inline void sr_list_append(struct sr_list *head, struct sr_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* The node stays usable: removing it once more does nothing. */
static inline void sr_list_remove(struct sr_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    sr_list_init(node);
}

/* All nodes of one list go to the end of another. */
static inline void sr_list_move(struct sr_list *to, struct sr_list *from)
{
    if (sr_list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    sr_list_init(from);
}

#endif
