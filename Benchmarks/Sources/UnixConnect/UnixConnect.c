/* Preloaded into a load generator that knows TCP alone: connections to 127.0.0.1:1 go to the unix socket in UNIX_CONNECT instead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int connect(int descriptor, const struct sockaddr *address, socklen_t length)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real)
        real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    const char *path = getenv("UNIX_CONNECT");
    const struct sockaddr_in *inet = (const struct sockaddr_in *)address;
    if (!path || address->sa_family != AF_INET || length < sizeof *inet || ntohs(inet->sin_port) != 1 ||
        ntohl(inet->sin_addr.s_addr) != INADDR_LOOPBACK)
        return real(descriptor, address, length);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof local.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(local.sun_path, path);
    int flags = fcntl(descriptor, F_GETFL);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (other < 0)
        return -1;
    /* Blocking: a full backlog makes the caller wait instead of failing. */
    if (real(other, (const struct sockaddr *)&local, sizeof local) != 0 || dup2(other, descriptor) < 0) {
        int error = errno;
        close(other);
        errno = error;
        return -1;
    }
    close(other);
    return fcntl(descriptor, F_SETFL, flags);
}
