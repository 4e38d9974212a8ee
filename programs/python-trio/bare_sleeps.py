"""N trio tasks, each of which is a sleep and nothing around it."""

from __future__ import annotations

import arguments
import trio


async def run(count: int, sleep_s: float) -> None:
    """Start `count` tasks that sleep `sleep_s` seconds, and wait for all."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.sleep, sleep_s)
        print("started", count, flush=True)
    print("done", count)


if __name__ == "__main__":
    trio.run(run, *arguments.read("python-trio-sleeps N [SLEEP_SECONDS=10]"))
