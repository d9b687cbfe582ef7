"""The Hub: files of a repository, brought into the Hub's own cache, and its errors in our words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.errors import HarnessError, UsageError


class NotHere(HarnessError):
    """A repository that is not on this machine and may not be downloaded now."""


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository on the Hub, and the words of whoever needs it for what can go wrong."""

    name: str
    revision: str
    unknown: str
    """What to say where the Hub has none of that name."""
    instead: str
    """What to do where the Hub cannot be reached."""
    name_field: str = ""
    """Where the name stands in the spec, such as `model.id: `."""
    revision_field: str = ""


def fetch(repository: Repository, wanted: Sequence[str], *, ignored: Sequence[str] = (), download: bool = True) -> Path:
    """The folder with the files of the repository that match a pattern; what is here already is not downloaded again.

    Raises UsageError for a name or a revision that the Hub does not have, NotHere where it would have to be downloaded and
    `download` is false, HarnessError where the Hub cannot be reached or asks for consent.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = repository.name
    try:
        found = snapshot_download(
            name,
            revision=repository.revision,
            allow_patterns=list(wanted),
            ignore_patterns=list(ignored) or None,
            local_files_only=constants.HF_HUB_OFFLINE or not download,
        )
    except GatedRepoError as error:
        raise HarnessError(
            f"{name}: its authors ask for consent first; accept on its page, then set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise UsageError(
            f'{repository.revision_field}{name} has no revision "{repository.revision}" on the Hub'
        ) from error
    except RepositoryNotFoundError as error:
        raise UsageError(f"{repository.name_field}{repository.unknown}") from error
    except HFValidationError as error:
        raise UsageError(f'{repository.name_field}"{name}" is no name of a repository on the Hub: {error}') from error
    except LocalEntryNotFoundError as error:
        if not download:
            raise NotHere(f"{name} is not here yet") from error
        raise HarnessError(_unreachable(repository)) from error
    except (HfHubHTTPError, OSError) as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise HarnessError(f"{_unreachable(repository)} ({type(error).__name__}: {said})") from error
    return Path(found)


def _unreachable(repository: Repository) -> str:
    return (
        f"{repository.name}: no such folder, not in the local cache, and the Hub cannot be reached (or HF_HUB_OFFLINE is set); download it "
        f"where there is a network and give its folder {repository.instead}"
    )
