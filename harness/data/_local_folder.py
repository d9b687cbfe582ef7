"""A folder of data files that a stranger put beside a spec: nothing in it may lead out of it.

The library `datasets` follows links, and reads whatever files or addresses the folder's README.md names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.untrusted.files import is_irregular
from harness.untrusted.paths import is_below

_CARDS = ("README.md", ".huggingface.yaml")
_LARGEST_CARD = 1 << 20
_MOST_FILES = 5_000
"""Of a data set, its folders included; each is looked at several times."""
_LEADS_OUT = re.compile(r"://|::|^[/~\\]|(^|[/\\])\.\.([/\\]|$)")


def check_folder(folder: Path, name: str) -> None:
    """Raises DataError for a link, or a path in the folder's card, that leads out of the folder, and for more files than a set has."""
    for number, path in enumerate(folder.rglob("*")):
        if number == _MOST_FILES:
            raise DataError(f"data.source: {name} has more than {_MOST_FILES:,} files; join them into fewer")
        if is_irregular(path):
            raise DataError(
                f"data.source: {name}/{path.relative_to(folder)} is neither a file nor a folder; take it away"
            )
        if path.is_symlink() and not is_below(path, folder):
            raise DataError(
                f"data.source: {name}/{path.relative_to(folder)} is a link out of the folder; copy the file"
            )
    for card in _CARDS:
        for text in _texts(_header(folder / card, f"{name}/{card}")):
            if _LEADS_OUT.search(text):
                raise DataError(
                    f'data.source: {name}/{card} names "{text[:80]}", which is not in the folder; copy it there'
                )


def _header(path: Path, name: str) -> Any:
    """What a card says of the data files."""
    import yaml

    if not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_CARD:
        raise DataError(f"data.source: {name} is larger than {_LARGEST_CARD >> 20} MiB; take it away")
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".md":
        # As in huggingface_hub, which reads it for the library.
        found = re.match(r"(\s*---\n)([\S\s]*?)(\n---[ \t]*(\n|$))", text)
        text = found[2] if found else ""
    try:
        # Aliases could make a small file large; a card has no use for them.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise DataError(f"data.source: {name} has aliases (*) in it; write the values out")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"data.source: {name}: its header is no YAML: {str(error).splitlines()[0]}") from error
    return content.get("configs") if isinstance(content, dict) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
