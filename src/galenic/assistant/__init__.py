"""The private assistant: triage first, passages with their sources, nothing leaves the machine."""

DEFAULT_MODEL = "smollm2-135m"
"""Who answers when no model is named."""
