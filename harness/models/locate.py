"""From a model's name in a spec to a folder on this machine: an asset, a .gguf file, a local folder, or the Hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness import assets
from harness.errors import HarnessError, UsageError, did_you_mean
from harness.models import gguf
from harness.models.adapter import SHIPPED
from harness.spec import Model

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is (None if unknown)."""

_CONFIGURATION = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_PICKLES = ("*.bin", "*.pt", "*.pth")

OF_BED = "bed:"
"""Before the name of a network that comes with a test bed. No folder's path and no name on the Hub begins so by chance."""


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
    if model.id in assets.CATALOG:
        return _asset(model.id, bring, progress)
    if model.id.startswith(OF_BED):
        return _of_bed(model.id)
    place = Path(model.id).expanduser()
    place = place if place.is_absolute() else folder / place
    if model.id.endswith(".gguf"):
        if not place.is_file():
            raise UsageError(f"model.id: no file {place}")
        return Located(_converted(place, bring, progress), "")
    if place.is_dir():
        return Located(place, "")
    if model.id.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.id):
        raise UsageError(f"model.id: no folder {place}")
    if "/" not in model.id:
        models = [asset.name for asset in assets.CATALOG.values() if asset.kind == "model"]
        if hint := did_you_mean(model.id, models):
            known = hint if "did you mean" in hint else ""
            if known:
                raise UsageError(f'model.id: no model "{model.id}"{known}')
    return _hub(model, bring)


def shipped_networks() -> list[str]:
    """Names of the whole networks that come with the test beds."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def _of_bed(name: str) -> Located:
    known = shipped_networks()
    wanted = name.removeprefix(OF_BED)
    if wanted not in known:
        raise UsageError(f"model.id: no network {wanted} comes with a test bed{did_you_mean(wanted, known)}")
    return Located(SHIPPED / wanted, "")


def _asset(name: str, bring: bool, progress: Progress | None) -> Located:
    asset = assets.CATALOG[name]
    if asset.kind != "model":
        raise UsageError(f'model.id: the asset "{name}" is a {asset.kind}, not a model')
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
    wanted: tuple[str, ...] = _CONFIGURATION
    if model.weights == "pretrained":
        wanted = (*wanted, "*.safetensors")
    found = _snapshot(model, wanted, bring)
    if model.allow_pickle and model.weights == "pretrained" and not list(found.glob("*.safetensors")):
        found = _snapshot(model, (*wanted, *_PICKLES), bring)
    return Located(found, found.name)


def _snapshot(model: Model, wanted: tuple[str, ...], bring: bool) -> Path:
    """A repository's files at its top level; what is here already is not asked for again when offline."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    offline = constants.HF_HUB_OFFLINE or not bring
    patterns = list(wanted)
    if model.trust_remote_code:
        patterns.append("*.py")
    try:
        found = snapshot_download(
            model.id,
            revision=model.revision,
            allow_patterns=patterns,
            ignore_patterns=["*/*", "consolidated*", "training_args.bin"],
            local_files_only=offline,
        )
    except GatedRepoError as error:
        raise HarnessError(
            f"{model.id}: its authors ask for consent first; accept on its page, then set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise UsageError(f'model.revision: {model.id} has no revision "{model.revision}"') from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f'model.id: no model "{model.id}" on the Hub (or it is private: set HF_TOKEN), no such folder, and no such '
            f"asset; assets: {', '.join(name for name, asset in assets.CATALOG.items() if asset.kind == 'model')}"
        ) from error
    except HFValidationError as error:
        raise UsageError(f'model.id: "{model.id}" is no name of a model on the Hub: {error}') from error
    except LocalEntryNotFoundError as error:
        if not bring:
            raise ModelMissing(f"{model.id} is not here yet; `harness run` downloads it from the Hub") from error
        raise HarnessError(_unreachable(model)) from error
    except (HfHubHTTPError, OSError) as error:
        raise HarnessError(
            f"{_unreachable(model)} ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
        ) from error
    return Path(found)


def _unreachable(model: Model) -> str:
    return (
        f"{model.id}: not in the local cache, and the Hub cannot be reached (or HF_HUB_OFFLINE is set); download it where "
        "there is a network and give its folder as model.id, or use an asset such as smollm2-135m-instruct"
    )
