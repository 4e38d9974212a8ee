"""N asyncio tasks on uvloop's event loop, each of which is a sleep and nothing around it."""

from __future__ import annotations

import asyncio

import arguments
import uvloop


async def run(count: int, sleep_s: float) -> None:
    """Start `count` tasks that sleep `sleep_s` seconds, and wait for all."""
    tasks = [asyncio.create_task(asyncio.sleep(sleep_s)) for _ in range(count)]
    print("started", count, flush=True)
    await asyncio.gather(*tasks)
    print("done", count)


if __name__ == "__main__":
    uvloop.run(run(*arguments.read("python-uvloop-sleeps N [SLEEP_SECONDS=10]")))
