"""Asks one of ca-core's sockets as the program that it is for would, one question after another, with events in between.

    internal.py RUN_DIRECTORY SOCKET      stdin: [{"task", "params", "identity": what the header claims} or {"heartbeat": true} …]
    stdout: [answer …]; for a heartbeat the first that comes after the answer before
"""

import json
import struct
import sys

import zmq

context = zmq.Context()
events = context.socket(zmq.SUB)
events.setsockopt(zmq.SUBSCRIBE, b"")
events.connect(f"ipc://{sys.argv[1]}/events.sock")
link = context.socket(zmq.DEALER)
link.setsockopt(zmq.RCVTIMEO, 10_000)
link.connect(f"ipc://{sys.argv[1]}/{sys.argv[2]}.sock")


def ask(kind: int, number: int, question: dict) -> dict:
    payload = json.dumps({"TASK": question["task"], "params": question.get("params", {})}).encode()
    link.send_multipart([struct.pack(">BBQQ", 1, kind, number, 0) + question.get("identity", "").encode(), payload])
    header, answer = link.recv_multipart()
    assert struct.unpack(">BBQ", header) == (1, kind, number)
    return json.loads(answer)


def heartbeat() -> dict:
    while events.poll(0):
        events.recv()
    while events.poll(5_000):
        event = json.loads(events.recv())
        if event["event"] == "heartbeat":
            return event
    raise SystemExit("no heartbeat")


ask(0, 1, {"task": "hello", "params": {"protocol": 1, "program": "test"}})
answers = []
for index, question in enumerate(json.load(sys.stdin)):
    answers.append(heartbeat() if "heartbeat" in question else ask(1, index + 2, question))
json.dump(answers, sys.stdout)
context.destroy(linger=0)
