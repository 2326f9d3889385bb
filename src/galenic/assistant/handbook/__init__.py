"""The embedded handbook: short entries on health topics and medicines, and search among them.

The entries are written in this project's own words from public pages, and are not reviewed by a
clinician. `galenic.assistant.answer` builds answers from them. The record of which page was read
for which entry is in ``tools/handbook/log``, outside the package.
"""
