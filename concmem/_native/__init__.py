"""The extension, the memory that the sampler writes, and the launch of the sampler."""
