/* SPDX-License-Identifier: MIT */
/* Linked into a copy of the server: tells how much of its memory is in use, for what malloc keeps of what was
 * freed differs from one hour to the next. Whoever opens the FIFO that HEAP_FIFO names has the heap trimmed
 * and reads the bytes that are allocated.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *heap_tell(void *path)
{
    for (;;) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            return NULL;
        malloc_trim(0);
        struct mallinfo2 heap = mallinfo2();
        dprintf(fd, "%zu\n", heap.uordblks + heap.hblkhd);
        close(fd);
    }
}

__attribute__((constructor)) static void heap_begin(void)
{
    char *path = getenv("HEAP_FIFO");
    sigset_t all, before;
    pthread_t thread;
    if (!path)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, heap_tell, path) != 0)
        abort();
    pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
