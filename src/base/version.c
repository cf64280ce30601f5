/* The version of the library that runs, which may be newer than the headers a program was built
 * with. */
#include <sockref/sockref.h>

const char *sockref_version(void)
{
    return SOCKREF_VERSION_STRING;
}

unsigned sockref_abi_version(void)
{
    return SOCKREF_ABI_VERSION;
}
