/* Who serves a listener: attach and detach, for the net floor. */
#include "base/error.h"
#include "ref/state.h"

static void attach_locked(sockref_registry *self, struct sr_life *life, struct sr_service *service)
    SR_REQUIRES(self->mutex)
{
    life->service = service;
    sr_life_acquire(life);
    sr_registry_hold_locked(self);
}

struct sr_service *sr_service_take(sockref_registry *self, struct sr_life *life)
{
    struct sr_service *service = life->service;

    life->service = NULL;
    if (service)
        self->pending++;
    return service;
}

int sr_registry_refuse(const sockref *ref, int status)
{
    uint64_t word = atomic_load(&ref->word);
    const char *why = "nothing is bound: listen on the name first";

    if (status == SOCKREF_EFORKED)
        why = "the reference belongs to the parent process";
    else if (!sr_word_is_active(word))
        why = "the name was revoked";
    else if (sr_word_state(word) == SR_JOINED || sr_word_state(word) == SR_TURNING)
        why = "another registry owns the name: nothing is bound here until this one does";
    return sr_error_set(status, sr_entry_path(ref), "%s", why);
}

int sr_registry_attach(sockref *ref, struct sr_service *service, struct sr_life **out_life)
{
    sockref_registry *self = ref->registry;
    struct sr_life *life;
    uint64_t word;
    int status = 0;

    if (atomic_load(&ref->word) & SR_FORKED)
        return sr_registry_refuse(ref, SOCKREF_EFORKED);
    sr_mutex_lock(&self->mutex);
    word = atomic_load(&ref->word);
    life = ref->rest->life;
    if (!sr_word_listens(word))
        status = sr_registry_refuse(ref, SOCKREF_ECLOSED);
    else if (life->service)
        status = sr_error_set(SOCKREF_EBUSY, sr_entry_path(ref), "the name is served already");
    if (status == 0) {
        attach_locked(self, life, service);
        *out_life = life;
    }
    sr_mutex_unlock(&self->mutex);
    return status;
}

int sr_registry_listening_fd(const sockref *ref)
{
    uint64_t word = atomic_load_explicit(&ref->word, memory_order_acquire);

    if (word & SR_FORKED)
        return sr_registry_refuse(ref, SOCKREF_EFORKED);
    if (!sr_word_is_active(word) || !sr_word_listens(word))
        return sr_registry_refuse(ref, SOCKREF_ECLOSED);
    return ref->rest->life->file.fd;
}

int sr_registry_visit(const sockref *ref, void (*visit)(struct sr_life *life, void *arg), void *arg)
{
    sockref_registry *self = ref->registry;
    uint64_t word = atomic_load(&ref->word);

    if (word & SR_FORKED)
        return SOCKREF_EFORKED;
    sr_mutex_lock(&self->mutex);
    word = atomic_load(&ref->word);
    if (sr_word_listens(word))
        visit(ref->rest->life, arg);
    sr_mutex_unlock(&self->mutex);
    return sr_word_listens(word) ? 0 : SOCKREF_ECLOSED;
}

int sr_registry_visit_held(const sockref *ref,
                           void (*visit)(struct sr_life *life, enum sr_hold hold, void *arg),
                           void *arg)
{
    sockref_registry *self = ref->registry;
    uint64_t word = atomic_load(&ref->word);
    int status = 0;

    if (word & SR_FORKED)
        return SOCKREF_EFORKED;
    sr_mutex_lock(&self->mutex);
    word = atomic_load(&ref->word);
    if (sr_word_listens(word))
        visit(ref->rest->life, SR_HOLD_OWNED, arg);
    else if (sr_word_state(word) == SR_JOINED)
        visit(ref->rest->life, SR_HOLD_JOINED, arg);
    else if (sr_word_state(word) == SR_TURNING)
        visit(ref->rest->life, SR_HOLD_TURNING, arg);
    else
        status = SOCKREF_ECLOSED;
    sr_mutex_unlock(&self->mutex);
    return status;
}

static void take(struct sr_life *life, void *arg) SR_REQUIRES(life->registry->mutex)
{
    struct sr_service **out_service = arg;

    *out_service = sr_service_take(life->registry, life);
}

int sr_registry_take_service(const sockref *ref, struct sr_service **out_service)
{
    return sr_registry_visit(ref, take, out_service);
}

void sr_registry_attach_life(struct sr_life *life, struct sr_service *service)
{
    sockref_registry *self = life->registry;

    sr_mutex_lock(&self->mutex);
    attach_locked(self, life, service);
    sr_mutex_unlock(&self->mutex);
}

bool sr_registry_detach(struct sr_life *life, struct sr_service *service)
{
    sockref_registry *self = life->registry;
    bool was_attached;

    sr_mutex_lock(&self->mutex);
    was_attached = life->service == service;
    if (was_attached)
        life->service = NULL;
    sr_mutex_unlock(&self->mutex);
    return was_attached;
}
