"""Models in the form that other programs take: one file a program."""
