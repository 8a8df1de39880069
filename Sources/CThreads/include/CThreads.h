/* What the module Threads needs and Swift's Glibc module leaves out: eventfd, ppoll, names of threads. */
#ifndef UPKI_CTHREADS_H
#define UPKI_CTHREADS_H

#include <pthread.h>
#include <stdint.h>

/* eventfd(2), close-on-exec, not blocking; semaphore != 0: each read takes one. Returns the descriptor or -errno. */
int cthreads_eventfd(int semaphore);

/* Waits until the descriptor is readable, at most so many nanoseconds; 1 readable, 0 the time ran out, -errno otherwise. */
int cthreads_wait_readable(int descriptor, uint64_t nanoseconds);

/* pthread_setname_np(3) of the calling thread. */
int cthreads_set_own_name(const char *name);

#endif
