"""Run a study on the workers of a Dask scheduler."""
