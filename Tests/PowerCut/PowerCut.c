// Preloaded into a program, keeps beside its directory a copy of what is surely on the disk: what a power cut would leave at worst.
//
// Bytes of a file count from the fsync or fdatasync on which they were written, names in a folder from the fsync of the folder. The copy
// is brought up to date before the real call is made, so that one that is cut off in the middle is torn as a disk may tear it; a
// folder's names change whole, as a journal's do.
//
//   POWER_CUT_ROOT     the directory to watch
//   POWER_CUT_DEAF     the end of a file's path, whose syncs are not taken for any: a program that forgets to sync it, for trying this out
//   POWER_CUT_SHADOW   where the copy is kept, an empty directory: content of files as c-<inode>-<birth>, names of folders as
//                      d-<inode>-<birth>, and in `root` the inode and birth of the directory itself

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// What was written to a file since its last sync.
struct dirty {
    uint64_t inode;
    off_t from, to;
    struct dirty *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dirty *files[4096];
static char root[PATH_MAX], shadow[PATH_MAX];
static const char *deaf;
static size_t root_length;

// glibc's own names for the calls, past this library's.
static ssize_t real_pwrite(int fd, const void *bytes, size_t count, off_t at) { return syscall(SYS_pwrite64, fd, bytes, count, at); }
static ssize_t real_write(int fd, const void *bytes, size_t count) { return syscall(SYS_write, fd, bytes, count); }

static void fail(const char *what) {
    dprintf(2, "power cut: %s: %s\n", what, strerror(errno));
    abort();
}

static int is_watched(int fd) {
    if (root_length == 0) return 0;
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < (ssize_t)root_length) return 0;
    path[length] = 0;
    if (deaf && (size_t)length >= strlen(deaf) && strcmp(path + length - strlen(deaf), deaf) == 0) return 0;
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

// A number can be used again by another file, its time of birth cannot.
static int key(int at, const char *name, int flags, char *text, size_t size, struct statx *status) {
    if (statx(at, name, flags | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, status) != 0) return -1;
    snprintf(text, size, "%llu-%lld.%09u", (unsigned long long)status->stx_ino, (long long)status->stx_btime.tv_sec, status->stx_btime.tv_nsec);
    return 0;
}

static struct dirty *entry(uint64_t inode) {
    struct dirty **place = &files[inode % 4096];
    while (*place && (*place)->inode != inode) place = &(*place)->next;
    if (!*place) {
        *place = calloc(1, sizeof **place);
        if (!*place) fail("memory");
        (*place)->inode = inode;
        (*place)->from = -1;
    }
    return *place;
}

static void note(int fd, off_t from, off_t to) {
    struct stat status;
    if (!is_watched(fd) || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
    pthread_mutex_lock(&lock);
    struct dirty *file = entry(status.st_ino);
    if (file->from < 0 || from < file->from) file->from = from;
    if (to > file->to) file->to = to;
    pthread_mutex_unlock(&lock);
}

// MARK: The copy

static void keep_file(int fd, off_t from, off_t to) {
    char text[96], path[PATH_MAX + 128];
    struct statx status;
    if (key(fd, "", AT_EMPTY_PATH, text, sizeof text, &status) != 0) fail("statx");
    snprintf(path, sizeof path, "%s/c-%s", shadow, text);
    int copy = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (copy < 0) fail(path);
    // The descriptor may be for writing alone.
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int source = open(path, O_RDONLY | O_CLOEXEC);
    if (source < 0) fail("cannot read again");
    if ((off_t)status.stx_size < to) to = status.stx_size;
    char buffer[65536];
    for (off_t at = from; at < to;) {
        size_t wanted = (size_t)(to - at) < sizeof buffer ? (size_t)(to - at) : sizeof buffer;
        ssize_t count = pread(source, buffer, wanted, at);
        if (count < 0) fail("pread");
        if (count == 0) break;
        if (real_pwrite(copy, buffer, count, at) != count) fail("pwrite");
        at += count;
    }
    if (syscall(SYS_ftruncate, copy, (off_t)status.stx_size) != 0) fail("ftruncate");
    close(source);
    close(copy);
}

static void keep_folder(int fd) {
    char text[96], path[PATH_MAX + 128], final[PATH_MAX + 128];
    struct statx status;
    if (key(fd, "", AT_EMPTY_PATH, text, sizeof text, &status) != 0) fail("statx");
    snprintf(final, sizeof final, "%s/d-%s", shadow, text);
    snprintf(path, sizeof path, "%s/new", shadow);
    FILE *list = fopen(path, "we");
    if (!list) fail(path);
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    if (!folder) fail("opendir");
    struct dirent *name;
    while ((name = readdir(folder))) {
        if (strcmp(name->d_name, ".") == 0 || strcmp(name->d_name, "..") == 0) continue;
        if (key(fd, name->d_name, 0, text, sizeof text, &status) != 0) continue;
        fprintf(list, "%c %o %s %s\n", S_ISDIR(status.stx_mode) ? 'd' : S_ISREG(status.stx_mode) ? 'f' : '-', status.stx_mode & 07777, text, name->d_name);
    }
    closedir(folder);
    if (fclose(list) != 0 || rename(path, final) != 0) fail("cannot keep a folder");
}

static void keep(int fd) {
    struct stat status;
    if (!is_watched(fd) || fstat(fd, &status) != 0) return;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(status.st_mode)) {
        keep_folder(fd);
    } else if (S_ISREG(status.st_mode)) {
        struct dirty *file = entry(status.st_ino);
        if (file->from >= 0) keep_file(fd, file->from, file->to);
        file->from = -1;
        file->to = 0;
    }
    pthread_mutex_unlock(&lock);
}

// What is there at the start has been there long enough.
static void keep_all(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) fail(path);
    if (S_ISREG(status.st_mode)) keep_file(fd, 0, status.st_size);
    if (S_ISDIR(status.st_mode)) {
        keep_folder(fd);
        DIR *folder = opendir(path);
        if (!folder) fail(path);
        struct dirent *name;
        while ((name = readdir(folder))) {
            char inner[PATH_MAX * 2];
            if (strcmp(name->d_name, ".") == 0 || strcmp(name->d_name, "..") == 0) continue;
            snprintf(inner, sizeof inner, "%s/%s", path, name->d_name);
            if (name->d_type == DT_REG || name->d_type == DT_DIR) keep_all(inner);
        }
        closedir(folder);
    }
    close(fd);
}

