"""Names of models in a spec: which of them lead somewhere, as far as this machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

from harness.assets.catalog import CATALOG
from harness.errors import did_you_mean
from harness.untrusted.files import is_hollow
from harness.untrusted.paths import own_path

OF_BED = "bed:"
"""Before the name of a network that comes with a test bed. No folder's path and no name on the Hub begins so by chance."""

SHIPPED = Path(__file__).parents[1] / "beds" / "weights"
"""Folder of the networks that come with the test beds, by name."""


def leads_nowhere(name: str, folder: Path) -> str:
    """Why a model's name leads nowhere, with what would; empty where it may lead somewhere, which of a name on the Hub only the Hub knows.

    `folder` is the spec's. Nothing is brought, and no network asked.
    """
    if name in CATALOG:
        kind = CATALOG[name].kind
        return "" if kind == "model" else f'the asset "{name}" is a {kind}, not a model'
    if name.startswith(OF_BED):
        known, wanted = shipped_networks(), name.removeprefix(OF_BED)
        return "" if wanted in known else f"no network {wanted} comes with a test bed{did_you_mean(wanted, known)}"
    place = place_of(name, folder)
    if name.endswith(".gguf"):
        if not place.is_file():
            return f"no file {place}"
        hollow = f"{place} is a file of holes, with nothing written in most of it; get it again"
        return hollow if is_hollow(place) else ""
    if place.is_dir():
        return ""
    if name.startswith((".", "/", "~")):
        return f"no folder {place}"
    models = [asset.name for asset in CATALOG.values() if asset.kind == "model"]
    near = hint if "did you mean" in (hint := did_you_mean(name, models)) else ""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return f"no folder {place}, and a name on the Hub is OWNER/NAME{near}"
    return f'no model "{name}"{near}' if near and "/" not in name else ""


def place_of(name: str, folder: Path) -> Path:
    """Where a folder or a file of that name would be."""
    place = own_path(name)
    return place if place.is_absolute() else folder / place


def shipped_networks() -> list[str]:
    """Names of the whole networks that come with the test beds."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
