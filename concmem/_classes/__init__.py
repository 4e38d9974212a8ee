"""Base classes: values that cost little to define, and values whose fields are computed on first use."""
