"""Read files from outside with checks, and write files completely or not at all."""
