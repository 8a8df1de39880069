"""A node that has certificates issued over CURVE, K at a time, and counts them: once for each line that it is given.

    stdin:  {"address", "port", "server_key", "secret", "csr", "together", "count"} in one line; then any line: one more round
    stdout: for each round {"seconds", "count", "refused": [the first refusals]}
"""

import json
import sys
import time

import zmq


def main() -> None:
    given = json.loads(sys.stdin.readline())
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    secret = given["secret"].encode()
    socket.curve_serverkey = given["server_key"].encode()
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_public(secret), secret
    socket.connect(f"tcp://{given['address']}:{given['port']}")
    request = json.dumps({"TASK": "sign", "params": {"csr": given["csr"], "profile": "server"}}).encode()
    for _ in sys.stdin:
        start = time.monotonic()
        sent = done = 0
        refused = []
        while done < given["count"]:
            while sent - done < given["together"] and sent < given["count"]:
                socket.send_multipart([b"", request])
                sent += 1
            if not socket.poll(10_000):
                refused.append("no answer in 10 s")
                break
            answer = json.loads(socket.recv_multipart()[-1])
            done += 1
            if answer["EVENT"] != "ANSWER" and len(refused) < 10:
                refused.append(answer.get("MSG", "?"))
        print(json.dumps({"seconds": time.monotonic() - start, "count": done, "refused": refused}), flush=True)
    context.destroy(0)


main()
