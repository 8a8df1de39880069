"""Becomes a user and speaks the internal link to one of ca-core's sockets by hand, with headers as it likes.

    forger.py SOCKET      stdin: {"user": {"uid", "gid", "groups"}, "messages": [{"identity", "task", "params"} or {"header": hex, "task"}…]}
    stdout: {"hello": answer, "answers": [answer or null…]}

A header is version, kind, id and time of arrival (8 bytes each, big endian), then what the relay says of its peer.
"""

import json
import os
import struct
import sys
import time

import zmq
import zmq.backend.cython  # noqa: F401  before the user changes: nothing can be loaded afterwards

given = json.load(sys.stdin)
user = given["user"]
context = zmq.Context()
link = context.socket(zmq.DEALER)
os.setgroups(user["groups"])
os.setresgid(user["gid"], user["gid"], user["gid"])
os.setresuid(user["uid"], user["uid"], user["uid"])
link.setsockopt(zmq.LINGER, 0)
link.connect(f"ipc://{sys.argv[1]}")


def header(kind: int, number: int, identity: str) -> bytes:
    return struct.pack(">BBQQ", 1, kind, number, time.clock_gettime_ns(time.CLOCK_MONOTONIC)) + identity.encode()


def payload(message: dict) -> bytes:
    return json.dumps({"TASK": message["task"], "params": message.get("params", {})}).encode()


link.send_multipart([header(0, 1, ""), payload({"task": "hello", "params": {"protocol": 1, "program": "forger"}})])
answers = {}
for index, message in enumerate(given["messages"]):
    number = index + 2
    if "header" in message:
        # The id stands where it must, so that an answer would be known.
        raw = bytes.fromhex(message["header"])
        raw = raw[:2] + struct.pack(">Q", number)[: max(0, len(raw) - 2)] + raw[10:]
        link.send_multipart([raw, payload(message)])
    else:
        link.send_multipart([header(1, number, message.get("identity", "")), payload(message)])
# Whoever is not answered by then is not answered: the last question is asked again and again meanwhile.
last = len(given["messages"]) + 2
link.send_multipart([header(0, last, ""), payload({"task": "hello", "params": {"protocol": 1, "program": "forger"}})])
quiet_from = None
while quiet_from is None or time.monotonic() - quiet_from < 0.5:
    if not link.poll(5_000 if quiet_from is None else 100):
        if quiet_from is None:
            break
        continue
    parts = link.recv_multipart()
    number = struct.unpack(">Q", parts[0][2:10])[0]
    answers[number] = json.loads(parts[1])
    if number == last:
        quiet_from = time.monotonic()
json.dump({"hello": answers.get(1), "answers": [answers.get(i + 2) for i in range(len(given["messages"]))]}, sys.stdout)
link.close()
context.term()
