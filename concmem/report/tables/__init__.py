"""The tables of a study, for terminals, Markdown and other programs."""
