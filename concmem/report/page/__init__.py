"""Make the page of a study: one HTML file."""
