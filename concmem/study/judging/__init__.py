"""The article's claims, and what a study's figures say about them."""
