/* The Linux calls behind CLinux.h; each function does one of them and says -errno when it failed. */
#define _GNU_SOURCE
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? -errno : value; }

int clinux_set_parent_death_signal(int signal) { return result(prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)); }

int clinux_set_undumpable(void) { return result(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }

int clinux_set_no_new_privileges(void) { return result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

int clinux_become_child_subreaper(void) { return result(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); }

int clinux_forbid_core_dumps(void)
{
    const struct rlimit none = {0, 0};
    return result(setrlimit(RLIMIT_CORE, &none));
}

int clinux_become_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    if (setgroups(count, groups) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
        return -errno;
    uid_t ru, eu, su;
    gid_t rg, eg, sg;
    if (getresuid(&ru, &eu, &su) < 0 || getresgid(&rg, &eg, &sg) < 0)
        return -errno;
    if (ru != uid || eu != uid || su != uid || rg != gid || eg != gid || sg != gid)
        return -EPERM;
    if ((size_t)getgroups(0, NULL) != count)
        return -EPERM;
    /* The proof that counts: the way back is closed. */
    if (uid != 0 && setuid(0) == 0)
        return -EPERM;
    return 0;
}

void clinux_line_buffer_output(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stderr, NULL, _IOLBF, 0);
}

static int dispose(int signal, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    return result(sigaction(signal, &action, NULL));
}

int clinux_ignore_signal(int signal) { return dispose(signal, SIG_IGN); }

int clinux_default_signal(int signal) { return dispose(signal, SIG_DFL); }

static void fill(sigset_t *set, const int *signals, size_t count)
{
    sigemptyset(set);
    for (size_t i = 0; i < count; i++)
        sigaddset(set, signals[i]);
}

int clinux_block_signals(const int *signals, size_t count)
{
    sigset_t set;
    fill(&set, signals, count);
    return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int clinux_signal_descriptor(const int *signals, size_t count)
{
    sigset_t set;
    fill(&set, signals, count);
    return result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int clinux_next_signal(int descriptor)
{
    struct signalfd_siginfo info;
    ssize_t n;
    do
        n = read(descriptor, &info, sizeof info);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

pid_t clinux_thread_id(void) { return gettid(); }

/* A copy of a terminal's descriptor that can only be written: whoever holds the terminal itself reads what is typed there,
   perhaps for another user's shell. -1: it is no terminal, or may not be opened anew. */
static int write_only_terminal(int descriptor)
{
    char path[32];
    if (!isatty(descriptor))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
}

int clinux_spawn(const char *path, char *const argv[], char *const envp[], pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int failed = posix_spawnattr_init(&attributes);
    if (failed)
        return -failed;
    failed = posix_spawn_file_actions_init(&actions);
    if (failed) {
        posix_spawnattr_destroy(&attributes);
        return -failed;
    }
    if (!failed)
        failed = posix_spawnattr_setsigmask(&attributes, &none);
    if (!failed)
        failed = posix_spawnattr_setsigdefault(&attributes, &all);
    /* A session, not only a group: a process of another user that shares a terminal's session could type into it (TIOCSTI). */
    if (!failed)
        failed = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    if (!failed)
        failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    const int terminals[] = {write_only_terminal(1), write_only_terminal(2)};
    for (int i = 0; i < 2; i++)
        if (!failed && terminals[i] >= 0)
            failed = posix_spawn_file_actions_adddup2(&actions, terminals[i], i + 1);
    if (!failed)
        failed = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!failed)
        failed = posix_spawn(pid, path, &actions, &attributes, argv, envp);
    for (int i = 0; i < 2; i++)
        if (terminals[i] >= 0)
            close(terminals[i]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -failed;
}

int clinux_pidfd_open(pid_t pid) { return result(pidfd_open(pid, 0)); }

int clinux_pidfd_signal(int pidfd, int signal) { return result(pidfd_send_signal(pidfd, signal, NULL, 0)); }

static int wait_for(idtype_t type, id_t id, int leave, struct clinux_exit *out)
{
    siginfo_t info;
    int value;
    memset(out, 0, sizeof *out);
    do {
        memset(&info, 0, sizeof info);
        value = waitid(type, id, &info, WEXITED | WNOHANG | (leave ? WNOWAIT : 0));
    } while (value < 0 && errno == EINTR);
    if (value < 0)
        return -errno;
    out->pid = info.si_pid;
    if (info.si_pid != 0) {
        if (info.si_code == CLD_EXITED)
            out->code = info.si_status;
        else
            out->signal = info.si_status;
    }
    return 0;
}

int clinux_wait_pidfd(int pidfd, int leave, struct clinux_exit *out) { return wait_for(P_PIDFD, (id_t)pidfd, leave, out); }

int clinux_wait_pid(pid_t pid, int leave, struct clinux_exit *out) { return wait_for(P_PID, (id_t)pid, leave, out); }

int clinux_wait_any(int leave, struct clinux_exit *out) { return wait_for(P_ALL, 0, leave, out); }

static int address_of(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int clinux_bind_unix(int type, const char *path, mode_t mode)
{
    struct sockaddr_un address;
    int failed = address_of(path, &address);
    if (failed)
        return failed;
    int descriptor = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return -errno;
    /* On Linux the socket's own mode, less the umask, becomes the file's; chmod afterwards adds what the umask took. */
    if (fchmod(descriptor, mode) < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, mode) < 0) {
        failed = -errno;
        close(descriptor);
        return failed;
    }
    return descriptor;
}

int clinux_connect_unix(int type, const char *path, int nonblocking)
{
    struct sockaddr_un address;
    int failed = address_of(path, &address);
    if (failed)
        return failed;
    int descriptor = socket(AF_UNIX, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (descriptor < 0)
        return -errno;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        failed = -errno;
        close(descriptor);
        return failed;
    }
    return descriptor;
}

int clinux_accept(int listener) { return result(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

int clinux_pass_credentials(int descriptor)
{
    const int on = 1;
    return result(setsockopt(descriptor, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

ssize_t clinux_receive_with_credentials(int descriptor, void *buffer, size_t size, struct clinux_sender *out)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {buffer, size};
    struct msghdr message;
    ssize_t n;
    memset(out, 0, sizeof *out);
    do {
        memset(&message, 0, sizeof message);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        n = recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(c), sizeof sender);
            out->pid = sender.pid;
            out->uid = sender.uid;
            out->gid = sender.gid;
            out->known = 1;
        } else if (c->cmsg_type == SCM_RIGHTS) {
            /* We take no descriptors; one left open would be a leak that a child controls. Those beyond the
               buffer the kernel closes. */
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; i++) {
                int passed;
                memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof passed);
                close(passed);
            }
        }
    }
    out->truncated = (message.msg_flags & MSG_TRUNC) != 0;
    return n;
}

int clinux_peer_credentials(int descriptor, struct clinux_sender *out)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    memset(out, 0, sizeof *out);
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    out->pid = peer.pid;
    out->uid = peer.uid;
    out->gid = peer.gid;
    out->known = 1;
    return 0;
}

int clinux_connection(int descriptor, struct clinux_connection *out)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return -errno;
    out->acknowledged = info.tcpi_bytes_acked;
    size = sizeof out->cookie;
    if (getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, &out->cookie, &size) < 0)
        return -errno;
    return 0;
}

int clinux_bytes_read(int descriptor, uint64_t *out)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int waiting = 0;
    memset(&info, 0, sizeof info);
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || ioctl(descriptor, FIONREAD, &waiting) < 0)
        return -errno;
    *out = info.tcpi_bytes_received > (uint64_t)waiting ? info.tcpi_bytes_received - (uint64_t)waiting : 0;
    return 0;
}

