"""A plain ZMTP 3 client, by hand, that says of itself in its READY what only the server may know.

    stdin:  {"port", "properties": {name: value}, "requests": [[task, params], …]}      stdout: [answer or null, …]
"""

import json
import socket
import struct
import sys

given = json.load(sys.stdin)
connection = socket.create_connection(("127.0.0.1", given["port"]), 5)
connection.settimeout(5)


def read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def frame() -> tuple[int, bytes]:
    flags = read(1)[0]
    length = struct.unpack(">Q", read(8))[0] if flags & 2 else read(1)[0]
    return flags, read(length)


def message(*parts: bytes) -> bytes:
    out = b""
    for index, part in enumerate(parts):
        more = 1 if index < len(parts) - 1 else 0
        out += bytes([more, len(part)]) + part if len(part) < 256 else bytes([more | 2]) + struct.pack(">Q", len(part)) + part
    return out


connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
read(64)
body = b"\x05READY"
for name, value in {"Socket-Type": "DEALER", **given["properties"]}.items():
    body += bytes([len(name)]) + name.encode() + struct.pack(">I", len(value)) + value.encode()
connection.sendall(b"\x06" + struct.pack(">Q", len(body)) + body)
answers: list = []
try:
    frame()
    for task, params in given["requests"]:
        connection.sendall(message(b"", json.dumps({"TASK": task, "params": params}).encode()))
        while True:
            flags, data = frame()
            if not flags & 1 and not flags & 4:
                break
        answers.append(json.loads(data))
except (EOFError, OSError):
    answers.append(None)
json.dump(answers, sys.stdout)
