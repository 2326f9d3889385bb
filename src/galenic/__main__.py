"""Where the ``galenic`` command and ``python -m galenic`` begin."""

from __future__ import annotations

import sys

__all__ = ["main"]

STOPPED = 130


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback also while it is imported."""
    try:
        from galenic.cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