int clinux_bytes_of_quiet(int descriptor, uint64_t *out)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int received = 1, unsent = 1;
    memset(&info, 0, sizeof info);
    if (ioctl(descriptor, SIOCOUTQNSD, &unsent) < 0 || ioctl(descriptor, FIONREAD, &received) < 0) return -errno;
    if (received != 0 || unsent != 0) return -EAGAIN;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return -errno;
    *out = info.tcpi_bytes_received;
    return 0;
}

int clinux_traffic(int descriptor, struct clinux_traffic *out)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int waiting = 1, unacknowledged = 0;
    memset(&info, 0, sizeof info);
    /* In this order: what is acknowledged in between counts as neither. */
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || ioctl(descriptor, SIOCOUTQ, &unacknowledged) < 0
        || ioctl(descriptor, FIONREAD, &waiting) < 0)
        return -errno;
    if (waiting != 0) return -EAGAIN;
    out->received = info.tcpi_bytes_received;
    out->taken = info.tcpi_bytes_acked + (uint64_t)unacknowledged;
    return 0;
}

int clinux_peer_network(int descriptor, char *out)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (getpeername(descriptor, (struct sockaddr *)&peer, &size) < 0)
        return -errno;
    if (peer.ss_family == AF_INET)
        return inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, out, 64) ? 0 : -errno;
    if (peer.ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    struct in6_addr address = ((struct sockaddr_in6 *)&peer)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address))
        return inet_ntop(AF_INET, address.s6_addr + 12, out, 64) ? 0 : -errno;
    if (!IN6_IS_ADDR_LOOPBACK(&address))
        memset(address.s6_addr + 8, 0, 8);
    if (!inet_ntop(AF_INET6, &address, out, 60))
        return -errno;
    strcat(out, "/64");
    return 0;
}

