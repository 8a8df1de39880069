"""What a program could do from inside its unit's sandbox, with its user, its files, its network and its system calls.

    confined.py      stdin: {"read": [file…], "write": [folder…], "stream": [socket…]}
    stdout: {"read /path": "done" or the name of the error, …}; only `done` means that it worked.
"""

import ctypes
import errno
import json
import os
import socket
import sys

from attempts import attempt, checked, libc, outcome

given = json.load(sys.stdin)


def read(path):
    if os.path.isdir(path):
        os.listdir(path)
    else:
        with open(path, "rb") as file:
            file.read(1)


def write(folder):
    path = f"{folder}/planted"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


def stream(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)


def internet():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", given["port"]))


def child():
    pid = os.fork()
    if pid == 0:
        try:
            os.execv("/bin/true", ["true"])
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(errno.ECHILD, "")


for path in given["read"]:
    attempt(f"read {path}", lambda: read(path))
for folder in given["write"]:
    attempt(f"write {folder}", lambda: write(folder))
for path in given["stream"]:
    attempt(f"stream {path}", lambda: stream(path))
attempt("internet", internet)
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("ptrace", lambda: checked(libc.ptrace(16, 1, 0, 0)))
attempt("mount", lambda: checked(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)))
attempt("namespace", lambda: checked(libc.unshare(0x10000000)))
attempt("setuid", lambda: os.setuid(0))
attempt("clock", lambda: checked(libc.clock_settime(0, ctypes.byref((ctypes.c_long * 2)(1, 0)))))
attempt("bpf", lambda: checked(libc.syscall(321, 0, 0, 0)))
attempt("keyctl", lambda: checked(libc.syscall(250, 0, 0, 0)))
json.dump(outcome, sys.stdout)
