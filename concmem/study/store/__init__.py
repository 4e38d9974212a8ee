"""A study's directory: its files, how they are read and checked, and how two are merged."""
