/*
 * Where the bytes of reads lie.
 *
 * A read goes to a staging buffer, or to the buffer that was lent to its connection. What is short
 * is copied to a pool, of which JavaScript takes slices; what is longer is copied to a buffer of its
 * size; and what fills most of the staging buffer takes that along, and a new one is made. So no
 * small chunk keeps much more memory alive than it has bytes, and large ones are not copied.
 */
#ifndef SOCKREF_NODE_READS_H
#define SOCKREF_NODE_READS_H

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace sr
{

/* A buffer of the program's, to read into. It may be detached at any time: it is looked at anew for
 * each read. */
class Lent
{
  public:
    void set(napi_env env, napi_value buffer); /* NULL: none any more */
    bool is_set() const
    {
        return ref_ != nullptr;
    }
    void *memory(size_t *out_length) const; /* NULL: there is none, or it has no bytes */

  private:
    napi_env env_ = nullptr;
    napi_ref ref_ = nullptr;
};

class Reads
{
  public:
    explicit Reads(napi_env env) : env_(env)
    {
    }
    ~Reads();
    Reads(const Reads &) = delete;
    Reads &operator=(const Reads &) = delete;

    void *staging(size_t *inout_length); /* NULL when out of memory */
    /* Whether what was taken before must be told first. */
    bool is_full(size_t length) const;
    /* Where it lies now: an offset and a length, or an index and -length. False: out of memory. */
    bool take(const void *data, size_t length, int32_t *out_a, int32_t *out_b);
    /* What was taken was told; or JavaScript ran, and may have detached the pool: look again. */
    void forget();

    napi_value pool() const;  /* of this handle scope */
    napi_value large() const; /* an array, or NULL */

  private:
    napi_value give_staging();
    bool make_pool();
    bool find_pool();
    bool take_large(napi_value buffer, size_t length, int32_t *out_a, int32_t *out_b);

    napi_env env_;
    napi_ref pool_ref_ = nullptr, staging_ref_ = nullptr, spare_ref_ = nullptr;
    char *pool_ = nullptr, *staging_ = nullptr, *spare_ = nullptr;
    size_t used_ = 0;
    napi_value large_ = nullptr; /* of the handle scope of this dispatch */
    uint32_t large_count_ = 0;
};

} // namespace sr

#endif
