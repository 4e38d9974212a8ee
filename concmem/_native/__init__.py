"""The C extension, the launch of the sampler, and the memory that the sampler writes."""
