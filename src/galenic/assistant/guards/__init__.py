"""What is never said or answered, whoever says it: doses, stopping, methods, false reassurance.

Phrases that can be read and criticised (``phrases.yaml``), and the structure of such sentences: a
quantity, a medicine and an act; a verb of stopping and a treatment; a denied need and care.
"""
