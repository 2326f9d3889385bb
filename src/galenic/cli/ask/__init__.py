"""Commands for the person who asks: ask, chat, triage, index, search."""
