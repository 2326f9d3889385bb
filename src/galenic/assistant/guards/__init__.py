"""Safety guards: detection of questions and sentences about four kinds of dangerous content.

The kinds are medicine doses, stopping a treatment, methods of self-harm, and false reassurance.
Three detectors are combined: phrase patterns (``phrases.yaml``), word patterns that describe the
structure of such sentences (for example a quantity near a medicine and a verb of taking), and a
linear classifier. Guards apply to passages as well as to text that a model wrote.
"""
