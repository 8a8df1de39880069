# Runs a command in a terminal of a given width and prints, as JSON, its exit code, and what stood on its standard output and error,
# each of which is a terminal of its own.
#
#   terminal.py COLUMNS COMMAND...
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios

columns = int(sys.argv[1])
ends = {}
for name in ("output", "errors"):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    ends[name] = (ours, theirs)
process = subprocess.Popen(
    sys.argv[2:], stdin=subprocess.DEVNULL, stdout=ends["output"][1], stderr=ends["errors"][1], close_fds=True
)
for ours, theirs in ends.values():
    os.close(theirs)
heard = {name: b"" for name in ends}
waiting = {ours: name for name, (ours, _) in ends.items()}
while waiting:
    for ours in select.select(list(waiting), [], [])[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            part = b""
        if not part:
            del waiting[ours]
        else:
            heard[waiting[ours]] += part
code = process.wait()
json.dump({"code": code, **{name: text.decode("utf-8", "replace").replace("\r\n", "\n") for name, text in heard.items()}}, sys.stdout)
