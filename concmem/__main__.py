"""The ``concmem`` command, and ``python -m concmem``."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command. Ctrl-C during the import ends it with code 130 and without a traceback."""
    try:
        gc.disable()  # neither the imports nor the quick run below create garbage that only the collector frees
        try:
            from concmem.cli._quick import run_quickly

            run_quickly(sys.argv[1:])
        finally:
            gc.enable()
        from concmem.cli._commands import main as command

        command(prog_name="concmem")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
