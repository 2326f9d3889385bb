"""The private assistant: triage first, passages with their sources, nothing leaves the machine."""
