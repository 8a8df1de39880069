"""What an attacker throws at a CURVE port: one kind of attack for each process, until standard input is closed.

    siege.py KIND ADDRESS PORT [SERVER_KEY]      stdout: {"attempts": …, …} when it ends

Kinds: garbage, half (half a handshake, then silence), versions (ZMTP of other versions and mechanisms), endless (MORE frames without end, over CURVE with a key
of its own), connections (50,000 connections, from every address of this host, opened as fast as they are taken), strangers (a key that is nobody's asks for
get_ca as fast as it is answered).
"""

import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time

kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
server_key = sys.argv[4].encode() if len(sys.argv) > 4 else b""
stopped = threading.Event()
facts: dict = {"attempts": 0}


def wait_for_end() -> None:
    while sys.stdin.readline():
        pass
    stopped.set()


def closed_by_peer(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side has closed it by then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopped.is_set():
        if select.select([connection], [], [], 0.1)[0]:
            try:
                if not connection.recv(65536):
                    return True
            except OSError:
                return True
    return False


def greeting(version: bytes = b"\x03\x00", mechanism: bytes = b"CURVE") -> bytes:
    return b"\xff" + bytes(8) + b"\x7f" + version + mechanism.ljust(20, b"\0") + b"\0" + bytes(31)


def garbage() -> None:
    shapes = [
        os.urandom(64), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        b"SSH-2.0-x\r\n", bytes(4096), b"\xff" * 4096, greeting() + os.urandom(4096), greeting() + b"\x04\xc8" + b"\x05HELLO" + os.urandom(194),
        greeting()[:11], greeting() + b"\x06" + b"\x7f" * 8, b"\x01\x00", b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f" + os.urandom(54),
    ]
    while not stopped.is_set():
        try:
            with socket.create_connection((address, port), 2) as connection:
                connection.sendall(random.choice(shapes))
                facts["attempts"] += 1
        except OSError:
            facts["refused"] = facts.get("refused", 0) + 1
        time.sleep(0.002)


def half() -> None:
    while not stopped.is_set():
        held = []
        try:
            for _ in range(50):
                connection = socket.create_connection((address, port), 2)
                connection.sendall(greeting()[: random.choice([0, 1, 10, 12, 63, 64])])
                held.append(connection)
                facts["attempts"] += 1
        except OSError:
            facts["refused"] = facts.get("refused", 0) + 1
        facts["closed"] = facts.get("closed", 0) + sum(closed_by_peer(connection, 10) for connection in held)
        for connection in held:
            connection.close()


def versions() -> None:
    greetings = [
        greeting(b"\x01\x00"), greeting(b"\x00\x00"), greeting(b"\x02\x00"), greeting(b"\x03\x09"), greeting(b"\x09\x00"), greeting(b"\x03\x00", b"NULL"),
        greeting(b"\x03\x00", b"PLAIN"), greeting(b"\x03\x00", b"GSSAPI"), greeting(b"\x03\x00", b"curve"), greeting(b"\x03\x00", b"CURVE\0CURVE"),
    ]
    while not stopped.is_set():
        for one in greetings:
            try:
                with socket.create_connection((address, port), 2) as connection:
                    connection.sendall(one + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03REQ")
                    facts["attempts"] += 1
                    facts["closed"] = facts.get("closed", 0) + closed_by_peer(connection, 5)
            except OSError:
                facts["refused"] = facts.get("refused", 0) + 1
            if stopped.is_set():
                return


def endless() -> None:
    import zmq

    context = zmq.Context()
    facts["sent_bytes"] = facts["cut"] = 0
    while not stopped.is_set():
        client = context.socket(zmq.DEALER)
        client.linger = 0
        client.sndtimeo = 2000
        client.sndhwm = 100
        client.reconnect_ivl = -1
        public, secret = zmq.curve_keypair()
        client.curve_serverkey, client.curve_publickey, client.curve_secretkey = server_key, public, secret
        client.connect(f"tcp://{address}:{port}")
        facts["attempts"] += 1
        part = os.urandom(65536)
        for _ in range(4000):
            if stopped.is_set():
                break
            try:
                client.send(part, zmq.SNDMORE)
                facts["sent_bytes"] += len(part)
            except zmq.ZMQError:
                facts["cut"] += 1
                break
        client.close(0)
    context.destroy(0)


def connections() -> None:
    listed = subprocess.run(["ip", "-o", "-4", "address", "show", "scope", "global"], capture_output=True, text=True, check=True).stdout
    sources = [line.split()[3].split("/")[0] for line in listed.splitlines()]
    facts["sources"] = len(sources)
    poll = select.epoll()
    held: dict[int, socket.socket] = {}
    facts["opened"] = facts["closed_by_server"] = facts["most_at_once"] = 0
    while not stopped.is_set():
        if facts["attempts"] < 50_000 and len(held) < 12_000:
            for _ in range(64):
                connection = socket.socket()
                connection.setblocking(False)
                try:
                    connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                    connection.bind((sources[facts["attempts"] % len(sources)], 0))
                    connection.connect_ex((address, port))
                except OSError:
                    connection.close()
                    facts["refused"] = facts.get("refused", 0) + 1
                    continue
                facts["attempts"] += 1
                held[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLOUT | select.EPOLLET)
        elif facts["attempts"] >= 50_000 and "all" not in facts:
            facts["all"] = True
            print("all", flush=True)
        facts["most_at_once"] = max(facts["most_at_once"], len(held))
        for descriptor, event in poll.poll(0.01):
            if event & select.EPOLLOUT and not event & (select.EPOLLHUP | select.EPOLLERR):
                facts["opened"] += 1
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                connection = held[descriptor]
                try:
                    gone = not connection.recv(4096)
                except BlockingIOError:
                    gone = False
                except OSError:
                    gone = True
                if gone:
                    poll.unregister(descriptor)
                    held.pop(descriptor).close()
                    facts["closed_by_server"] += 1
    for connection in held.values():
        connection.close()


def strangers() -> None:
    import zmq

    context = zmq.Context()
    client = context.socket(zmq.DEALER)
    client.linger = 0
    client.rcvtimeo = 1000
    public, secret = zmq.curve_keypair()
    client.curve_serverkey, client.curve_publickey, client.curve_secretkey = server_key, public, secret
    client.connect(f"tcp://{address}:{port}")
    facts["refused_in_words"] = {}
    open_requests = 0
    while not stopped.is_set():
        while open_requests < 64:
            client.send_multipart([b"", b'{"TASK":"get_ca","params":{}}'])
            open_requests += 1
            facts["attempts"] += 1
        try:
            answer = json.loads(client.recv_multipart()[-1])
            open_requests -= 1
            if answer["EVENT"] != "ANSWER":
                words = answer["MSG"][:60]
                facts["refused_in_words"][words] = facts["refused_in_words"].get(words, 0) + 1
        except zmq.Again:
            open_requests = 0
    context.destroy(0)


threading.Thread(target=wait_for_end, daemon=True).start()
print("going", flush=True)
{"garbage": garbage, "half": half, "versions": versions, "endless": endless, "connections": connections, "strangers": strangers}[kind]()
print(json.dumps(facts), flush=True)
