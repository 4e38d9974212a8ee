"""Control groups for a target: find a place, make them, remove them."""
