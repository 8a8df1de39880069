/* The Linux calls that Swift cannot make itself: variadic ones (prctl), ones with control messages or unions
   (SCM_CREDENTIALS, waitid), and the headers that the Glibc module leaves out (eventfd, signalfd). */
#ifndef UPKI_CLINUX_H
#define UPKI_CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/eventfd.h>

/* Unless stated otherwise every function returns 0 (or a descriptor, always close-on-exec) when it worked and
   -errno when it did not, so that no caller has to read errno between two calls. */

/* Who stands at the other end of a unix socket, as the kernel says. */
struct clinux_sender {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    int known;     /* 0: the kernel attached no credentials */
    int truncated; /* 1: the datagram was longer than the buffer */
};

/* How a child ended. */
struct clinux_exit {
    pid_t pid;  /* 0: no child has ended */
    int signal; /* 0 when it ended by itself */
    int code;   /* exit code when signal is 0 */
};

/* prctl(2): the signal this process gets when the thread that started it ends. Cleared by a change of user. */
int clinux_set_parent_death_signal(int signal);
/* prctl(2): no core dump, no ptrace and no /proc/PID/mem by others of the same user. */
int clinux_set_undumpable(void);
/* prctl(2): an exec can no longer gain privileges. */
int clinux_set_no_new_privileges(void);
/* prctl(2): orphans below this process become its children. */
int clinux_become_child_subreaper(void);
/* setrlimit(2): RLIMIT_CORE 0, soft and hard. */
int clinux_forbid_core_dumps(void);

/* Gives up the present user for this one, for good: setgroups, setgid, setuid, then checks that real, effective and
   saved ids are the new ones and that root cannot be had back. */
int clinux_become_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count);

/* stdout and stderr line buffered. */
void clinux_line_buffer_output(void);
/* Sets the disposition of one signal to SIG_IGN or SIG_DFL. */
int clinux_ignore_signal(int signal);
int clinux_default_signal(int signal);

/* Blocks the signals in the calling thread (and those it makes later). */
int clinux_block_signals(const int *signals, size_t count);
/* signalfd(2) of the signals, not blocking. */
int clinux_signal_descriptor(const int *signals, size_t count);
/* The next signal from such a descriptor, or 0 when there is none. */
int clinux_next_signal(int descriptor);

/* gettid(2). */
pid_t clinux_thread_id(void);

/* posix_spawn(3): empty signal mask, all dispositions default, a session (and process group) of its own and so no
   controlling terminal, /dev/null as stdin, stdout and stderr that are a terminal for writing only, descriptors from 3
   on closed. argv and envp end with NULL. */
int clinux_spawn(const char *path, char *const argv[], char *const envp[], pid_t *pid);
/* pidfd_open(2). */
int clinux_pidfd_open(pid_t pid);
/* pidfd_send_signal(2): reaches this process or none, never a later one with the same number. */
int clinux_pidfd_signal(int pidfd, int signal);
/* waitid(2) without blocking; leave != 0 leaves the child to be waited for again. -ECHILD: not our child. */
int clinux_wait_pidfd(int pidfd, int leave, struct clinux_exit *out);
int clinux_wait_pid(pid_t pid, int leave, struct clinux_exit *out);
int clinux_wait_any(int leave, struct clinux_exit *out);

/* A unix socket of that type (SOCK_DGRAM, SOCK_SEQPACKET), not blocking, bound to path with exactly that mode from its
   first moment. -ENAMETOOLONG above 107 bytes. */
int clinux_bind_unix(int type, const char *path, mode_t mode);
/* Connects a socket of that type, not blocking from then on when nonblocking != 0. */
int clinux_connect_unix(int type, const char *path, int nonblocking);
/* accept4(2): the next connection, close-on-exec and not blocking; -EAGAIN when there is none. */
int clinux_accept(int listener);
/* Asks the kernel for the sender's credentials with every datagram (SO_PASSCRED). */
int clinux_pass_credentials(int descriptor);
/* One datagram with its sender's credentials. Descriptors that came with it are closed. Returns its length, -EAGAIN
   when there is none. Does not block. */
ssize_t clinux_receive_with_credentials(int descriptor, void *buffer, size_t size, struct clinux_sender *out);
/* SO_PEERCRED of a connected socket. */
int clinux_peer_credentials(int descriptor, struct clinux_sender *out);

/* A TCP connection as the kernel sees it. */
struct clinux_connection {
    uint64_t cookie;       /* SO_COOKIE: no other socket's since the host started */
    uint64_t acknowledged; /* TCP_INFO: bytes that the peer's kernel has taken */
};
/* getsockopt(2) on a TCP socket. -ENOTSOCK, -EBADF and others where the descriptor is no such thing (any more). */
int clinux_connection(int descriptor, struct clinux_connection *out);

/* Bytes of a TCP connection that this process has read: what came less what waits. */
int clinux_bytes_read(int descriptor, uint64_t *out);

/* All bytes that have come on a TCP connection; -EAGAIN while some of them were not read, or something that was written was not sent. */
int clinux_bytes_of_quiet(int descriptor, uint64_t *out);

struct clinux_traffic {
    /* Bytes that have come. */
    uint64_t received;
    /* Bytes that the kernel took to send. */
    uint64_t taken;
};
/* What went over a TCP connection; -EAGAIN while some of what came was not read. Never more than there was at that moment. */
int clinux_traffic(int descriptor, struct clinux_traffic *out);

/* The peer of a TCP connection: text of its IPv4 address (also where that is mapped into IPv6), or of the first 64 bits of its IPv6
   address with "/64"; room for 64 bytes. */
int clinux_peer_network(int descriptor, char *out);

/* Where a listening stream socket listens: the path of a unix socket, or ADDRESS:PORT with an IPv6 address in brackets; room for 128 bytes.
   -EINVAL for what does not listen or is of another kind. */
int clinux_listening_at(int descriptor, char *out, size_t size);

/* shutdown(2) of both directions: whoever owns the descriptor reads the end of the connection. */
int clinux_shut_down(int descriptor);

/* setrlimit(2) of RLIMIT_NOFILE and RLIMIT_DATA, soft and hard, never above what is allowed; 0 leaves one as it is. Gives what holds then. */
int clinux_limit_descriptors(uint64_t wanted, uint64_t *out);
int clinux_limit_memory(uint64_t wanted, uint64_t *out);

#endif