__attribute__((constructor)) static void begin(void) {
    const char *watched = getenv("POWER_CUT_ROOT"), *copy = getenv("POWER_CUT_SHADOW");
    if (!watched || !copy) return;
    if (!realpath(watched, root) || !realpath(copy, shadow)) fail("the directories to watch and to keep");
    root_length = strlen(root);
    keep_all(root);
    // Where whoever puts the directory together again begins.
    char text[96], name[PATH_MAX + 16];
    struct statx status;
    snprintf(name, sizeof name, "%s/root", shadow);
    FILE *file = fopen(name, "we");
    if (!file || key(AT_FDCWD, root, 0, text, sizeof text, &status) != 0) fail(root);
    fprintf(file, "%s\n", text);
    if (fclose(file) != 0) fail(name);
    deaf = getenv("POWER_CUT_DEAF");
}

// MARK: The calls

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    ssize_t result = real_pwrite(fd, bytes, count, at);
    if (result > 0) note(fd, at, at + result);
    return result;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) { return pwrite(fd, bytes, count, at); }

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t result = real_write(fd, bytes, count);
    if (result <= 0 || root_length == 0) return result;
    int kept = errno;
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= result) note(fd, at - result, at);
    errno = kept;
    return result;
}

int ftruncate(int fd, off_t size) {
    int result = syscall(SYS_ftruncate, fd, size);
    // The copy takes the size over with the next sync.
    if (result == 0) note(fd, size, size);
    return result;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fsync(int fd) {
    keep(fd);
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    keep(fd);
    return syscall(SYS_fdatasync, fd);
}
