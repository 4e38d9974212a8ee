"""What all runs of a study say together."""
