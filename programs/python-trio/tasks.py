"""N trio tasks that sleep."""

from __future__ import annotations

import arguments
import trio

COUNT, SLEEP_S = arguments.read("python-trio N [SLEEP_SECONDS=10]")


async def sleeper() -> None:
    """Sleep; how long is no variable of the coroutine, as a constant is none."""
    await trio.sleep(SLEEP_S)


async def run() -> None:
    """Start all tasks; leaving the nursery waits for them."""
    async with trio.open_nursery() as nursery:
        for _ in range(COUNT):
            nursery.start_soon(sleeper)
        print("started", COUNT, flush=True)
    print("done", COUNT)


trio.run(run)
