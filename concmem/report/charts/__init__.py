"""Draw the charts of a study and of a measurement."""
