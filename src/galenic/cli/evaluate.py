"""Placeholder until the command lands."""

HELP = ""
EXAMPLES = ""


def command() -> None:
    """Not yet."""
