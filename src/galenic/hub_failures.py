"""What the libraries of the Hugging Face Hub raise when a download fails."""

from __future__ import annotations

import json

__all__ = ["hub_failures"]


def hub_failures() -> tuple[type[Exception], ...]:
    """Exceptions of a download that broke off, was refused, or brought something else.

    The HTTP library of the Hub's has changed twice, and not all of its errors are of the system
    (a connection that is reset in the middle is not), so its base exception is among them. A
    network that answers everything with a page to sign in at gives no JSON.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, json.JSONDecodeError, *HfHubHTTPError.__bases__)
