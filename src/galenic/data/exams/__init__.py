"""Readers of the user's own exams: many file formats and row layouts, converted to one layout.

`files` unpacks and parses, `shapes` finds question, options and answer in a row, `answers` decides
which option is meant, or refuses.
"""
