"""The article's claims, and how a study's figures judge them."""
