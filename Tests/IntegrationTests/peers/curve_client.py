"""A pyzmq client with CURVE, or without where no keys are given.

    stdin:  {"address", "port", "server_key", "secret" (none: a fresh pair), "requests": [[task, params], …], "seconds"}
    stdout: {"key": its public key, "answers": [answer or null where none came in time, …], "events": what its socket heard of its connection}
"""

import json
import sys

import zmq
from zmq.utils.monitor import recv_monitor_message


def main() -> None:
    given = json.load(sys.stdin)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.HANDSHAKE_IVL, 3000)
    # After a refused handshake there may be no connection to send on.
    socket.sndtimeo = int(given.get("seconds", 5) * 1000)
    public = None
    if given.get("server_key"):
        if given.get("secret"):
            secret = given["secret"].encode()
            public = zmq.curve_public(secret)
        else:
            public, secret = zmq.curve_keypair()
        socket.curve_serverkey = given["server_key"].encode()
        socket.curve_publickey, socket.curve_secretkey = public, secret
    monitor = socket.get_monitor_socket()
    socket.connect(f"tcp://{given['address']}:{given['port']}")
    seconds = given.get("seconds", 5)
    answers = []
    for task, params in given["requests"]:
        try:
            socket.send_multipart([b"", json.dumps({"TASK": task, "params": params}).encode()])
            answers.append(json.loads(socket.recv_multipart()[-1]) if socket.poll(seconds * 1000) else None)
        except zmq.Again:
            answers.append(None)
    events = []
    while monitor.poll(0):
        events.append(zmq.Event(recv_monitor_message(monitor)["event"]).name)
    json.dump({"key": public.decode() if public else None, "answers": answers, "events": events}, sys.stdout)
    socket.disable_monitor()
    context.destroy(0)


main()
