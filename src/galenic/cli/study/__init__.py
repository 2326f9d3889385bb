"""Commands for studies: study, status."""
