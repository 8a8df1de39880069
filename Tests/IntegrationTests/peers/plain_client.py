"""A plain pyzmq client: reads requests as JSON from standard input, asks them one after another on a REQ socket.

    plain_client.py PORT       stdin: [{"TASK": …, "params": {…}}, …]
                               stdout: [{"EVENT": …, "DATA" or "MSG": …, "seconds": …}, …]
"""

import json
import sys
import time

import zmq


def main() -> None:
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, 5000)
    socket.setsockopt(zmq.SNDTIMEO, 5000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
    answers = []
    for request in json.load(sys.stdin):
        start = time.monotonic()
        socket.send_string(json.dumps(request))
        answer = json.loads(socket.recv_string())
        answer["seconds"] = time.monotonic() - start
        answers.append(answer)
    json.dump(answers, sys.stdout)
    socket.close()
    context.term()


main()
