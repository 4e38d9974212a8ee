"""N asyncio tasks that sleep, in a group that waits for them."""

from __future__ import annotations

import asyncio

import arguments


async def run(count: int, sleep_s: float) -> None:
    """Start `count` tasks that sleep `sleep_s` seconds; leaving the group waits for all."""
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(asyncio.sleep(sleep_s))
        print("started", count, flush=True)
    print("done", count)


if __name__ == "__main__":
    asyncio.run(run(*arguments.read("python-taskgroup N [SLEEP_SECONDS=10]")))
