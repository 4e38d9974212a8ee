"""Find a place for the control groups of a target, make them, and remove them."""
