"""N asyncio tasks that sleep, on uvloop's event loop."""

from __future__ import annotations

import asyncio

import arguments
import uvloop

COUNT, SLEEP_S = arguments.read("python-uvloop N [SLEEP_SECONDS=10]")


async def sleeper() -> None:
    """Sleep; how long is no variable of the coroutine, as a constant is none."""
    await asyncio.sleep(SLEEP_S)


async def run() -> None:
    """Start all tasks, and wait for them."""
    tasks = []
    for _ in range(COUNT):
        task = asyncio.create_task(sleeper())
        tasks.append(task)
    print("started", COUNT, flush=True)
    await asyncio.gather(*tasks)
    print("done", COUNT)


uvloop.run(run())
