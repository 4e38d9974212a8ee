"""The directory of a study: read, check, write and merge its files."""
