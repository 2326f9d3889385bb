"""Addresses in the package's metadata, all from one constant."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ADDRESS = ""
"""Where the repository lies, without a slash at the end. Empty: no addresses are given anywhere."""


class CustomMetadataHook(MetadataHookInterface):
    """Adds ``[project.urls]`` once there is an address."""

    def update(self, metadata: dict[str, Any]) -> None:
        if ADDRESS:
            metadata["urls"] = urls(ADDRESS)


def urls(address: str) -> dict[str, str]:
    return {
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Documentation": f"{address}/tree/main/docs",
    }
