"""The embedded handbook: entries, their rules, and finding the one that is meant.

Written in our own words from public pages; no clinician has reviewed it. What is said from it is in
`galenic.assistant.answer`; the log of look-ups is in ``tools/handbook/log``, outside the package.
"""
