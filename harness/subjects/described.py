"""From a condition to its subject, found and described. No weights are loaded."""

from __future__ import annotations

from pathlib import Path
from posixpath import normpath

import msgspec

from harness.assets.bed_folder import find_bed
from harness.contracts.subject import Subject
from harness.imported.states_card import open_folder
from harness.models.card import ModelCard, Progress, describe
from harness.networks.trained_bed import TrainedBed
from harness.spec import Condition, Model, StatesFolder
from harness.subjects.formula import Formula
from harness.subjects.imported import ImportedStates
from harness.subjects.language_model import LanguageModel
from harness.subjects.small_networks import SmallNetworks


def subject_of(condition: Condition, folder: Path, bring: bool = True, progress: Progress | None = None) -> Subject:
    """The subject of a condition. `folder` is the spec's, for relative paths; with `bring`, what is not here is downloaded.

    Raises UsageError for a model that cannot be found, or cannot be used as it is.
    """
    model = condition.model
    if isinstance(model, StatesFolder):
        return ImportedStates(open_folder(model.states, folder))
    if not isinstance(model, Model):
        return SmallNetworks(model) if isinstance(model, TrainedBed) else Formula(model)
    bed = condition.bed
    if bed is None:
        return LanguageModel(describe(model, folder, bring=bring, progress=progress))
    if bed.revision and bring:
        # Until here only its card was needed.
        find_bed(bed.name, bed.revision, folder, whole=True, pickles=model.allow_pickle, code=model.trust_remote_code)
    card = describe(model, Path(bed.folder), bring=bring, progress=progress)
    return LanguageModel(_named_after(card, model, bed.name, Path(bed.folder)), bed.name)


def _named_after(card: ModelCard, model: Model, bed: str, folder: Path) -> ModelCard:
    """Where the model lies in the bed's folder, it is named in words that are the same on every machine, and say whose it is."""
    if not (folder / model.id).exists():
        return card
    return msgspec.structs.replace(card, name=card.name.replace(model.id, normpath(f"{bed}/{model.id}"), 1))
