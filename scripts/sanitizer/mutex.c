// Tells ThreadSanitizer what it cannot see: the slow paths of Swift's Mutex (a futex) lie in a library that is not instrumented, so that
// whatever a contended Mutex protects would be reported. Loaded with LD_PRELOAD by scripts/sanitize; the fast paths are in our own code.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

// In the test's executable, with the runtime of the sanitizer.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

typedef SWIFT void (*LockSlow)(uint32_t thread, SELF);
typedef SWIFT bool (*TryLockSlow)(SELF);
typedef SWIFT void (*UnlockSlow)(SELF);

// Synchronization._MutexHandle's methods, as the compiler spells them.
SWIFT void lock_slow(uint32_t thread, SELF) __asm__("$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF");
SWIFT bool try_lock_slow(SELF) __asm__("$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF");
SWIFT void unlock_slow(SELF) __asm__("$s15Synchronization12_MutexHandleV11_unlockSlowyyF");

static void *next(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) {
    fprintf(stderr, "sanitize: this Swift has no %s; scripts/sanitizer/mutex.c must follow it\n", name);
    abort();
  }
  return function;
}

SWIFT void lock_slow(uint32_t thread, SELF) {
  ((LockSlow)next("$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"))(thread, self);
  if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT bool try_lock_slow(SELF) {
  bool locked = ((TryLockSlow)next("$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"))(self);
  if (locked && __tsan_acquire) __tsan_acquire(self);
  return locked;
}

SWIFT void unlock_slow(SELF) {
  if (__tsan_release) __tsan_release(self);
  ((UnlockSlow)next("$s15Synchronization12_MutexHandleV11_unlockSlowyyF"))(self);
}
