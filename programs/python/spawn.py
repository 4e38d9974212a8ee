"""N asyncio tasks that end at once."""

from __future__ import annotations

import asyncio

import arguments


async def spawn(count: int) -> None:
    """Start `count` tasks, and return when the last has ended."""
    alive = count
    all_ended = asyncio.Event()

    async def task() -> None:
        nonlocal alive
        alive -= 1
        if alive == 0:
            all_ended.set()

    for _ in range(count):
        # The loop holds it until it has run.
        asyncio.create_task(task())
    await all_ended.wait()


async def run(count: int, idle_s: float) -> None:
    """Start the tasks, and stay `idle_s` seconds when they have ended."""
    await asyncio.sleep(0.1)
    print("ready", count, flush=True)
    await spawn(count)
    print("ended", count, flush=True)
    await asyncio.sleep(idle_s)
    print("done", count)


if __name__ == "__main__":
    asyncio.run(run(*arguments.read("python-spawn N [IDLE_SECONDS=10]")))
