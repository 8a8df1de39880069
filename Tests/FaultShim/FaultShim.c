/*
 * Makes system calls of one process fail on demand, and its clock wrong: loaded with LD_PRELOAD, steered by the file that UPKI_FAULTS names.
 *
 * One rule a line, the first that fits decides:
 *
 *     <call> <errno> <end of path> [after=<n>] [times=<n>]     pwrite EIO -wal after=3
 *     clock <seconds>                                          clock -86400
 *
 * Calls: write (pwrite too), sync (fsync and fdatasync), truncate, allocate, open (for writing), rename (by its new name), any. `after` lets so
 * many pass first, `times` fails so many and lets the rest pass. The file is read again when it was replaced; counts then begin anew.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct rule {
    char call[16];
    int error;
    char end[128];
    long after, times, seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[32];
static int rule_count;
static long clock_offset;
static struct timespec loaded_at;
static ino_t loaded_inode;

static int number_of(const char *name) {
    static const struct { const char *name; int number; } known[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES}, {"EINTR", EINTR}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) return known[i].number;
    fprintf(stderr, "FaultShim: unknown errno %s\n", name);
    abort();
}

static void parse(char *line) {
    char call[16], error[16], end[128];
    long after = 0, times = -1, offset;
    if (sscanf(line, "clock %ld", &offset) == 1) {
        clock_offset = offset;
        return;
    }
    if (sscanf(line, "%15s %15s %127s", call, error, end) != 3) return;
    char *option = strstr(line, "after=");
    if (option) after = atol(option + 6);
    option = strstr(line, "times=");
    if (option) times = atol(option + 6);
    if (rule_count == sizeof rules / sizeof *rules) abort();
    struct rule *rule = &rules[rule_count++];
    memset(rule, 0, sizeof *rule);
    strcpy(rule->call, call);
    strcpy(rule->end, end);
    rule->error = number_of(error);
    rule->after = after;
    rule->times = times;
}

/* By system calls alone: the functions of the library are those that are replaced here. To be called with the lock held. */
static void load(void) {
    const char *path = getenv("UPKI_FAULTS");
    struct stat status;
    if (!path || stat(path, &status) != 0) return;
    if (status.st_ino == loaded_inode && memcmp(&status.st_mtim, &loaded_at, sizeof loaded_at) == 0) return;
    char text[4096];
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    long count = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (count < 0) return;
    text[count] = 0;
    loaded_inode = status.st_ino;
    loaded_at = status.st_mtim;
    rule_count = 0;
    clock_offset = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) parse(line);
}

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), wanted = strlen(end);
    return length >= wanted && strcmp(path + length - wanted, end) == 0;
}

/* The error that this call is to fail with; 0 for none. A rule's end that ends in a slash means everything below such a folder. */
static int fault(const char *call, const char *path) {
    int error = 0;
    int before = errno;
    pthread_mutex_lock(&lock);
    load();
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->call, call) != 0 && strcmp(rule->call, "any") != 0) continue;
        size_t length = strlen(rule->end);
        if (!ends_with(path, rule->end) && !(rule->end[length - 1] == '/' && strstr(path, rule->end))) continue;
        long number = rule->seen++;
        if (number >= rule->after && (rule->times < 0 || number < rule->after + rule->times)) error = rule->error;
        break;
    }
    pthread_mutex_unlock(&lock);
    errno = before;
    return error;
}

static int fault_of(const char *call, int file) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t count = readlink(link, path, sizeof path - 1);
    errno = before;
    if (count <= 0) return 0;
    path[count] = 0;
    char *deleted = strstr(path, " (deleted)");
    if (deleted) *deleted = 0;
    return fault(call, path);
}

#define FAIL_IF(condition)          \
    do {                            \
        int error_ = (condition);   \
        if (error_) {               \
            errno = error_;         \
            return -1;              \
        }                           \
    } while (0)

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    FAIL_IF(fault_of("write", file));
    return REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    FAIL_IF(fault_of("write", file));
    return REAL(pwrite)(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    FAIL_IF(fault_of("write", file));
    return REAL(pwrite64)(file, bytes, count, offset);
}

int fsync(int file) {
    FAIL_IF(fault_of("sync", file));
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    FAIL_IF(fault_of("sync", file));
    return REAL(fdatasync)(file);
}

int ftruncate(int file, off_t length) {
    FAIL_IF(fault_of("truncate", file));
    return REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
    FAIL_IF(fault_of("truncate", file));
    return REAL(ftruncate64)(file, length);
}

int posix_fallocate(int file, off_t offset, off_t length) {
    int error = fault_of("allocate", file);
    return error ? error : REAL(posix_fallocate)(file, offset, length);
}

int posix_fallocate64(int file, off64_t offset, off64_t length) {
    int error = fault_of("allocate", file);
    return error ? error : REAL(posix_fallocate64)(file, offset, length);
}

int rename(const char *from, const char *to) {
    FAIL_IF(fault("rename", to));
    return REAL(rename)(from, to);
}

static int is_writing(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        mode_t mode = 0;                                                            \
        if (flags & (O_CREAT | O_TMPFILE)) {                                        \
            va_list arguments;                                                      \
            va_start(arguments, flags);                                             \
            mode = va_arg(arguments, mode_t);                                       \
            va_end(arguments);                                                      \
        }                                                                           \
        if (is_writing(flags)) FAIL_IF(fault("open", path));                        \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = REAL(clock_gettime)(clock, time);
    if (clock != CLOCK_REALTIME || result != 0) return result;
    pthread_mutex_lock(&lock);
    load();
    time->tv_sec += clock_offset;
    pthread_mutex_unlock(&lock);
    return result;
}
