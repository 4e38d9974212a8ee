"""Write a timeline in the formats of other programs."""
