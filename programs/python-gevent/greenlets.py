"""N gevent greenlets that sleep."""

from __future__ import annotations

import sys

import gevent


def run(count: int, sleep_s: float) -> None:
    """Start `count` greenlets that sleep `sleep_s` seconds, and wait for all."""
    greenlets = [gevent.spawn(gevent.sleep, sleep_s) for _ in range(count)]
    gevent.sleep(0)  # back when all have begun, between which the loop looks at its timers
    print("started", count, flush=True)
    gevent.joinall(greenlets)
    print("done", count)


def main(arguments: list[str]) -> int:
    """Read ``N [SLEEP_SECONDS=10]``; 2 where that cannot be read."""
    try:
        if not 1 <= len(arguments) <= 2:
            raise ValueError(arguments)
        count = int(arguments[0])
        sleep_s = float(arguments[1]) if len(arguments) == 2 else 10.0
        if count < 1 or not 0 <= sleep_s < 1e9:
            raise ValueError(arguments)
    except ValueError:
        print("usage: python-gevent N [SLEEP_SECONDS=10]", file=sys.stderr)
        return 2
    run(count, sleep_s)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
