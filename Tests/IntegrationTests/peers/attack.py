"""Becomes a user and tries everything that a taken-over program of that user might; tells what worked.

    attack.py      stdin: {"user": {"uid", "gid", "groups"}, "read": [file…], "list": [folder…], "write": [folder…], "rename": [path…],
                           "stream": [socket…], "packet": [socket…], "datagram": [socket…], "pids": {name: pid…}}
    stdout: {"read /path": "done" or the name of the error, …}

Only `done` means that it worked. What would destroy something is tried only where it is listed under "write" and "rename".
"""

import ctypes
import json
import os
import socket
import sys

from attempts import attempt, checked, libc, outcome

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
PIDFD_OPEN, PIDFD_GETFD = 434, 438

given = json.load(sys.stdin)
user = given["user"]
os.setgroups(user["groups"])
os.setresgid(user["gid"], user["gid"], user["gid"])
os.setresuid(user["uid"], user["uid"], user["uid"])
assert os.getresuid() == (user["uid"],) * 3 and os.getgroups() == user["groups"]



def read(path):
    with open(path, "rb") as file:
        file.read(1)


def create(folder):
    os.close(os.open(f"{folder}/planted", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def plant_socket(folder):
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind(f"{folder}/planted.sock")


def connect(kind, path):
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(path)


def read_memory(pid):
    # The first mapping of the program, whose address anybody's own process has too: it is the right that is asked for.
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    buffer = ctypes.create_string_buffer(8)
    here = Part(ctypes.addressof(buffer), 8)
    there = Part(ctypes.addressof(buffer), 8)
    checked(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))


def take_descriptor(pid):
    descriptor = checked(libc.syscall(PIDFD_OPEN, pid, 0))
    try:
        os.close(checked(libc.syscall(PIDFD_GETFD, descriptor, 1, 0)))
    finally:
        os.close(descriptor)


def trace(pid):
    checked(libc.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    libc.ptrace(PTRACE_DETACH, pid, None, None)


for path in given.get("read", []):
    attempt(f"read {path}", lambda: read(path))
for path in given.get("list", []):
    attempt(f"list {path}", lambda: os.listdir(path))
for path in given.get("write", []):
    attempt(f"create in {path}", lambda: create(path))
    attempt(f"bind in {path}", lambda: plant_socket(path))
    attempt(f"chmod {path}", lambda: os.chmod(path, 0o777))
for path in given.get("rename", []):
    attempt(f"rename {path}", lambda: os.rename(path, path + ".away"))
    attempt(f"unlink {path}", lambda: os.unlink(path))
for path in given.get("stream", []):
    attempt(f"connect {path}", lambda: connect(socket.SOCK_STREAM, path))
for path in given.get("packet", []):
    attempt(f"connect {path}", lambda: connect(socket.SOCK_SEQPACKET, path))
for path in given.get("datagram", []):
    attempt(f"connect {path}", lambda: connect(socket.SOCK_DGRAM, path))
for name, pid in given.get("pids", {}).items():
    for file in ["mem", "environ", "maps", "syscall"]:
        attempt(f"read {file} of {name}", lambda: read(f"/proc/{pid}/{file}"))
    attempt(f"list descriptors of {name}", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt(f"open the root of {name}", lambda: os.listdir(f"/proc/{pid}/root/"))
    attempt(f"signal {name}", lambda: os.kill(pid, 0))
    attempt(f"memory of {name}", lambda: read_memory(pid))
    attempt(f"take a descriptor of {name}", lambda: take_descriptor(pid))
    attempt(f"trace {name}", lambda: trace(pid))
    # Asking for the limits needs the right to change them.
    attempt(f"limits of {name}", lambda: checked(libc.prlimit(pid, 7, None, ctypes.byref((ctypes.c_ulong * 2)()))))
json.dump(outcome, sys.stdout)
