"""The RA's own client in a loop, while the test does things to the CA.

    ra_loop.py      stdin: one line of JSON {"port", "directory", "tasks": [[task, params], …]}, then kept open
    stdout: "going" after the first round; at the end of stdin {"answers", "by_task", "refusals": {MSG: n}, "lost": […], …}

An answer that does not come within its 5 s kills the client's REQ socket for good: that would be `lost`.
"""

import json
import select
import sys
import time

import ra
from upki_ra.core.upki_error import CAConnectionError, UPKIError

inputs = json.loads(sys.stdin.readline())
authority = ra.authority(inputs["port"], inputs["directory"])
client = authority.zmq_client
facts: dict = {"answers": 0, "refusals": {}, "lost": [], "slowest": 0.0, "last": None, "by_task": {}, "serials": []}
rounds = 0
is_last = False
while True:
    for task, params in inputs["tasks"]:
        start = time.monotonic()
        try:
            facts["last"] = None
            data = client._send_message(task, params)["DATA"]
            facts["answers"] += 1
            facts["by_task"][task] = facts["by_task"].get(task, 0) + 1
            facts["last"] = "answer"
            if isinstance(data, dict) and "serial" in data:
                facts["serials"].append(data["serial"])
        except CAConnectionError as error:
            facts["lost"].append(f"{task}: {error}")
        except UPKIError as error:
            facts["refusals"][str(error)[:90]] = facts["refusals"].get(str(error)[:90], 0) + 1
            facts["last"] = str(error)
        facts["slowest"] = max(facts["slowest"], time.monotonic() - start)
    rounds += 1
    if rounds == 1:
        print("going", flush=True)
    if facts["lost"] or is_last:
        break
    # One more round once the test is done with the CA: the socket has to work then.
    is_last = bool(select.select([sys.stdin], [], [], 0)[0])
authority.shutdown()
ra.finish(facts)
