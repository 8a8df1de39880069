"""Revokes certificates over ZeroMQ and asks the OCSP bridge's unix socket without pause meanwhile.

    ocsp_prober.py PORT SOCKET     stdin: [{"serial": …, "request": hexadecimal DER of a request for it alone}, …]
                                   stdout: {"rounds": [{"before": …, "revoked": …, "late": n, "relapses": n, "others": n, "delay": s}, …]}

`late` counts answers `good` to questions that were sent later than 100 ms after the reply of the revocation; `relapses` those after the
first `revoked`; `delay` is from the reply to the end of the first answer `revoked`, negative when that was heard before the reply.
"""

import json
import socket
import sys
import threading
import time

import zmq

PROMISE = 0.1


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the DER element at this place."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    return tag, start, start + length


def children(data: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    found = []
    while start < end:
        found.append(element(data, start))
        start = found[-1][2]
    return found


def status(response: bytes) -> str:
    """certStatus of the one SingleResponse (RFC 6960 4.2.1), or the number of the response's own status."""
    outer = children(response, *element(response, 0)[1:])
    code = response[outer[0][1]]
    if code != 0:
        return f"error {code}"
    basic = children(response, *children(response, *element(response, outer[1][1])[1:])[1][1:])[0]
    data = children(response, *basic[1:])[0]
    responses = next(item for item in children(response, *data[1:]) if item[0] == 0x30)
    single = children(response, *responses[1:])[0]
    return {0x80: "good", 0xA1: "revoked", 0x82: "unknown"}[children(response, *single[1:])[1][0]]


class Bridge:
    """One kept HTTP connection over a unix socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, request: bytes) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: {len(request)}\r\n\r\n"
        self.socket.sendall(head.encode() + request)
        line = self.file.readline()
        if b" 200 " not in line:
            raise SystemExit(f"the bridge said {line!r}")
        length = 0
        while (header := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return self.file.read(length)


def main() -> None:
    bridge = Bridge(sys.argv[2])
    context = zmq.Context()
    core = context.socket(zmq.REQ)
    core.setsockopt(zmq.RCVTIMEO, 10000)
    core.setsockopt(zmq.LINGER, 0)
    core.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
    rounds = []
    for item in json.load(sys.stdin):
        request = bytes.fromhex(item["request"])
        before = status(bridge.ask(request))
        replied: list[float] = []

        def revoke() -> None:
            core.send_string(json.dumps({"TASK": "revoke", "params": {"serial": item["serial"], "reason": "keyCompromise"}}))
            answer = json.loads(core.recv_string())
            # Looked at after the answer is here, so that the time is never too late.
            replied.append(time.monotonic())
            if answer.get("DATA") is not True:
                replied[0] = float("inf")

        revoking = threading.Thread(target=revoke)
        revoking.start()
        first = None
        late = relapses = others = 0
        end = time.monotonic() + 20
        while time.monotonic() < end:
            asked = time.monotonic()
            known = replied[0] if replied else None
            said = status(bridge.ask(request))
            if said == "revoked":
                first = first or time.monotonic()
            elif said == "good":
                relapses += first is not None
                late += known is not None and asked > known + PROMISE
            else:
                others += 1
            # A little longer than the promise, so that an answer that was kept too long would show.
            if first is not None and known is not None and asked > known + 1.5 * PROMISE:
                break
        revoking.join()
        rounds.append(
            {
                "before": before,
                "revoked": first is not None and replied[0] != float("inf"),
                "late": late,
                "relapses": relapses,
                "others": others,
                "delay": round((first or end) - replied[0], 4),
            }
        )
    json.dump({"rounds": rounds}, sys.stdout)
    core.close()
    context.term()


main()