int clinux_shut_down(int descriptor) { return result(shutdown(descriptor, SHUT_RDWR)); }

static int limit(int resource, uint64_t wanted, uint64_t *out)
{
    struct rlimit now;
    if (getrlimit(resource, &now) < 0)
        return -errno;
    if (wanted > 0) {
        if (now.rlim_max == RLIM_INFINITY || wanted < now.rlim_max)
            now.rlim_max = wanted;
        now.rlim_cur = now.rlim_max;
        if (setrlimit(resource, &now) < 0)
            return -errno;
    }
    *out = now.rlim_cur;
    return 0;
}

int clinux_limit_descriptors(uint64_t wanted, uint64_t *out) { return limit(RLIMIT_NOFILE, wanted, out); }

int clinux_limit_memory(uint64_t wanted, uint64_t *out) { return limit(RLIMIT_DATA, wanted, out); }

int clinux_listening_at(int descriptor, char *out, size_t size)
{
    int listening = 0, kind = 0;
    socklen_t length = sizeof listening;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0) return -errno;
    length = sizeof kind;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &length) != 0) return -errno;
    if (!listening || kind != SOCK_STREAM) return -EINVAL;
    struct sockaddr_storage address = {0};
    length = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &length) != 0) return -errno;
    char text[INET6_ADDRSTRLEN];
    int count;
    switch (address.ss_family) {
    case AF_UNIX: {
        const struct sockaddr_un *local = (const struct sockaddr_un *)&address;
        if (length <= offsetof(struct sockaddr_un, sun_path) || local->sun_path[0] == 0) return -EINVAL;
        count = snprintf(out, size, "%.*s", (int)strnlen(local->sun_path, sizeof local->sun_path), local->sun_path);
        break;
    }
    case AF_INET: {
        const struct sockaddr_in *internet = (const struct sockaddr_in *)&address;
        if (inet_ntop(AF_INET, &internet->sin_addr, text, sizeof text) == NULL) return -errno;
        count = snprintf(out, size, "%s:%u", text, ntohs(internet->sin_port));
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *internet = (const struct sockaddr_in6 *)&address;
        if (inet_ntop(AF_INET6, &internet->sin6_addr, text, sizeof text) == NULL) return -errno;
        count = snprintf(out, size, "[%s]:%u", text, ntohs(internet->sin6_port));
        break;
    }
    default: return -EINVAL;
    }
    return count < 0 || (size_t)count >= size ? -ENAMETOOLONG : 0;
}
