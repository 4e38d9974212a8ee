"""Run the programs of a study on this machine."""
