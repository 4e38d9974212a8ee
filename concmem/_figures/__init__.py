"""Compute figures and their errors from the sampler's records."""
