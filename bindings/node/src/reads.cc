#include "reads.h"

#include <algorithm>
#include <cstring>

namespace sr
{

namespace
{

constexpr size_t pool_size = 32 * 1024;
constexpr size_t pooled_limit = 4 * 1024;
constexpr size_t copied_limit = 32 * 1024;
constexpr size_t staging_size = 64 * 1024;

void *memory_of(napi_env env, napi_ref ref, size_t *out_length)
{
    napi_value buffer = nullptr;
    void *data = nullptr;

    *out_length = 0;
    if (napi_get_reference_value(env, ref, &buffer) != napi_ok || !buffer ||
        napi_get_buffer_info(env, buffer, &data, out_length) != napi_ok || *out_length == 0)
        return nullptr;
    return data;
}

napi_value value_of(napi_env env, napi_ref ref)
{
    napi_value value = nullptr;

    if (ref)
        napi_get_reference_value(env, ref, &value);
    return value;
}

void drop(napi_env env, napi_ref *ref)
{
    if (*ref)
        napi_delete_reference(env, *ref);
    *ref = nullptr;
}

char *make_buffer(napi_env env, size_t size, napi_ref *out_ref)
{
    napi_value buffer = nullptr;
    void *data = nullptr;

    if (napi_create_buffer(env, size, &data, &buffer) != napi_ok ||
        napi_create_reference(env, buffer, 1, out_ref) != napi_ok)
        return nullptr;
    return static_cast<char *>(data);
}

} // namespace

void Lent::set(napi_env env, napi_value buffer)
{
    env_ = env;
    drop(env, &ref_);
    if (buffer)
        napi_create_reference(env, buffer, 1, &ref_);
}

void *Lent::memory(size_t *out_length) const
{
    return ref_ ? memory_of(env_, ref_, out_length) : nullptr;
}

Reads::~Reads()
{
    drop(env_, &pool_ref_);
    drop(env_, &staging_ref_);
    drop(env_, &spare_ref_);
}

/* Nobody else sees it before it is given away, so its memory stays where it is. */
void *Reads::staging(size_t *inout_length)
{
    if (!staging_)
        staging_ = make_buffer(env_, staging_size, &staging_ref_);
    *inout_length = std::min(*inout_length, staging_size);
    return staging_;
}

/*
 * The next one is made ahead: it lies above those that the collector frees, or the allocator would
 * give the top of its heap back to the system each time, whose pages are then faulted in anew.
 */
napi_value Reads::give_staging()
{
    napi_value buffer = value_of(env_, staging_ref_);

    drop(env_, &staging_ref_);
    staging_ = spare_;
    staging_ref_ = spare_ref_;
    spare_ref_ = nullptr;
    spare_ = make_buffer(env_, staging_size, &spare_ref_);
    return buffer;
}

bool Reads::find_pool()
{
    size_t size = 0;

    if (!pool_ && pool_ref_)
        pool_ = static_cast<char *>(memory_of(env_, pool_ref_, &size));
    return pool_ != nullptr;
}

bool Reads::make_pool()
{
    drop(env_, &pool_ref_);
    pool_ = make_buffer(env_, pool_size, &pool_ref_);
    used_ = 0;
    return pool_ != nullptr;
}

bool Reads::is_full(size_t length) const
{
    return length <= pooled_limit && pool_ref_ && used_ + length > pool_size;
}

bool Reads::take_large(napi_value buffer, size_t length, int32_t *out_a, int32_t *out_b)
{
    if (!large_ && napi_create_array(env_, &large_) != napi_ok)
        return false;
    if (napi_set_element(env_, large_, large_count_, buffer) != napi_ok)
        return false;
    *out_a = static_cast<int32_t>(large_count_++);
    *out_b = -static_cast<int32_t>(length);
    return true;
}

bool Reads::take(const void *data, size_t length, int32_t *out_a, int32_t *out_b)
{
    napi_value buffer = nullptr;

    if (length > pooled_limit) {
        if (length > copied_limit && data == staging_) {
            buffer = give_staging();
        } else if (napi_create_buffer_copy(env_, length, data, nullptr, &buffer) != napi_ok) {
            return false;
        }
        return buffer && take_large(buffer, length, out_a, out_b);
    }
    if (used_ + length > pool_size || !find_pool()) {
        if (!make_pool())
            return false;
    }
    std::memcpy(pool_ + used_, data, length);
    *out_a = static_cast<int32_t>(used_);
    *out_b = static_cast<int32_t>(length);
    used_ += (length + 7) & ~size_t{7};
    return true;
}

void Reads::forget()
{
    pool_ = nullptr;
    large_ = nullptr;
    large_count_ = 0;
}

napi_value Reads::pool() const
{
    return value_of(env_, pool_ref_);
}

napi_value Reads::large() const
{
    return large_;
}

} // namespace sr
