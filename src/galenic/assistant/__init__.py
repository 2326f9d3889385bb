"""Private question answering: triage first, then cited passages, all on the user's machine."""

DEFAULT_MODEL = "smollm2-135m"
"""Name of the language model that is used if the user names none."""
