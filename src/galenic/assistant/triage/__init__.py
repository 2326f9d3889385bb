"""How soon help is needed: rules, scope of words, tiers. No search, no model writes here."""
