"""The stage of patching: which rows are forwarded, and what came of it. Every batch is stored when it is done, so that a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.activations.batches import token_budget
from harness.activations.forwarding import ways
from harness.analyses.patching.patched_rows import Chosen, chosen_rows
from harness.analyses.patching.places import ALL, Place, places_of
from harness.contracts.patched import Patched, Said
from harness.errors import DataError, KeyFault, NumericalError
from harness.machine import stopping
from harness.models.precision import device
from harness.plan.stage import Cost, Stage
from harness.spec import Spec
from harness.spec.plain import plain
from harness.store import Artifact, Store, content_key, reading
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.analyses.patching import Direction, Patching, Receiver
    from harness.analyses.patching.patched_forward import Answered, Batch, PatchedForward, Ready, Way
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.models.card import ModelCard

_PARTS = "parts"
_FIELDS = ("right", "wrong", "normaliser", "above")
TOLERANCE = {"float32": 5e-3, "float16": 0.25, "bfloat16": 1.0}
"""Largest difference of log-odds that counts as rounding, in nats, by dtype; as for interventions."""


class Results(msgspec.Struct, frozen=True):
    """What was said, in numbers of (place, row): the base and the source stand first."""

    said: dict[str, np.ndarray]
    """By field of `Answered`, (place + 2, row)."""
    foretold: np.ndarray | None
    """(place, row)."""
    places: tuple[Place, ...]
    way: str


class PatchedRows(Stage[Results], frozen=True, kw_only=True):
    """What a network says of rows with states of others at each place."""

    kind: ClassVar[str] = "patching"
    unit: ClassVar[str] = "tokens"
    led: ClassVar[bool] = True

    spec: Spec
    patching: Patching
    prompts: tuple[Stage[Any], Stage[Any]]
    """Of the clean and of the corrupted condition."""
    network: str
    """A key of the network and how it is read."""
    by: Direction
    into: Receiver | None = None
    """The head that alone hears what is put into others; None where everything does."""

    @property
    def place(self) -> tuple[str, ...]:
        heard = (f"into head {self.into.head} of block {self.into.block}",) if self.into else ()
        return self.patching.clean, self.patching.corrupted, self.by, *heard

    @property
    def label(self) -> str:
        return f"{self.patching.clean} · {', '.join(self.place[1:])}"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.prompts

    def made_from(self) -> Mapping[str, str]:
        options = {
            name: value for name, value in plain(self.patching).items() if name not in ("clean", "corrupted", "kind")
        }
        # Metrics are made of the same numbers but for those of the whole vocabulary.
        options["metrics"], options["by"] = self.wide, self.by
        options.pop("paths", None)
        if self.into:
            options |= {"into": [self.into.block, self.into.head], "sites": None, "attribution": None}
        return {
            "clean prompts": self.prompts[0].key,
            "corrupted prompts": self.prompts[1].key,
            "network": self.network,
            "options": content_key(options),
        }

    @property
    def wide(self) -> bool:
        """Whether the whole vocabulary is looked at."""
        return bool({*self.patching.metrics} & {"probability", "rank"})

    def places(self, card: ModelCard, chosen: Chosen) -> tuple[Place, ...]:
        every, each = (
            range(card.layers) if self.patching.layers is None else sorted({*self.patching.layers}),
            self.patching.tokens == "each",
        )
        if self.into is None:
            return places_of(card.shape, tuple(dict.fromkeys(self.patching.sites)), every, chosen.reach, each)
        return places_of(card.shape, ("head",), [one for one in every if one < self.into.block], chosen.reach, each)

    def chosen(self, run: Run) -> Chosen:
        """The rows that are forwarded."""
        try:
            return chosen_rows(run.conditions, self.patching, self.by)
        except DataError as error:
            raise KeyFault(f"{where_of(self.spec, self.patching)}.corrupted", str(error)) from error

    @property
    def attribution(self) -> bool:
        return self.patching.attribution and self.into is None

    def ways(self, card: ModelCard, chosen: Chosen) -> tuple[Way, ...]:
        """Ways to try, fastest first."""
        reach = max(len(one.base) for one in chosen.twins)
        seen = card.shape.window is None or reach <= card.shape.window
        return ("branched", "whole") if self.into is None and seen and "packed" in ways(card) else ("whole",)

    def make(self, run: Run, work: Work) -> Results:
        subject = run.conditions.subject(self.patching.clean)
        assert isinstance(subject, LanguageModel), "the plan refuses what cannot be altered"
        chosen = self.chosen(run)
        patching = _Passes(run, self, subject.card, chosen)
        work.total(patching.total())
        found = patching.go(self.key, work.to)
        work.counts |= {"rows": len(chosen.twins), "tokens": patching.total()}
        return found

    def save(self, made: Results, folder: Path) -> Mapping[str, Any]:
        _save(folder, made.said | ({} if made.foretold is None else {"foretold": made.foretold}))
        return {"places": [msgspec.structs.astuple(one) for one in made.places], "way": made.way}

    def load(self, artifact: Artifact) -> Results:
        every = _load(artifact)
        said, foretold = {name: every[name] for name in _FIELDS}, every.get("foretold")
        places = tuple(
            msgspec.convert(dict(zip(Place.__struct_fields__, one, strict=True)), Place)
            for one in artifact.meta["places"]
        )
        if any(len(one) != len(places) + 2 for one in said.values()):
            raise ValueError("not as many numbers as places")
        return Results(said, foretold, places, str(artifact.meta["way"]))

    def outcome(self, run: Run) -> Patched:
        """What came of it, with the groups of the rows."""
        found, chosen = run.get(self), self.chosen(run)
        measures = {name: measured(found.said, name) for name in dict.fromkeys(("log_odds", *self.patching.metrics))}
        first, second = ("corrupted", "clean") if self.by == "denoise" else ("clean", "corrupted")
        return Patched(
            sites=tuple(one.site for one in found.places),
            layers=tuple(one.layer for one in found.places),
            heads=tuple(one.head for one in found.places),
            backs=tuple(None if one.back == ALL else one.back for one in found.places),
            base={name: of[0] for name, of in measures.items()},
            source={name: of[1] for name, of in measures.items()},
            at={name: of[2:] for name, of in measures.items()},
            foretold=found.foretold,
            group=run.conditions.labels(self.patching.clean, "test").group[chosen.rows],
            asked=f"states of {getattr(self.patching, second)} put into {getattr(self.patching, first)}"
            + (f", heard by head {self.into.head} of block {self.into.block} alone" if self.into else ""),
        )

    def cost(self, run: Run) -> Cost:
        chosen = self.chosen(run)
        subject = run.plan.subjects[self.patching.clean]
        assert isinstance(subject, LanguageModel), "the plan refuses what cannot be altered"
        places = self.places(subject.card, chosen)
        branched = _tokens(places, chosen, "branched")
        whole = _tokens(places, chosen, "whole")
        own = branched if self.ways(subject.card, chosen)[0] == "branched" else whole
        note = f"{len(places):,} places: {own:,} tokens through the blocks above them; as whole prompts {whole:,}"
        if chosen.left_out:
            note += "; left out: " + ", ".join(f"{count} rows {why}" for why, count in chosen.left_out.items())
        return Cost(rows=len(chosen.twins), tokens=own, tokens_unshared=whole, where=device(), note=note)


def where_of(spec: Spec, patching: Patching) -> str:
    """The place of an analysis in its spec."""
    return f"analyses[{spec.analyses.index(patching)}]"


def _tokens(places: Sequence[Place], chosen: Chosen, way: Way) -> int:
    """Tokens that are forwarded through some of the blocks for all places."""
    if way == "whole":
        return len(places) * sum(len(one.base) for one in chosen.twins)
    return sum(chosen.reach if place.back == ALL else place.back + 1 for place in places) * len(chosen.twins)


def measured(said: Mapping[str, np.ndarray], metric: Said) -> np.ndarray:
    """A metric of answers, float64, as what they were made of."""
    right, wrong, normaliser, above = (said[name].astype(np.float64) for name in _FIELDS)
    if metric == "log_odds":
        return right - wrong
    if metric == "probability":
        return np.exp(right - normaliser)
    if metric == "rank":
        return above + 1
    return np.where(right == wrong, 0.5, right > wrong)


class _Passes:
    """Forwards the rows of one patching."""

    def __init__(self, run: Run, stage: PatchedRows, card: ModelCard, chosen: Chosen):
        self.store: Store = run.store
        # A slope needs the weights as they are multiplied, not as they are held.
        self.card = msgspec.structs.replace(card, held="float32") if stage.attribution else card
        self.load = run.networks.load
        self.attribution, self.wide, self.into = stage.attribution, stage.wide, stage.into
        self.chosen = chosen
        self.places = stage.places(card, chosen)
        self.ways = stage.ways(self.card, chosen)
        self.budget = run.resources.tokens_per_pass or token_budget()

    def total(self) -> int:
        """Tokens, if the fastest way is right."""
        return _tokens(self.places, self.chosen, self.ways[0])

    def go(self, key: str, tell: Callable[[int], None]) -> Results:
        """Forwards everything; `key` is the stage's, under which batches are stored until all are done."""
        forward = self._forward()
        batches = list(forward.batches(self.chosen.twins))
        way = self._way(forward, batches[0])
        column = {one.number: number for number, one in enumerate(self.chosen.twins)}
        said = {name: np.empty((len(self.places) + 2, len(column)), dtype=np.float32) for name in _FIELDS}
        foretold = np.empty((len(self.places), len(column)), dtype=np.float32) if self.attribution else None
        layers = sorted({one.enters for one in self.places})
        names, done = [], 0

        def more(tokens: int) -> None:
            nonlocal done
            done += tokens
            tell(done)

        units = [(batch, part) for batch in batches for part in (None, *layers)]
        ready = None
        for batch, part in stopping.whole(units):
            own = [column[one.number] for one in batch.twins]
            name = content_key(key, way, self.budget, [one.number for one in batch.twins], part)
            names.append(name)
            found = reading.read(self.store, _PARTS, name, _load)
            if found is None:
                if ready is None or ready.batch is not batch:
                    ready = forward.ready(batch, self.places)
                found = self._ends(forward, ready) if part is None else self._layer(forward, ready, part, way, more)
                with self.store.write(_PARTS, name) as folder:
                    _save(folder, found)
            rows = [0, 1] if part is None else [2 + n for n, one in enumerate(self.places) if one.enters == part]
            for field in _FIELDS:
                said[field][np.ix_(rows, own)] = found[field]
            if foretold is not None and part is None:
                foretold[:, own] = found["foretold"]
        for name in names:
            self.store.remove(_PARTS, name)
        return Results(said, foretold, self.places, way)

    def _forward(self) -> PatchedForward:
        from harness.analyses.patching.head_paths import PathForward
        from harness.analyses.patching.patched_forward import PatchedForward

        network = self.load(self.card)
        if self.into is None:
            return PatchedForward(network, self.budget, self.wide)
        return PathForward(network, self.budget, self.wide, Place("head", self.into.block, self.into.head, ALL))

    def _ends(self, forward: PatchedForward, ready: Ready) -> dict[str, np.ndarray]:
        """What both prompts say, (2, row), and what is foretold of every place."""
        from harness.analyses.patching.attributed import attributed
        from harness.analyses.patching.patched_forward import Answered

        batch = ready.batch
        both = Answered.joined([forward.unpatched(batch, tokens) for tokens in (batch.base, batch.source)], axis=0)
        found = self._finite(both)
        if self.attribution:
            found["foretold"] = attributed(forward, ready)
        return found

    def _layer(
        self, forward: PatchedForward, ready: Ready, layer: int, way: Way, more: Callable[[int], None]
    ) -> dict[str, np.ndarray]:
        """What is said with states put at the places of one layer, (place, row)."""
        return self._finite(forward.patched(ready, layer, way, more))

    def _finite(self, said: Answered) -> dict[str, np.ndarray]:
        found = {name: getattr(said, name) for name in _FIELDS}
        if not all(np.isfinite(found[name]).all() for name in (_FIELDS if self.wide else _FIELDS[:2])):
            raise NumericalError(
                f"patching: {self.card.name} says something that is not finite; use model.precision: exact"
            )
        return found

    def _way(self, forward: PatchedForward, first: Batch) -> Way:
        """The fastest way that says of a batch without anything put anywhere what whole prompts say."""
        known = _log_odds(forward.unpatched(first, first.base))
        apart = 0.0
        for way in self.ways:
            apart = float(np.abs(_log_odds(forward.unaltered(first, way)) - known).max())
            if apart <= TOLERANCE[self.card.dtype]:
                return way
        raise NumericalError(
            f"patching: {self.card.name} says something else when it is entered at its first layer with its own states (log-odds off by {apart:.3g}); this "
            f"architecture ({self.card.family}) passes more from block to block than the states, so take the analysis out"
        )


def _log_odds(said: Answered) -> np.ndarray:
    found: np.ndarray = said.right - said.wrong
    return found


def _save(folder: Path, tables: Mapping[str, np.ndarray]) -> None:
    for name, table in tables.items():
        np.save(folder / f"{name}.npy", table, allow_pickle=False)


def _load(artifact: Artifact) -> dict[str, np.ndarray]:
    """Numbers by name; of what nobody asked for there are none."""
    found = {name: np.load(artifact / f"{name}.npy", allow_pickle=False) for name in _FIELDS}
    if "foretold.npy" in artifact.files:
        found["foretold"] = np.load(artifact / "foretold.npy", allow_pickle=False)
    return found
