"""Peers that break the transport, one attack after another; during each, and after it, another client is served as fast as before.

    hostile_peers.py PORT FRONT_PID      stdin: {"csr": PEM, "csrs": {name: PEM}}
    stdout: {"undisturbed": {…}, "before": bytes, "attacks": [{"name", "facts", "during": {…}, "after": {…}, "memory": bytes}, …],
             "requests": [{"name", "answer", "after": {…}}, …]}

`requests` are well-formed frames with hostile content, one after another; after each the other client is timed in the same way.

Times are seconds: the median of 20 `get_ca`, of 20 `sign`, and one `get_ca` on a new connection. Memory is the front's share (PSS).
The random numbers are always the same.
"""

import json
import random
import socket
import statistics
import struct
import sys
import time

import zmq

PORT, FRONT = int(sys.argv[1]), int(sys.argv[2])
given = json.load(sys.stdin)
CSR = given["csr"]
random.seed(20261125)
context = zmq.Context()

GET_CA = b'{"TASK":"get_ca","params":{}}'
GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL").ljust(64, b"\0")


# ---- The other client


class Client:
    """A client as deployed ones are: one connection, one request after another."""

    def __init__(self) -> None:
        self.socket = context.socket(zmq.REQ)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{PORT}")

    def ask(self, request: bytes) -> float:
        start = time.monotonic()
        self.socket.send(request)
        if not self.socket.poll(5_000):
            raise SystemExit(f"no answer within 5 s to {request[:60]!r}")
        answer = json.loads(self.socket.recv())
        if answer["EVENT"] != "ANSWER":
            raise SystemExit(f"{request[:60]!r}: {answer}")
        return time.monotonic() - start

    def close(self) -> None:
        self.socket.close()


SIGN = json.dumps({"TASK": "sign", "params": {"csr": CSR}}).encode()
other = Client()


def served() -> dict:
    new = Client()
    times = {
        "get_ca": statistics.median(other.ask(GET_CA) for _ in range(20)),
        "sign": statistics.median(other.ask(SIGN) for _ in range(20)),
        "new": new.ask(GET_CA),
    }
    new.close()
    return times


