/*
 * What every language wraps, from the public headers' grammar: a struct is a class, <struct>_<method>(self, ...)
 * its method, its destructor the release or free. Language typemaps, %feature and %rename stand in node.i,
 * python.i and java.i, before they include this file (SWIG applies typemaps only to what comes after them).
 *
 * Callbacks, loops and bytes are not wrapped by SWIG: each language has hand-written shims for them.
 */
%{
#include <sockref/net.h>
#include <sockref/sockref.h>
%}

%include <stdint.i>

%nodefaultctor sockref;
%nodefaultctor sockref_registry;
%nodefaultctor sockref_options;
%newobject sockref::acquire;
%newobject sockref_options_new;

typedef struct sockref sockref;
typedef struct sockref_registry sockref_registry;
typedef struct sockref_options sockref_options;

struct sockref {
};
%extend sockref {
#ifdef SWIGJAVASCRIPT
    ~sockref() { sr::drop($self); } /* node.i: a pointer with its user count */
#else
    ~sockref() { sockref_release($self); }
#endif
    sockref *acquire();
    const char *path();
    int fd();
    bool is_active();
    bool is_owner();
    uint64_t reference_count();
    uint64_t holder_count();
}

struct sockref_options {
};
%extend sockref_options {
    ~sockref_options() { sockref_options_free($self); }
    int set_int(int option, int64_t value);
    int set_string(int option, const char *value);
}

struct sockref_registry {
};
%extend sockref_registry {
#ifdef SWIGJAVASCRIPT
    ~sockref_registry() { sr::drop($self); } /* node.i: a pointer with its user count */
#else
    ~sockref_registry() { sockref_registry_free($self); }
#endif
}

/* self NULL: the default registry. The outputs are returned; a negative status becomes the language's error. */
sockref_options *sockref_options_new(void);
int sockref_registry_new(const sockref_options *options, sockref_registry **out_registry);
int sockref_registry_get_or_create(sockref_registry *self, const char *path, sockref **out_ref);
int sockref_registry_get_existing(sockref_registry *self, const char *path, sockref **out_ref);
int sockref_registry_register_new(sockref_registry *self, const char *path, int fd, sockref **out_ref);
int sockref_registry_listen(sockref_registry *self, const char *path, const sockref_options *options,
                            sockref **out_ref);
bool sockref_registry_is_socket_active(sockref_registry *self, const char *path);
uint64_t sockref_registry_active_socket_count(sockref_registry *self);
int sockref_registry_cleanup(sockref_registry *self, const char *path);
int sockref_registry_cleanup_all(sockref_registry *self, uint64_t *out_count);
int sockref_registry_sweep(sockref_registry *self, const char *directory, uint64_t *out_count);
int sockref_registry_drain(sockref_registry *self, int timeout_ms);
int sockref_registry_shutdown(sockref_registry *self, int timeout_ms);

const char *sockref_version(void);
unsigned sockref_abi_version(void);
const char *sockref_status_name(int status);
const char *sockref_status_message(int status);
