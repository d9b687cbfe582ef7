"""The stages of sparse autoencoders: one trains them, the next measures them on test rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.activations.extract import width_of
from harness.activations.layers import resolve
from harness.analyses.sparse_autoencoders.on_states import OnStates
from harness.errors import KeyFault, UsageError
from harness.maths.dictionaries import described
from harness.networks.sparse_autoencoder import Autoencoder, activations, decoded
from harness.networks.training_autoencoders import Schedule, train_autoencoders
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.store import Artifact, content_key, reading
from harness.subjects.planted_directions import planted_directions

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.scoring.score import SplitName

_TENSORS = "dictionaries.safetensors"


class Dictionaries(msgspec.Struct, frozen=True):
    """Trained autoencoders, and the map of states that they read."""

    shift: Tensor
    """The mean of the training rows' states, float32, (d_model,)."""
    scale: Tensor
    """What is multiplied then, so that the mean squared length is 1, float32, ()."""
    parameters: list[dict[str, Tensor]]
    """Of each, by name."""

    def read(self, states: Tensor) -> Tensor:
        """States (row, d_model) as autoencoders see them."""
        return (states - self.shift) * self.scale


class Trained(Stage[Dictionaries], frozen=True, kw_only=True):
    """Sparse autoencoders on the training rows' states of a condition at one layer, all of them together.

    What a killed run has trained lies beside the store's artifact, and the next run goes on from there, to the same bytes.
    """

    kind: ClassVar[str] = "sparse_autoencoder"
    led: ClassVar[bool] = True
    unit: ClassVar[str] = "steps"

    condition: str
    layer: int
    autoencoders: tuple[Autoencoder, ...]
    schedule: Schedule
    states: Stage[Any]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.condition, f"layer {self.layer}", content_key(self.autoencoders, self.schedule)[:8])

    @property
    def label(self) -> str:
        return f"{self.condition}, layer {self.layer}, {len(self.autoencoders)} of them"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.states,)

    def made_from(self) -> Mapping[str, str]:
        return {
            "autoencoders": content_key(self.autoencoders),
            "schedule": content_key(self.schedule),
            "layer": str(self.layer),
            "states": self.states.key_of(self.condition),  # type: ignore[attr-defined]
        }

    def make(self, run: Run, work: Work) -> Dictionaries:
        rows = self.rows(run, "train")
        if len(rows) < 2:
            raise UsageError(f"sparse_autoencoders: {self.condition} has {len(rows)} training rows; give it more")
        work.total(len(self.autoencoders) * self.schedule.steps)
        shift = rows.mean(0)
        length = (rows - shift).square().sum(1).mean().sqrt()
        scale = 1 / length.clamp(min=1e-30)
        underway = run.store.place(self.kind, f"{self.key}~underway")
        trained = train_autoencoders(self.autoencoders, (rows - shift) * scale, self.schedule, work.to, underway)
        work.counts["rows"] = len(rows)
        made = Dictionaries(shift, scale, trained)
        run.keep(self, made, work.took)
        shutil.rmtree(underway, ignore_errors=True)
        return made

    def rows(self, run: Run, part: SplitName) -> Tensor:
        """The states of one part of the rows, both members of a pair one after the other, float32, (row, d_model)."""
        return run.conditions.pairs(self.condition, part, (self.layer,)).states[0].flatten(0, 1).float()

    def save(self, made: Dictionaries, folder: Path) -> Mapping[str, Any]:
        from safetensors.torch import save_file

        tensors = {f"{at}.{name}": own for at, each in enumerate(made.parameters) for name, own in each.items()}
        tensors |= {"shift": made.shift, "scale": made.scale.reshape(1)}
        save_file({name: own.contiguous() for name, own in tensors.items()}, folder / _TENSORS)
        return {}

    def load(self, artifact: Artifact) -> Dictionaries:
        from safetensors.torch import load_file

        held = load_file(artifact / _TENSORS)
        parameters = [
            {name: held[f"{at}.{name}"] for name in one.layout().shapes} for at, one in enumerate(self.autoencoders)
        ]
        return Dictionaries(held["shift"], held["scale"][0], parameters)

    def cost(self, run: Run) -> Cost:
        first = self.autoencoders[0]
        # Two products forward and twice as much backward, two operations each.
        operations = 12 * first.width * first.dictionary * self.schedule.batch * self.schedule.steps
        tflops = operations * len(self.autoencoders) * 1e-12
        return Cost(
            tflops=round(tflops, 3),
            where="cpu",
            note=f"{len(self.autoencoders)} autoencoders of {first.dictionary:,} features, {self.schedule.steps:,} steps of {self.schedule.batch:,} "
            f"states, {tflops:,.2g} TFLOP",
        )