def memory() -> int:
    with open(f"/proc/{FRONT}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


# ---- What attacks are made of


def tcp() -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", PORT), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ready(properties: list[tuple[bytes, bytes]]) -> bytes:
    body = b"\x05READY" + b"".join(bytes([len(n)]) + n + struct.pack(">I", len(v)) + v for n, v in properties)
    return (bytes([4, len(body)]) if len(body) < 256 else b"\x06" + struct.pack(">Q", len(body))) + body


def peer(properties: list[tuple[bytes, bytes]] = [(b"Socket-Type", b"DEALER")], receive_buffer: int = 0) -> socket.socket:
    """A raw connection with its handshake done."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", PORT))
    connection.sendall(GREETING + ready(properties))
    exactly(connection, 64)
    size = exactly(connection, 2)[1]
    exactly(connection, size)
    return connection


def exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise RuntimeError("the connection has ended")
        data += part
    return data


def frame(payload: bytes, more: bool = False) -> bytes:
    if len(payload) < 256:
        return bytes([1 if more else 0, len(payload)]) + payload
    return bytes([3 if more else 2]) + struct.pack(">Q", len(payload)) + payload


def message(connection: socket.socket) -> bytes:
    """The last frame of the next message."""
    while True:
        flags = exactly(connection, 1)[0]
        size = struct.unpack(">Q", exactly(connection, 8))[0] if flags & 2 else exactly(connection, 1)[0]
        data = exactly(connection, size)
        if not flags & 5:
            return data


def cut_off(connections: list[socket.socket], within: float) -> int:
    """How many of them the other side ends in time."""
    end = time.monotonic() + within
    count = 0
    for connection in connections:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            while connection.recv(65_536):
                pass
            count += 1
        except TimeoutError:
            pass
        except OSError:
            count += 1
    return count


def send_all(connection: socket.socket, data: bytes) -> bool:
    """Whether all of it could be sent; the other side may end the connection in the middle."""
    try:
        connection.sendall(data)
        return True
    except OSError:
        return False


# ---- The attacks: each gives facts, and the connections that stay open while the other client is asked


def many_parts():
    connection = peer()
    lines = []
    for part in [b"", b"x", b"y" * 1_000]:
        for _ in range(10):
            connection.sendall(b"".join(frame(part, more=True) for _ in range(3_999)) + frame(part))
            lines.append(json.loads(message(connection))["MSG"])
    connection.sendall(frame(GET_CA))
    return {"lines": sorted(set(lines)), "count": len(lines), "next": json.loads(message(connection))["EVENT"]}, [connection]


def unfinished_message():
    """3,999 parts, and the last one never comes."""
    connections = [peer() for _ in range(20)]
    for connection in connections:
        connection.sendall(frame(b"x" * 100, more=True) * 3_999)
    return {}, connections


def half_handshakes():
    connections = []
    for number in range(300):
        connection = tcp()
        connection.sendall(GREETING[: number % 64])
        connections.append(connection)
    return {"silent": len(connections)}, connections


def greetings_alone():
    connections = []
    for number in range(100):
        connection = tcp()
        command = ready([(b"Socket-Type", b"DEALER")])
        connection.sendall(GREETING + command[: number % len(command)])
        connections.append(connection)
    return {"silent": len(connections)}, connections


def garbage():
    connections = []
    for number in range(60):
        connection = tcp()
        # With a first octet that is no greeting, libzmq takes it for the oldest version of its protocol.
        send_all(connection, bytes([number * 4]) + random.randbytes(20_000))
        connections.append(connection)
    return {}, connections


def other_protocols():
    hello = bytes.fromhex("16030100c8010000c40303") + random.randbytes(193)
    texts = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"A" * 100_000, hello, b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO a\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 100_000, b"\xff" * 100_000, b"\x01\x00", b"\x7f" * 64,
    ]
    connections = []
    for text in texts:
        connection = tcp()
        send_all(connection, text)
        connections.append(connection)
    return {}, connections


def strange_handshakes():
    """Other mechanisms, other socket types, properties that lie."""
    name = b"Socket-Type"
    commands = [ready([(name, kind)]) for kind in (b"PUB", b"SUB", b"ROUTER", b"PAIR", b"", b"X" * 200, b"REP")] + [
        ready([]), ready([(b"", b"")]), ready([(name, b"DEALER"), (b"Identity", b"")]), ready([(name, b"DEALER"), (b"Identity", b"\0abc")]),
        ready([(name, b"DEALER"), (b"Identity", b"i" * 255)]), ready([(name, b"DEALER"), (b"Identity", b"i" * 300)]),
        ready([(name, b"DEALER")] * 2_000), ready([(name, b"DEALER"), (b"X", b"y" * 100_000)]), b"\x04\x00", b"\x04\x06\x05ERROR", b"\x04\x05\x04PING",
        b"\x04\x0d\x05READY\x0bSocket", b"\x04\x15\x05READY\x0bSocket-Type\xff\xff\xff\xff", b"\x06" + b"\xff" * 8, b"\x06" + struct.pack(">Q", 1 << 40),
    ]
    connections = []
    for command in commands:
        connection = tcp()
        send_all(connection, GREETING + command)
        connections.append(connection)
    for mechanism in (b"CURVE", b"PLAIN", b"GSSAPI", b"", b"NULL\xff", b"A" * 20):
        connection = tcp()
        send_all(connection, (b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism).ljust(64, b"\0") + ready([(name, b"DEALER")]))
        connections.append(connection)
    # Older versions: 1.0 has no greeting, 2.0 a shorter one.
    for start in (b"\x01\x00", b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00", b"\xff" + bytes(8) + b"\x7f\x00", b"\xff" + bytes(8) + b"\x7f\xff" * 20):
        connection = tcp()
        send_all(connection, start + b"\x00\x00" + frame(GET_CA))
        connections.append(connection)
    return {}, connections


def largest_frame():
    connection = peer()
    connection.sendall(frame(b" " * (1 << 20)))
    first = json.loads(message(connection))
    connection.sendall(frame(GET_CA + b" " * ((1 << 20) - len(GET_CA))))
    return {"first": first["MSG"], "second": json.loads(message(connection))["EVENT"]}, [connection]


def larger_frames():
    connections = []
    for size in [(1 << 20) + 1, 1 << 24, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]:
        connection = peer()
        send_all(connection, b"\x02" + struct.pack(">Q", size) + b" " * 1_000)
        connections.append(connection)
    return {"sent": len(connections), "cut off": cut_off(connections, 5)}, connections


def announced_frames():
    """The head of a frame of a mebibyte, whose body never comes."""
    connections = [peer() for _ in range(200)]
    for connection in connections:
        connection.sendall(b"\x02" + struct.pack(">Q", 1 << 20))
    return {}, connections


def commands():
    """Commands after the handshake: PINGs whose PONGs nobody reads, and commands of other sockets."""
    connection = peer(receive_buffer=4_096)
    connection.settimeout(2)
    ping = b"\x04\x17\x04PING\x00\x00" + b"c" * 16
    send_all(connection, ping * 20_000)
    others = []
    for body in [b"\x09SUBSCRIBEx", b"\x06CANCELx", b"\x05READY", b"\x05ERROR\x03abc", b"", b"\xff", b"\x04PING", b"\x04PONG" + b"z" * 200]:
        another = peer()
        send_all(another, bytes([4, len(body)]) + body + frame(GET_CA))
        others.append(another)
    return {}, [connection, *others]


def connects_and_leaves():
    for number in range(500):
        connection = tcp()
        if number % 2:
            # A reset instead of an end in order.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    return {}, []


def asks_and_leaves():
    for number in range(200):
        connection = peer()
        connection.sendall(frame(SIGN if number % 10 == 0 else GET_CA) * 3)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
        connection.close()
    return {}, []


def never_reads():
    """Twenty connections that ask for 3,000 answers each and read none."""
    connections = [peer(receive_buffer=4_096) for _ in range(20)]
    for connection in connections:
        connection.settimeout(5)
    for _ in range(30):
        for connection in connections:
            send_all(connection, frame(GET_CA) * 100)
        other.ask(GET_CA)
    return {}, connections


def never_reads_large_answers():
    """Answers of some 100 kB each: the inventory."""
    connection = peer(receive_buffer=4_096)
    connection.settimeout(5)
    largest = 0
    reader = peer()
    reader.sendall(frame(b'{"TASK":"list_nodes","params":{}}'))
    largest = len(message(reader))
    for _ in range(40):
        send_all(connection, frame(b'{"TASK":"list_nodes","params":{}}'))
        other.ask(GET_CA)
    return {"answer": largest}, [connection, reader]


def one_octet_at_a_time():
    connections = [tcp() for _ in range(50)]
    text = GREETING + ready([(b"Socket-Type", b"DEALER")]) + frame(GET_CA)
    for octet in text[:40]:
        for connection in connections:
            send_all(connection, bytes([octet]))
        other.ask(GET_CA)
    return {}, connections


def another_ones_name():
    """Many connections that all claim one routing id, and answer frames to nobody's question."""
    connections = [peer([(b"Socket-Type", b"DEALER"), (b"Identity", b"the same")]) for _ in range(2)]
    for connection in connections:
        connection.sendall(frame(GET_CA))
    return {"answer": json.loads(message(connections[0]))["EVENT"]}, connections


ATTACKS = [
    many_parts, unfinished_message, half_handshakes, greetings_alone, garbage, other_protocols, strange_handshakes, largest_frame, larger_frames,
    announced_frames, commands, connects_and_leaves, asks_and_leaves, never_reads, never_reads_large_answers, one_octet_at_a_time, another_ones_name,
]



# ---- Well-formed frames with hostile content


def hostile_requests() -> list[tuple[str, bytes]]:
    requests = []

    def add(name: str, task: str, **params) -> None:
        requests.append((name, json.dumps({"TASK": task, "params": params}).encode()))

    names = ["..", "a/b", ".", "a\0.example.com", "n" * 300, "CON", "\u043f\u0440\u0438\u043c\u0435\u0440", "\u202egro.elpmaxe", "Twin.example.com", "tWIN.EXAMPLE.COM"]
    for number, name in enumerate(names):
        add(f"cn {number}", "generate", cn=name, profile="user")
    for duration in (0, -1, -(2**63), 2**63, 10**400, 1e300, "7", None, []):
        add(f"duration {str(duration)[:20]}", "sign", csr=CSR, duration=duration)
    add("10,000 sans", "generate", cn="many.example.com", sans=[f"h{number}.example.com" for number in range(10_000)])
    add("10,000 equal sans", "generate", cn="same.example.com", sans=["same.example.com"] * 10_000)
    add("a CSR of 900 kB", "sign", csr="\n".join(["x" * 76] * 11_500) + "\n" + CSR)
    add("a CSR with 900 kB in it", "sign", csr=CSR.replace("-----END", "A" * 900_000 + "\n-----END", 1))
    for name, csr in given["csrs"].items():
        add(f"CSR: {name}", "sign", csr=csr)
    for serial in ("abc", "", "-1", "0x", "1" * 100_000, "\u0661\u0662", None, 1.5, {"a": 1}):
        add(f"serial {str(serial)[:20]}", "revoke", serial=serial)
    for reason in (-1, 7, 11, 2**70, "7", "removeFromCRL", "", [1], "x" * 100_000):
        add(f"reason {str(reason)[:20]}", "revoke", dn="/CN=nobody.example.com", reason=reason)
    add("account id of any characters", "acme_sync_account", account_id="".join(map(chr, range(1, 0xD800, 61))), jwk={"kty": "EC"})
    add("account id of 900 kB", "acme_sync_account", account_id="a" * 900_000, jwk={"kty": "EC"})
    requests.append(("account id that is no UTF-8", b'{"TASK":"acme_get_account","params":{"account_id":"\xff\xfe\x80"}}'))
    requests.append(("two equal keys", b'{"TASK":"generate","params":{"cn":"a.example.com","cn":"b.example.com"}}'))
    requests.append(("two tasks", b'{"TASK":"get_ca","TASK":"generate","params":{}}'))
    requests.append(("100,000 brackets", b'{"TASK":"get_ca","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    requests.append(("100,000 members", b'{"TASK":"get_ca","params":{' + b",".join(b'"k%d":0' % number for number in range(60_000)) + b"}}"))
    return requests


def answered_once(connection: socket.socket, request: bytes) -> str:
    connection.sendall(frame(request) + frame(GET_CA))
    answers = [json.loads(message(connection)) for _ in range(2)]
    # The two may overtake each other; a third would be taken for the next request's.
    lines = [answer.get("MSG", "ANSWER") for answer in answers]
    lines.remove("ANSWER")
    return lines[0]


served()
result = {"undisturbed": served(), "before": memory(), "attacks": [], "requests": []}
hostile = peer()
for name, request in hostile_requests():
    answer = answered_once(hostile, request)
    result["requests"].append({"name": name, "answer": answer[:200], "after": served()})
hostile.close()
for attack in ATTACKS:
    facts, connections = attack()
    during = served()
    held = memory()
    if "silent" in facts:
        facts["cut off"] = cut_off(connections, 6)
    for connection in connections:
        connection.close()
    result["attacks"].append({"name": attack.__name__, "facts": facts, "during": during, "after": served(), "memory": held})
json.dump(result, sys.stdout)
context.destroy(linger=0)
