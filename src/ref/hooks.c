/* What the net floor does for this one; filled in by it where it is part of the program. */
#include "ref/hooks.h"

struct sr_hooks sr_hooks;
