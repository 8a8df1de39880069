"""Puts a directory together from what was surely on the disk when the power went.

    power.py SHADOW TARGET       SHADOW as Tests/PowerCut keeps it; TARGET is made
"""

import os
import shutil
import sys


def rebuild(shadow: str, folder: str, target: str) -> None:
    names = f"{shadow}/d-{folder}"
    # A folder that was named and never synced is empty, and so is such a file.
    if not os.path.exists(names):
        return
    with open(names, encoding="utf-8") as lines:
        for line in lines:
            kind, mode, key, name = line.rstrip("\n").split(" ", 3)
            path = f"{target}/{name}"
            if kind == "d":
                os.mkdir(path)
                rebuild(shadow, key, path)
            elif kind == "f":
                content = f"{shadow}/c-{key}"
                if os.path.exists(content):
                    shutil.copyfile(content, path)
                else:
                    open(path, "w").close()
            else:
                continue
            os.chmod(path, int(mode, 8))


shadow, target = sys.argv[1:]
os.mkdir(target, 0o700)
with open(f"{shadow}/root", encoding="utf-8") as file:
    rebuild(shadow, file.read().strip(), target)
