"""N threads of the operating system that sleep."""

from __future__ import annotations

import os
import sys
import threading
import time

import arguments


def run(count: int, sleep_s: float) -> None:
    """Start `count` threads that sleep `sleep_s` seconds, and wait for all."""
    threads = [start(i, sleep_s) for i in range(1, count + 1)]
    print("started", count, flush=True)
    for thread in threads:
        thread.join()
    print("done", count)


def start(number: int, sleep_s: float) -> threading.Thread:
    """One thread; ends the program where there can be no more."""
    thread = threading.Thread(target=time.sleep, args=(sleep_s,))
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        print(f"could not start thread {number}: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # returning would wait for the threads that did start
    return thread


if __name__ == "__main__":
    run(*arguments.read("python-threads N [SLEEP_SECONDS=10]"))
