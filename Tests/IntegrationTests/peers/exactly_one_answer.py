"""Sends everything that is no request, and after each the next good request.

    exactly_one_answer.py PORT GOOD_TASK
    stdout: [{"name", "answers": […], "next": EVENT, "seconds"}, …]

A DEALER is used, since it shows when more than one answer comes; it adds the empty frame that a REQ socket would.
"""

import json
import sys
import time

import zmq

GOOD = sys.argv[2]
BRACKETS = 100_000

GARBAGE = {
    "bad UTF-8": [b'{"TASK":"get_ca","params":{"x":"\xff\xfe"}}'],
    "a lone continuation byte": [b"\x80"],
    "bad JSON": [b"{"],
    "text": [b"hello"],
    "two documents": [b'{"TASK":"get_ca"}{"TASK":"get_ca"}'],
    "an array": [b'[{"TASK":"get_ca"}]'],
    "a number": [b"5"],
    "null": [b"null"],
    "a string": [b'"get_ca"'],
    "an object without TASK": [b"{}"],
    "a TASK that is a number": [b'{"TASK":5}'],
    "a TASK that is an object": [b'{"TASK":{"TASK":"get_ca"}}'],
    "a TASK that is null": [b'{"TASK":null}'],
    "a TASK nobody knows": [b'{"TASK":"rm -rf","params":{}}'],
    "a TASK of the operator": [b'{"TASK":"open_registration","params":{}}'],
    "an empty TASK": [b'{"TASK":"","params":{}}'],
    "a TASK with control characters": [b'{"TASK":"a\\u0000\\n\\u001b[31m","params":{}}'],
    "a very long TASK": [b'{"TASK":"' + b"x" * 500_000 + b'"}'],
    "params that are a string": [b'{"TASK":"get_ca","params":"x"}'],
    "params that are an array": [b'{"TASK":"get_ca","params":[]}'],
    "params that are a number": [b'{"TASK":"get_ca","params":1}'],
    "100,000 nested arrays": [b"[" * BRACKETS + b"]" * BRACKETS],
    "100,000 open brackets": [b"[" * BRACKETS],
    "100,000 nested objects": [b'{"params":' * BRACKETS],
    "nested brackets inside params": [b'{"TASK":"get_ca","params":{"x":' + b"[" * BRACKETS + b"]" * BRACKETS + b"}}"],
    "an empty frame": [b""],
    "several frames": [b'{"TASK":"get_ca","params":{}}', b"x", b"y"],
    "two empty frames": [b"", b""],
    "a thousand frames": [b"x"] * 1000,
    "a number of 1,000 digits": [b"9" * 1000],
    "half a surrogate pair": [b'{"TASK":"\\ud800","params":{}}'],
    "a byte order mark": [b'\xef\xbb\xbf{"TASK":"get_ca","params":{"x":1}}'],
    "just under the frame limit": [b" " * ((1 << 20) - 16)],
}


def main() -> None:
    context = zmq.Context()

    def connect() -> zmq.Socket:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
        return socket

    def answer(socket: zmq.Socket, within: int) -> dict | None:
        if not socket.poll(within):
            return None
        parts = socket.recv_multipart()
        if len(parts) != 2 or parts[0] != b"":
            return {"EVENT": f"{len(parts)} frames"}
        return json.loads(parts[1].decode("utf-8"))

    def good(socket: zmq.Socket) -> str:
        socket.send_multipart([b"", json.dumps({"TASK": GOOD, "params": {}}).encode()])
        reply = answer(socket, 5000)
        return "none" if reply is None else reply["EVENT"]

    results = []
    socket = connect()
    for name, frames in GARBAGE.items():
        start = time.monotonic()
        socket.send_multipart([b"", *frames])
        answers = []
        reply = answer(socket, 5000)
        seconds = time.monotonic() - start
        if reply is not None:
            answers.append(reply)
        # The good request is asked on the same connection: what comes before its answer would be a second one.
        next_event = good(socket)
        if socket.poll(20):
            answers.append({"EVENT": "one too many", "MSG": str(socket.recv_multipart())})
        results.append({"name": name, "answers": answers, "next": next_event, "seconds": seconds})

    # Above the limit libzmq cuts the connection off; another client is not disturbed, and this one comes back.
    other = connect()
    assert good(other) == "ANSWER"
    socket.send_multipart([b"", b" " * ((1 << 20) + 1)])
    cut = connect()
    results.append({"name": "over the frame limit, others", "answers": [], "next": good(other), "seconds": 0})
    results.append({"name": "over the frame limit, a new client", "answers": [], "next": good(cut), "seconds": 0})
    json.dump(results, sys.stdout)
    context.destroy(linger=0)


main()
