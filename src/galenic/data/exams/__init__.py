"""Exams of one's own: files of many formats and row shapes, read into the one layout of `rows`.

`files` unpacks and parses, `shapes` finds question, options and answer in a row, `answers` decides
which option is meant, or refuses.
"""
