"""Listens to the core's events while it revokes.

    events.py PORT EVENTS_SOCKET      stdin: [serial, …]      stdout: what was heard, and when
"""

import json
import sys
import time

import zmq

context = zmq.Context()
heard: list[tuple[float, dict]] = []
events = context.socket(zmq.SUB)
events.setsockopt(zmq.SUBSCRIBE, b"")
events.connect("ipc://" + sys.argv[2])
client = context.socket(zmq.REQ)
client.setsockopt(zmq.RCVTIMEO, 5000)
client.connect(f"tcp://127.0.0.1:{sys.argv[1]}")


def listen(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if events.poll(left * 1000):
            heard.append((time.monotonic(), json.loads(events.recv())))


listen(1.0)
beats = [moment for moment, event in heard if event["event"] == "heartbeat"]
story: dict = {"beats": len(beats), "longest_gap": max(b - a for a, b in zip(beats, beats[1:]))}
revocations = []
for serial in json.load(sys.stdin):
    client.send(json.dumps({"TASK": "revoke", "params": {"serial": serial, "reason": "superseded"}}).encode())
    answer = json.loads(client.recv())
    # The event goes out before the answer: it must be here now, without waiting.
    found = []
    while events.poll(5):
        event = json.loads(events.recv())
        heard.append((time.monotonic(), event))
        if event["event"] == "status":
            found.append(event)
            break
    revocations.append({"answer": answer.get("DATA"), "events": found})
story["revocations"] = revocations
story["sequences"] = [event["sequence"] for _, event in heard if event["event"] in ("status", "heartbeat")]
story["instances"] = len({event["instance"] for _, event in heard})
json.dump(story, sys.stdout)
context.destroy(linger=0)
