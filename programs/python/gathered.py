"""N coroutines that sleep, gathered."""

from __future__ import annotations

import asyncio

import arguments


async def run(count: int, sleep_s: float) -> None:
    """Gather `count` coroutines that sleep `sleep_s` seconds."""
    all_of_them = asyncio.gather(*(asyncio.sleep(sleep_s) for _ in range(count)))
    print("started", count, flush=True)
    await all_of_them
    print("done", count)


if __name__ == "__main__":
    asyncio.run(run(*arguments.read("python-gather N [SLEEP_SECONDS=10]")))
