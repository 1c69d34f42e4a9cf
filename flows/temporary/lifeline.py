"""Runs a module for as long as the process at the other end of its standard input lives.

    python -P lifeline.py MODULE ARGUMENTS...

A pipe closes with the process that holds it, whatever ends that one, on every system.
"""

import os
import runpy
import signal
import sys
import threading
import time

_TIDYING_S = 5.0


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_TIDYING_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.dup(0),), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
