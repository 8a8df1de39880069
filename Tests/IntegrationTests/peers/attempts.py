"""Acts that may be forbidden, and what became of each: `done`, or the name of the error. Only `done` means that it worked."""

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
outcome: dict = {}


def attempt(name, act):
    try:
        act()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = errno.errorcode.get(error.errno, str(error.errno))


def checked(result):
    """What a C function returned, where that is no failure."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result
