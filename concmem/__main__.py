"""``python -m concmem`` is the ``concmem`` command."""

from concmem.cli import main

if __name__ == "__main__":
    main(prog_name="concmem")
