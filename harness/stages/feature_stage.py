"""The states of a condition seen through a sparse autoencoder: its features at one layer, in the place of the states.

The autoencoder is one that the analysis `sparse_autoencoders` trains, in a stage of its own and on training rows alone, or one that was published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.activations.extract import Extracted, width_of
from harness.activations.layers import resolve
from harness.analyses.sparse_autoencoders import SparseAutoencoders
from harness.analyses.sparse_autoencoders.autoencoder_stages import Trained, stages
from harness.code.code_version import code_of
from harness.contracts.subject import Subject
from harness.errors import DataError, KeyFault, UsageError, did_you_mean
from harness.execution.network_stage import Networks
from harness.models.published_autoencoder import PublishedAutoencoder, describe_autoencoder
from harness.networks.sparse_autoencoder import Autoencoder, activations
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.spec import Condition, FeaturesOf, Spec
from harness.stages.prompt_stage import Prompts
from harness.stages.states_stage import States, states_read
from harness.stages.training_stage import Training
from harness.store import Store, content_key
from harness.subjects.feature_subject import Features

if TYPE_CHECKING:
    from torch import Tensor

    from harness.analyses.sparse_autoencoders.autoencoder_stages import Dictionaries
    from harness.analyses.sparse_autoencoders.on_states import OnStates
    from harness.contracts import Pairs, PromptTable
    from harness.execution.record import Work
    from harness.execution.run import Run

AT_ONCE = 1024
"""Rows that are encoded together."""


class Encoded(Extracted):
    """States of a prompt table as features."""

    def __init__(self, states: Extracted, encode: Callable[[Tensor], Tensor], name: str):
        self._states_of_network = states
        self._encode = encode
        self._name = name
        self.notes, self.remarks, self.done = states.notes, (), states.done

    def key(self, table: PromptTable) -> str:
        return content_key(self._name, self._states_of_network.key(table))

    def noise(self, table: PromptTable) -> Mapping[int, float]:
        """Nothing: the floor is that of states, and a feature opens or does not."""
        return {}

    def pairs(self, table: PromptTable, numbers: Sequence[int] | np.ndarray, layers: Sequence[int]) -> Pairs:
        import torch

        pairs = self._states_of_network.pairs(table, numbers, layers)
        rows = pairs.states[0].flatten(0, 1).float()
        with torch.no_grad():
            found = [self._encode(some) for some in rows.split(AT_ONCE)]
        features = torch.cat(found) if found else self._encode(rows)
        return msgspec.structs.replace(pairs, states=features.reshape(1, *pairs.states.shape[1:3], -1))


class FeatureStates(States, frozen=True, kw_only=True):
    """The features of one condition's rows. What is stored are the states and the autoencoder; features are made of both where they are asked for."""

    kind: ClassVar[str] = "features"
    unit: ClassVar[str] = ""

    states: States
    """Of the network."""
    asked: FeaturesOf
    autoencoder: Trained | PublishedAutoencoder
    number: int = 0
    """Which of those that were trained together."""

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        trained = (self.autoencoder,) if isinstance(self.autoencoder, Trained) else ()
        return (self.states, *trained)

    def made_from(self) -> Mapping[str, str]:
        name, own = self.place[0], self.autoencoder
        if isinstance(own, Trained):
            read = {"autoencoders": own.key, "autoencoder": str(self.number)}
        else:
            read = {"autoencoder": own.identity, "layer": str(self.asked.layer)}
        return {**read, "states": self.states.key_of(name)}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (type(self).make, type(self).save, Encoded)

    @property
    def uses(self) -> Sequence[str]:
        return self.states.uses

    def key_of(self, name: str) -> str:
        return content_key(self.made_from(), code_of(*self.runs))

    def recall(self, store: Store) -> Extracted | None:
        return None

    def before(self, run: Run) -> None:
        for stage in self.inputs:
            run.prepare(stage)

    def already(self, run: Run) -> str:
        return ""

    def make(self, run: Run, work: Work) -> Extracted:
        own = self.autoencoder
        if not isinstance(own, Trained):
            encode: Callable[[Tensor], Tensor] = own.encoded
        else:
            self._check_apart(run, own.condition)
            encode = encoder_of(own.autoencoders[self.number], run.get(own), self.number)
        return Encoded(run.get(self.states), encode, self.key)

    def _check_apart(self, run: Run, learnt: str) -> None:
        """Raises DataError where the autoencoder was trained on rows that are tested here, or that choose a layer."""
        name, of = self.place[0], run.conditions.labels
        rest = np.concatenate([of(name, part).group for part in ("validation", "test")])
        if shared := len(np.intersect1d(of(learnt, "train").group, rest)):
            raise DataError(
                f"conditions.{name}.features: {shared} groups of rows are training rows of {learnt}, on which its autoencoders are trained, and tested in "
                f"{name}; give both conditions the same data.seed and data.split, and both a data.where ({{}} keeps all rows)"
            )

    def save(self, made: Extracted, folder: Path) -> Mapping[str, Any]:
        return {"notes": list(made.notes)}

    def cost(self, run: Run) -> Cost:
        rows = run.get(self.prompts[0]).frame.height
        return Cost(rows=rows, where="cpu", note=self.subject.about.rpartition("; ")[2])


def encoder_of(one: Autoencoder, made: Dictionaries, number: int) -> Callable[[Tensor], Tensor]:
    """The map from states (row, d_model) to features (row, feature) of one of some trained autoencoders."""
    import torch

    stacked = {name: tensor[None] for name, tensor in made.parameters[number].items()}
    sparsity = torch.tensor([one.sparsity])
    return lambda states: activations(one.variant, stacked, made.read(states)[None], sparsity)[0]


