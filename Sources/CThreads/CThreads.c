/* eventfd, ppoll and names of threads for the module Threads. */
#define _GNU_SOURCE
#include "CThreads.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>

int cthreads_eventfd(int semaphore)
{
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (semaphore ? EFD_SEMAPHORE : 0));
    return descriptor < 0 ? -errno : descriptor;
}

int cthreads_wait_readable(int descriptor, uint64_t nanoseconds)
{
    struct pollfd item = {.fd = descriptor, .events = POLLIN};
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
    int ready = ppoll(&item, 1, &time, NULL);
    return ready < 0 ? -errno : ready;
}

int cthreads_set_own_name(const char *name)
{
    return pthread_setname_np(pthread_self(), name);
}
