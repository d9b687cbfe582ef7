"""From a model's name in a spec to a folder on this machine: an asset, a .gguf file, a local folder, or the Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness import assets
from harness.assets import hub
from harness.assets.model_names import OF_BED, SHIPPED, leads_nowhere, place_of
from harness.errors import HarnessError, UsageError
from harness.models import gguf
from harness.spec import Model

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is (None if unknown)."""

_CONFIGURATION = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_PICKLES = ("*.bin", "*.pt", "*.pth")
_IGNORED = ("*/*", "consolidated*", "training_args.bin")


class ModelMissing(HarnessError):
    """A model that is not on this machine and may not be brought now."""


class Located(msgspec.Struct, frozen=True):
    """A model's folder."""

    folder: Path
    revision: str
    """Commit on the Hub, hash of an asset; empty for a local folder."""


def locate(model: Model, folder: Path, bring: bool, progress: Progress | None) -> Located:
    """The folder with config.json, tokenizer and weights.

    `folder` is the spec's, for relative paths. Raises UsageError for a name that leads nowhere, ModelMissing when it
    would have to be brought and `bring` is false, HarnessError when bringing it fails.
    """
    if why := leads_nowhere(model.id, folder):
        raise UsageError(f"model.id: {why}")
    if model.id in assets.CATALOG:
        return _asset(model.id, bring, progress)
    if model.id.startswith(OF_BED):
        return Located(SHIPPED / model.id.removeprefix(OF_BED), "")
    place = place_of(model.id, folder)
    if model.id.endswith(".gguf"):
        return Located(_converted(place, bring, progress), "")
    if place.is_dir():
        return Located(place, "")
    return _hub(model, bring)


def _asset(name: str, bring: bool, progress: Progress | None) -> Located:
    asset = assets.CATALOG[name]
    if not bring and not assets.is_here(name):
        raise ModelMissing(f"{name} is not here yet; `harness run` downloads it ({asset.size_mb:g} MB)")
    tell = None if progress is None else (lambda done, total: progress(f"downloading {name}", done, total))
    place = assets.bring(name, tell)
    files = sorted(place.glob("*.gguf"))
    return Located(_converted(files[0], bring, progress) if files else place, asset.sha256)


def _converted(file: Path, bring: bool, progress: Progress | None) -> Path:
    if not bring and not gguf.is_converted(file):
        raise ModelMissing(f"{file.name} is not converted yet; `harness run` does it once, in under a minute")
    return gguf.convert(file, progress)


def _hub(model: Model, bring: bool) -> Located:
    """The files at the top level of a repository on the Hub."""
    assets_of_models = ", ".join(name for name, asset in assets.CATALOG.items() if asset.kind == "model")
    repository = hub.Repository(
        name=model.id,
        revision=model.revision,
        unknown=f'no model "{model.id}" on the Hub (or it is private: set HF_TOKEN), no such folder, and no such '
        f"asset; assets: {assets_of_models}",
        instead="as model.id, or use an asset such as smollm2-135m-instruct",
        name_field="model.id: ",
        revision_field="model.revision: ",
    )
    wanted = [
        *_CONFIGURATION,
        *(["*.safetensors"] * (model.weights == "pretrained")),
        *(["*.py"] * model.trust_remote_code),
    ]
    try:
        found = hub.fetch(repository, wanted, ignored=_IGNORED, download=bring)
        if model.allow_pickle and model.weights == "pretrained" and not list(found.glob("*.safetensors")):
            found = hub.fetch(repository, [*wanted, *_PICKLES], ignored=_IGNORED, download=bring)
    except hub.NotHere as error:
        raise ModelMissing(f"{model.id} is not here yet; `harness run` downloads it from the Hub") from error
    return Located(found, found.name)
