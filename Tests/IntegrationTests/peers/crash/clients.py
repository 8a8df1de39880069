"""The clients of the crash test: one request at a time, given up when the program that would answer was killed."""

import json
import struct
import threading
import time

import zmq
from journal import OK, REFUSED, UNKNOWN


class Stage:
    """Where the actors work: it can be paused, and knows which program was killed last."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.count = 0
        self.resting = 0
        self.is_open = True
        self.is_ended = False
        self.kills: dict[str, int] = {}

    def enter(self) -> bool:
        """To be called before each step; False when it is over."""
        with self.condition:
            if not self.is_open and not self.is_ended:
                self.resting += 1
                self.condition.notify_all()
                self.condition.wait_for(lambda: self.is_open or self.is_ended)
                self.resting -= 1
            return not self.is_ended

    def leave(self) -> None:
        """An actor ends."""
        with self.condition:
            self.count -= 1
            self.condition.notify_all()

    def pause(self, seconds: float) -> bool:
        with self.condition:
            self.is_open = False
            return self.condition.wait_for(lambda: self.resting == self.count, seconds)

    def go(self) -> None:
        with self.condition:
            self.is_open = True
            self.condition.notify_all()

    def end(self) -> None:
        with self.condition:
            self.is_ended = True
            self.condition.notify_all()
            self.condition.wait_for(lambda: self.count == 0, 30)

    def killed(self, names: list[str]) -> None:
        for name in names:
            self.kills[name] = self.kills.get(name, 0) + 1

    def deaths(self, programs: tuple[str, ...]) -> int:
        return sum(self.kills.get(name, 0) for name in programs)


class Client:
    """A client of port 5000 or 5001."""

    # How long after a kill an answer may still come that was on its way.
    GRACE = 0.3

    def __init__(self, world, port: int, address: str | None = None, patience: float = 4.2) -> None:
        source = f"{address}:0;" if address else ""
        self.world, self.patience = world, patience
        self.endpoint = f"tcp://{source}127.0.0.1:{port}"
        relay = "front" if port == world.settings["port"] else "registrar"
        self.programs: tuple[str, ...] = ("core", "ca-ctl", relay)
        self.number = 0
        self.socket = None

    def connect(self) -> None:
        self.socket = self.world.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self.socket.connect(self.endpoint)

    def close(self) -> None:
        if self.socket:
            self.socket.close(0)
        self.socket = None

    def frames(self, payload: bytes) -> list[bytes]:
        return [struct.pack(">Q", self.number), b"", payload]

    def ask(self, task: str, allowed: tuple[str, ...] = (), **parameters):
        """The outcome and the data of the answer.

        Requests are made so that they succeed: a refusal but `Busy` and those that are `allowed` is a fault.
        """
        outcome, data = self.exchange(task, parameters)
        if outcome == REFUSED and not data.startswith(("Busy: ",) + allowed):
            self.world.journal.fault(f"{task} {json.dumps(parameters)[:200]} was refused: {data}")
        self.world.journal.count(task, outcome)
        return outcome, data if outcome == OK else None

    def exchange(self, task: str, parameters: dict):
        if not self.socket:
            self.connect()
        self.number += 1
        deaths = self.world.stage.deaths(self.programs)
        self.socket.send_multipart(self.frames(json.dumps({"TASK": task, "params": parameters}).encode()))
        end = time.monotonic() + self.patience
        bereaved = False
        while (left := end - time.monotonic()) > 0:
            if self.socket.poll(min(left, 0.02) * 1000 + 1):
                parts = self.socket.recv_multipart()
                if struct.unpack(">Q", parts[0][-8:])[0] == self.number:
                    return self.read(task, parts[-1])
            elif not bereaved and self.world.stage.deaths(self.programs) != deaths:
                bereaved = True
                end = min(end, time.monotonic() + self.GRACE)
        # A new socket: what this one may still hold is never sent again, and an answer that comes late is nobody's.
        self.close()
        return UNKNOWN, None

    def read(self, task: str, frame: bytes):
        answer = json.loads(frame)
        if answer["EVENT"] == "ANSWER":
            return OK, answer["DATA"]
        words = answer["MSG"]
        if "may still take effect" in words:
            return UNKNOWN, None
        if words.startswith(("Internal error", "Storage error")):
            self.world.journal.fault(f"{task}: {words}")
            return UNKNOWN, None
        return REFUSED, words


class AdminClient(Client):
    """The operator on admin.sock: messages of two frames, as docs/PROTOCOL.md has them."""

    def __init__(self, world) -> None:
        super().__init__(world, 0)
        self.endpoint = f"ipc://{world.settings['run']}/admin.sock"
        self.programs = ("core", "ca-ctl")

    def frames(self, payload: bytes) -> list[bytes]:
        # Version 1, kind 1 (a request), the id, and 0 for "never too old".
        return [struct.pack(">BBQQ", 1, 1, self.number, 0), payload]
