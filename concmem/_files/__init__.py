"""Read files from outside after checks, and write files whole or not at all."""