def features_of(spec: Spec, subjects: Mapping[str, Subject], folder: Path) -> dict[str, Subject]:
    """The subjects of the conditions that read features. Raises KeyFault for an autoencoder that there is not, or that does not fit."""
    return {one.name: _subject(one, spec, subjects, folder) for one in spec.conditions if one.features is not None}


def states_asked(
    plan: Plan, prompts: Mapping[str, Prompts], taught: Mapping[str, Training], networks: Mapping[str, Networks]
) -> dict[str, States]:
    """The stage of each condition's states, in the plan; of conditions that read features that of these, and their subjects then say so."""
    states = {name: plan.add(one) for one in states_read(plan, prompts, taught, networks) for name in one.place}
    plan.subjects |= features_of(plan.spec, plan.subjects, plan.folder)
    return states | {one.place[0]: plan.add(one) for one in _features_asked(plan, states)}


def _features_asked(plan: Plan, states: Mapping[str, States]) -> Iterator[FeatureStates]:
    """A stage for each condition that reads features."""
    for condition in plan.spec.conditions:
        asked = condition.features
        if asked is None:
            continue
        own: Trained | PublishedAutoencoder
        number = 0
        if asked.published is not None:
            own = describe_autoencoder(asked.published, plan.folder)
        else:
            block, key = _block(asked, plan.spec, f"conditions.{condition.name}.features")
            own = plan.add(next(stage for stage in stages(block, plan, key) if isinstance(stage, Trained)))
            number = next(at for at, other in enumerate(own.autoencoders) if _is(asked, other))
        raw = states[condition.name]
        yield FeatureStates(
            conditions=(condition,), subject=plan.subjects[condition.name], prompts=(raw.prompts[raw.place.index(condition.name)],),
            training=None, states=raw, asked=asked, autoencoder=own, number=number,
        )  # fmt: skip


def _subject(condition: Condition, spec: Spec, subjects: Mapping[str, Subject], folder: Path) -> Features:
    asked, key = condition.features, f"conditions.{condition.name}.features"
    assert asked is not None, "a condition that reads features"
    network, wanted = subjects[condition.name], condition.activations
    if condition.plant is not None and condition.plant.strength:
        raise KeyFault(
            f"conditions.{condition.name}.plant",
            "what is planted in states is not in the features of an autoencoder; take one of both out",
        )
    if wanted.site_name != "residual":
        raise KeyFault(
            f"conditions.{condition.name}.activations.site",
            "features are those of the residual stream; leave `site` out",
        )
    kept = resolve(wanted.layers, network.layers, "residual", network.only_layers)
    width = width_of(network, "residual")
    if asked.published is not None:
        try:
            found = describe_autoencoder(asked.published, folder)
        except UsageError as error:
            raise KeyFault(f"{key}.published", str(error)) from error
        assert asked.layer is not None, "published ones are asked for with a layer"
        words, layer, fits, dictionary = (
            f"the published autoencoder {asked.published}",
            asked.layer,
            found.width,
            found.dictionary,
        )
    else:
        if spec.repeats > 1:
            raise KeyFault(
                key,
                "with `repeats` there are no autoencoders on the other draws; take `repeats` out, or name a published one",
            )
        block, _ = _block(asked, spec, key)
        learnt = spec.condition(block.condition)
        if learnt.features is not None:
            raise KeyFault(
                key,
                f"the autoencoders are trained on {block.condition}, which reads features itself; train them on states",
            )
        of = subjects[block.condition]
        layers = resolve(learnt.activations.layers, of.layers, learnt.activations.site_name, of.only_layers)
        layer = layers[block.layer] if block.layer < 0 else block.layer
        dictionary = block.dictionary
        fits = width_of(of, learnt.activations.site_name)
        words = f"a {asked.variant} autoencoder of sparsity {asked.sparsity:g}, trained on {block.condition} (seed {asked.seed})"
    if layer not in kept:
        raise KeyFault(
            key, f"the autoencoder reads layer {layer}, which is not kept; kept are {', '.join(map(str, kept))}"
        )
    if fits != width:
        raise KeyFault(
            key,
            f"the autoencoder reads states of width {fits}, and those of {network.name} are of width {width}; name one of this network",
        )
    return Features(network, words, layer, dictionary)


def _block(asked: FeaturesOf, spec: Spec, key: str) -> tuple[OnStates, str]:
    """The block of the analysis that trains the autoencoder and its key. Raises KeyFault where there is none, or several."""
    known = [one.name for one in spec.conditions]
    if asked.trained_on is not None and asked.trained_on not in known:
        raise KeyFault(f"{key}.trained_on", f'no condition "{asked.trained_on}"{did_you_mean(asked.trained_on, known)}')
    found = [
        (block, f"analyses[{number}].on[{at}]")
        for number, analysis in enumerate(spec.analyses)
        if isinstance(analysis, SparseAutoencoders)
        for at, block in enumerate(analysis.on)
        if asked.trained_on in (None, block.condition)
        and asked.layer in (None, block.layer)
        and any(_is(asked, one) for one in block.autoencoders(1))
    ]
    if not found:
        raise KeyFault(
            key,
            f"no {asked.variant} autoencoder of sparsity {asked.sparsity:g} and seed {asked.seed} is trained"
            f"{f' on {asked.trained_on}' if asked.trained_on else ''}; ask for it in analyses: [{{kind: sparse_autoencoders, on: [{{{asked.variant}: [{asked.sparsity:g}]}}]}}]",
        )
    if len(found) > 1:
        raise KeyFault(key, f"{len(found)} blocks train such autoencoders; say which by `trained_on` and `layer`")
    return found[0]


def _is(asked: FeaturesOf, one: Autoencoder) -> bool:
    return (one.variant, one.sparsity, one.seed) == (asked.variant, asked.sparsity, asked.seed)