class Measured(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """What each autoencoder gives back of the test rows, by which features: a row for each."""

    kind: ClassVar[str] = "sparse_autoencoder_measures"

    trained: Trained

    @property
    def place(self) -> tuple[str, ...]:
        return self.trained.place

    @property
    def label(self) -> str:
        return self.trained.label

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.trained, self.trained.states)

    def made_from(self) -> Mapping[str, str]:
        return {"autoencoders": self.trained.key}

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl
        import torch

        trained, made = self.trained, run.get(self.trained)
        states = made.read(trained.rows(run, "test"))
        planted = planted_directions(run.conditions.subject(trained.condition))
        rows = []
        for one, own in zip(trained.autoencoders, made.parameters, strict=True):
            stacked = {name: tensor[None] for name, tensor in own.items()}
            with torch.no_grad():
                features = activations(one.variant, stacked, states[None], torch.tensor([one.sparsity]))
                back = decoded(stacked, features)[0]
            found = described(states, back, features[0], own["decoder"], planted)
            rows.append(
                {
                    "condition": trained.condition,
                    "layer": trained.layer,
                    "variant": one.variant,
                    "sparsity": one.sparsity,
                    "seed": one.seed,
                    **msgspec.structs.asdict(found),
                }
            )
        work.counts["rows"] = len(rows)
        return pl.DataFrame(rows, schema=_schema())

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"autoencoders": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {"autoencoders": _schema()})["autoencoders"]


def _schema() -> dict[str, Any]:
    import polars as pl

    from harness.maths.dictionaries import Described

    named = {"condition": pl.String(), "layer": pl.Int64(), "variant": pl.String(), "sparsity": pl.Float64()}
    return {**named, "seed": pl.Int64(), **dict.fromkeys(Described.__struct_fields__, pl.Float64())}


def stages(asked: OnStates, plan: Plan, key: str) -> Iterator[Stage[Any]]:
    """The training and what is measured of it; `key` is where the spec asks for it. Raises KeyFault for a condition or a layer that there is not."""
    if asked.condition not in plan.subjects:
        raise KeyFault(f"{key}.condition", f'no condition "{asked.condition}"; name one of {", ".join(plan.subjects)}')
    if plan.spec.condition(asked.condition).features is not None:
        raise KeyFault(
            f"{key}.condition", f"{asked.condition} reads features of an autoencoder itself; name a condition of states"
        )
    wanted, subject = plan.spec.condition(asked.condition).activations, plan.subjects[asked.condition]
    layers = resolve(wanted.layers, subject.layers, wanted.site_name, subject.only_layers)
    if not -len(layers) <= asked.layer < len(layers) if asked.layer < 0 else asked.layer not in layers:
        raise KeyFault(
            f"{key}.layer",
            f"layer {asked.layer} of {asked.condition} is not kept; kept are {', '.join(map(str, layers))}",
        )
    trained = Trained(
        condition=asked.condition,
        layer=layers[asked.layer] if asked.layer < 0 else asked.layer,
        autoencoders=asked.autoencoders(width_of(subject, wanted.site_name)),
        schedule=Schedule(steps=asked.steps, batch=asked.batch, learning_rate=asked.learning_rate),
        states=plan.of_condition("activations", asked.condition),
    )
    yield trained
    yield Measured(trained=trained)


def assembled(run: Run, stages: Sequence[Stage[Any]]) -> pl.DataFrame:
    """A row for each autoencoder of all stages that measure some."""
    import polars as pl

    frames = [run.get(stage) for stage in stages if isinstance(stage, Measured)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=_schema())
