"""Nodes that ask one thing after another with a pause in between, while the test does things to the CA.

    steady.py      stdin: one line of JSON {"port", "clients", "pause" (seconds), "requests": [{"TASK", "params"}, …]}, then kept open
    stdout: "going" once every client was answered; at the end of stdin
            {"answers", "by_task", "refusals": {MSG: n}, "lost": [task, …], "serials": […], "slowest" (seconds)}

A request without an answer within 5 s, which is all that the deployed RA waits, is `lost`; the client then goes on with a new socket.
"""

import json
import select
import sys
import threading
import time

import zmq

given = json.loads(sys.stdin.readline())
context = zmq.Context()
lock = threading.Lock()
facts: dict = {"answers": 0, "by_task": {}, "refusals": {}, "lost": [], "serials": [], "slowest": 0.0}
stop = threading.Event()
first = [threading.Event() for _ in range(given["clients"])]


def connected():
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, 5000)
    socket.setsockopt(zmq.SNDTIMEO, 5000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://127.0.0.1:{given['port']}")
    return socket


def work(number: int) -> None:
    socket = connected()
    turn = number
    while not stop.is_set():
        request = given["requests"][turn % len(given["requests"])]
        turn += 1
        begin = time.monotonic()
        try:
            socket.send_string(json.dumps(request))
            answer = json.loads(socket.recv_string())
        except zmq.Again:
            with lock:
                facts["lost"].append(request["TASK"])
            socket.close()
            socket = connected()
            continue
        with lock:
            facts["slowest"] = max(facts["slowest"], time.monotonic() - begin)
            if answer["EVENT"] == "ANSWER":
                facts["answers"] += 1
                facts["by_task"][request["TASK"]] = facts["by_task"].get(request["TASK"], 0) + 1
                if isinstance(answer["DATA"], dict) and "serial" in answer["DATA"]:
                    facts["serials"].append(answer["DATA"]["serial"])
            else:
                facts["refusals"][answer["MSG"]] = facts["refusals"].get(answer["MSG"], 0) + 1
        first[number].set()
        time.sleep(given["pause"] * (1 + number % 3 / 4))
    socket.close()


threads = [threading.Thread(target=work, args=(number,)) for number in range(given["clients"])]
for thread in threads:
    thread.start()
for event in first:
    event.wait(30)
print("going", flush=True)
select.select([sys.stdin], [], [])
stop.set()
for thread in threads:
    thread.join()
context.term()
json.dump(facts, sys.stdout)
