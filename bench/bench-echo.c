/* An echo server: the library's own echo service at a path, until it is killed. "host": on a loop
 * that this thread drives. */
#include <sockref/net.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    sockref_loop *loop = NULL;
    sockref *ref;

    if (argc < 2)
        return 2;
    if (sockref_registry_listen(NULL, argv[1], NULL, &ref) < 0 ||
        (argc > 2 && sockref_loop_new(&loop) < 0) ||
        sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL) < 0) {
        fprintf(stderr, "%s\n", sockref_last_error()->message);
        return 1;
    }
    while (loop && sockref_loop_dispatch(loop, -1) >= 0)
        continue;
    if (!loop)
        pause();
    return 0;
}
