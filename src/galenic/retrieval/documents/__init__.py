"""Documents as passages: one file for each kind of document."""
