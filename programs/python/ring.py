"""N asyncio tasks in a ring that pass on one message. The message counts how often it was passed on."""

from __future__ import annotations

import asyncio
import time

import arguments

STOP = -1


async def hand_on(source: asyncio.Queue[int], target: asyncio.Queue[int]) -> None:
    """Pass on each message, and return after passing on the one that stops the ring."""
    passed = await source.get()
    while passed != STOP:
        await target.put(passed + 1)
        passed = await source.get()
    await target.put(STOP)


async def lead(source: asyncio.Queue[int], target: asyncio.Queue[int], duration_s: float) -> None:
    """Send the message, check the time each time it arrives, and return when the others have ended."""
    end = time.monotonic() + duration_s
    await target.put(1)
    passed = await source.get()
    while time.monotonic() < end:
        await target.put(passed + 1)
        passed = await source.get()
    print("passed", passed, flush=True)
    await target.put(STOP)
    await source.get()


async def run(count: int, duration_s: float) -> None:
    """Let the message go round `count` tasks for `duration_s` seconds, once at least."""
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(1) for _ in range(count)]
    tasks = [asyncio.create_task(hand_on(queues[i - 1], queues[i])) for i in range(1, count)]
    tasks.append(asyncio.create_task(lead(queues[-1], queues[0], duration_s)))
    print("started", count, flush=True)
    await asyncio.gather(*tasks)
    print("done", count)


if __name__ == "__main__":
    asyncio.run(run(*arguments.read("python-channel N [SECONDS=10]")))
