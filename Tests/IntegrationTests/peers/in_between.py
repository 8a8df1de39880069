"""Somebody in between, at the CA's own address: with a CURVE key of his own, with the plain protocol, or passing everything on and recording it.

    in_between.py own-key|plain ADDRESS PORT…       answers every request with what would please; prints what he got to read
    in_between.py record ADDRESS TARGET PORT…       passes connections on to TARGET; stdout: the bytes of each client, base64
    in_between.py replay ADDRESS PORT               stdin: base64 of what one client sent; sends it again, in one piece and in pieces

Each prints "ready" first, and its findings as JSON when standard input is closed.
"""

import base64
import json
import select
import socket
import sys
import threading


def pretend(with_key: bool, address: str, ports: list[str]) -> None:
    import zmq

    context = zmq.Context()
    public, secret = zmq.curve_keypair()
    sockets = []
    for port in ports:
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        if with_key:
            router.curve_server, router.curve_publickey, router.curve_secretkey = 1, public, secret
        router.bind(f"tcp://{address}:{port}")
        sockets.append(router)
    print("ready", flush=True)
    read: list[str] = []
    poller = zmq.Poller()
    for router in sockets:
        poller.register(router, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while True:
        for found, _ in poller.poll():
            if found == sys.stdin.fileno():
                print(json.dumps({"read": read}), flush=True)
                context.destroy(0)
                return
            parts = found.recv_multipart()
            read.append(parts[-1].decode(errors="replace"))
            parts[-1] = b'{"EVENT":"ANSWER","DATA":true}'
            found.send_multipart(parts)


def record(address: str, target: str, ports: list[str]) -> None:
    streams: list[dict] = []

    def carry(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(port: int) -> None:
        listener = socket.create_server((address, port))
        listeners.append(listener)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((target, port))
            kept = {"port": port, "client": bytearray(), "server": bytearray()}
            streams.append(kept)
            threading.Thread(target=carry, args=(client, server, kept["client"]), daemon=True).start()
            threading.Thread(target=carry, args=(server, client, kept["server"]), daemon=True).start()

    listeners: list[socket.socket] = []
    for port in ports:
        threading.Thread(target=serve, args=(int(port),), daemon=True).start()
    while len(listeners) < len(ports):
        pass
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps([{k: base64.b64encode(v).decode() if isinstance(v, bytearray) else v for k, v in kept.items()} for kept in list(streams)]), flush=True)


def replay(address: str, port: int) -> None:
    recorded = base64.b64decode(sys.stdin.readline())
    print("ready", flush=True)
    findings = []
    for size in (len(recorded), 200):
        with socket.create_connection((address, port), 5) as connection:
            answer = bytearray()
            closed = False
            try:
                for start in range(0, len(recorded), size):
                    connection.sendall(recorded[start : start + size])
                while select.select([connection], [], [], 5)[0]:
                    data = connection.recv(65536)
                    if not data:
                        closed = True
                        break
                    answer += data
            except OSError:
                closed = True
            findings.append({"closed": closed, "answered_bytes": len(answer)})
    print(json.dumps(findings), flush=True)


mode, rest = sys.argv[1], sys.argv[2:]
if mode in ("own-key", "plain"):
    pretend(mode == "own-key", rest[0], rest[1:])
elif mode == "record":
    record(rest[0], rest[1], rest[2:])
else:
    replay(rest[0], int(rest[1]))
