"""Rule-based medical triage: estimate from a free-text message how soon a person needs help."""
