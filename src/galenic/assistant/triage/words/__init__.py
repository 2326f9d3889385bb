"""Text processing for triage: tokens, phrases, numbers, measured values and ages."""
