"""Results of a study, computed from its runs."""
