"""From what the sampler recorded to figures with their errors."""
