"""N asyncio tasks, each of which is a sleep and nothing around it."""

from __future__ import annotations

import asyncio

import arguments


async def run(count: int, sleep_s: float) -> None:
    """Start `count` tasks that sleep `sleep_s` seconds, and wait for all."""
    tasks = [asyncio.create_task(asyncio.sleep(sleep_s)) for _ in range(count)]
    print("started", count, flush=True)
    await asyncio.gather(*tasks)
    print("done", count)


if __name__ == "__main__":
    asyncio.run(run(*arguments.read("python-sleeps N [SLEEP_SECONDS=10]")))
