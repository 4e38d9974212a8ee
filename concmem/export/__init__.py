"""Write a timeline in formats of other programs."""
