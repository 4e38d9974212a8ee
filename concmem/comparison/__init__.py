"""Compare commands by the memory that they need: statistics over several runs."""
