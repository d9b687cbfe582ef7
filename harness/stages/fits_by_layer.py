"""Probes of one condition fitted and scored by some layers at a time, by one process or several.

States of many prompts at all layers do not fit into memory, and need not: a layer's fit depends on that layer alone
(`Probe.by_layer`). So layers are read in runs, as many as the memory allows; every run is an item that a process may
claim, and what comes of it is stored as a part. Parts are joined at the end, and are then the very bytes of a fit of all
layers at once, which is what happens where they fit and nobody shares the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts import Normaliser, Pairs, Probe, Readout
from harness.errors import ConstantStates, DataError
from harness.execution.record import Took
from harness.fitting.fit import Fitting, divisible, score, training_pairs
from harness.fitting.together import best
from harness.machine.jobs import Job
from harness.machine.resources import give_back_freed
from harness.maths.axes import joined
from harness.plan.stage import Stage
from harness.readouts.normalisers import Chain, LayersTogether
from harness.readouts.stored_readouts import fit_about, load_fit, save_fit
from harness.scoring.score import Scored, SplitName
from harness.scoring.stored_scores import SCORED, load_scored, save_scored
from harness.spec.plain import probe_name
from harness.store import Artifact, Store, content_key, reading

if TYPE_CHECKING:
    import numpy as np

    from harness.execution.run import Run
    from harness.stages.fit_stages import Fit, Score

_PARTS = "parts"
COPIES = 6
"""Times that the states of a layer are in memory while it is fitted: as read, normalised, as differences, and in the two
layouts that descents want."""


class Item(msgspec.Struct, frozen=True):
    """Some layers of some probes, which one process fits at a time."""

    layers: tuple[int, ...]
    probes: tuple[str, ...]


class Wanted(msgspec.Struct, frozen=True):
    """A probe whose answers are missing."""

    probe: Probe
    seeds: range
    fit: Stage[Any]
    scores: Mapping[str, Stage[Any]]
    """By the condition that is tested on."""

    @property
    def name(self) -> str:
        return probe_name(self.probe)


class LayerWork:
    """The missing fits and answers of the probes that are fitted on one condition."""

    def __init__(self, run: Run, fits: Sequence[Fit], scores: Sequence[Score]):
        """Fits that are missing, and answers that are; a fit whose answers are missing need not be named."""
        self.run = run
        self.conditions = run.conditions
        self.store: Store = run.store
        missing = [*fits, *(score.fit for score in scores)]
        wanted = _wanted(missing, scores)
        self.fit_on = missing[0].fit_on
        self.wanted = {one.name: one for one in wanted}
        self.layers = self.conditions.layers(self.fit_on)
        self.tested_on = tuple(dict.fromkeys(tested for one in wanted for tested in one.scores))

    def items(self, processes: int) -> list[Item]:
        """Runs of layers, for the memory there is and so that every process has some; probes that cannot be divided."""
        items: list[Item] = []
        apart = []
        for one in self.wanted.values():
            if one.probe.reads == "log_odds":
                # It has no layers, but states come as pairs of some.
                items.append(Item(self.layers[:1], (one.name,)))
            elif divisible(one.probe):
                apart.append(one.name)
            else:
                items.append(Item(self.layers, (one.name,)))
        if apart:
            count = min(self._fit_into_memory(), -(-len(self.layers) // processes))
            runs = (self.layers[start : start + count] for start in range(0, len(self.layers), count))
            items += [Item(layers, tuple(apart)) for layers in runs]
        return items

    def do(self, job: Job, items: Sequence[Item], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        """This process's share; `tell` hears of probes times layers."""
        done = 0
        seconds: dict[str, list[float]] = {}
        for number in job.claims(len(items)):
            item = items[number]
            states = _States(self, item.layers)
            for name in item.probes:
                took = self._do(self.wanted[name], item, states)
                give_back_freed()
                seconds[name] = [float(sum(pair)) for pair in zip(seconds.get(name, [0.0, 0.0]), took, strict=True)]
                done += len(item.layers)
                tell(job.progress(done))
        return job.end({"done": done, "seconds": seconds}, tell)

    def finish(self, items: Sequence[Item], seconds: Sequence[Mapping[str, Sequence[float]]]) -> None:
        """Joins the parts of every probe, and stores what the plan asks for. `seconds` are what each process says they took."""
        for one in self.wanted.values():
            own = [item for item in items if one.name in item.probes]
            if not self._whole(one, own[0]):
                fitting, scoring = (
                    sum(each[one.name][place] for each in seconds if one.name in each) for place in (0, 1)
                )
                self._join(one, own, (fitting, scoring))

    def _whole(self, one: Wanted, item: Item) -> bool:
        return item.layers == self.layers or one.probe.reads == "log_odds"

    def _fit_into_memory(self) -> int:
        """How many layers may be in memory together; one at least."""
        parts: list[tuple[str, SplitName]] = [(self.fit_on, "train"), (self.fit_on, "validation")]
        parts += [(name, "test") for name in self.tested_on]
        rows = sum(len(self.conditions.labels(condition, part).group) for condition, part in parts)
        per_layer = rows * 2 * self.conditions.width(self.fit_on) * 4 * COPIES
        return max(1, min(len(self.layers), self.run.resources.memory() // max(per_layer, 1)))

    def _do(self, one: Wanted, item: Item, states: _States) -> tuple[float, float]:
        """Fits and scores one probe at some layers; the seconds that each took."""
        whole = self._whole(one, item)
        key = self._part_key(one, item.layers)
        if not whole and self.store.open(_PARTS, key) is not None:
            return 0.0, 0.0
        start = time.perf_counter()
        if one.probe.layers is not None and (chosen := self._chosen(one)) is not None:
            states = _States(self, tuple(item.layers[place] for place in chosen.tolist()), chosen)
        readout, still = self._fitted(one, item, states)
        between = time.perf_counter()
        scored = [
            score(
                readout, one.probe, states.fitting, states.tests[tested], self.conditions.labels(tested, "test"),
                fit_on=self.fit_on, tested_on=tested, layers=item.layers,
            )
            for tested in one.scores
        ]  # fmt: skip
        took = between - start, time.perf_counter() - between
        if whole:
            self._store(one, readout, states.normaliser(one.probe), scored, took)
        else:
            normaliser = states.normaliser(one.probe)
            about: dict[str, Any] = fit_about(readout, normaliser) | {"still": still, "answers": []}
            with self.store.write(_PARTS, key, about) as folder:
                for number, answers in enumerate(scored):
                    (folder / str(number)).mkdir()
                    about["answers"].append(save_scored(answers, folder / str(number)))
                save_fit(readout, normaliser, folder)
        return took

    def _store(
        self,
        one: Wanted,
        readout: Readout,
        normaliser: Normaliser | None,
        scored: Iterable[Scored],
        seconds: tuple[float, float],
    ) -> None:
        """Stores the fits and answers that the plan asks for."""
        fitting, scoring = seconds
        took = self._took(fitting, self.fit_on, "train")
        with self.store.write(one.fit.kind, one.fit.key, fit_about(readout, normaliser), took) as folder:
            save_fit(readout, normaliser, folder)
        for (tested_on, stage), answers in zip(one.scores.items(), scored, strict=True):
            about: dict[str, Any] = {}
            took = self._took(scoring / len(one.scores), tested_on, "test")
            with self.store.write(stage.kind, stage.key, about, took) as folder:
                about |= save_scored(answers, folder)

    def _chosen(self, one: Wanted) -> np.ndarray | None:
        """Places of the layers that a probe takes together: those of the stored fit, or told by some layers at a time. None where they can only be
        told by all at once, or all are taken."""
        import numpy as np

        each = msgspec.structs.replace(one.probe, layers=None)
        assert one.probe.layers is not None
        if len(self.layers) <= one.probe.layers.together or not divisible(each):
            return None
        if stored := reading.read(self.store, one.fit.kind, one.fit.key, load_fit):
            *_, last = Chain.of(*filter(None, stored[1:])).parts
            assert isinstance(last, LayersTogether), "stored with the map of its layers"
            return last.chosen.numpy()
        count = self._fit_into_memory()
        runs = (self.layers[start : start + count] for start in range(0, len(self.layers), count))
        return best(one.probe, np.concatenate([_States(self, run).fitting.on_each(one.probe) for run in runs]))

    def _took(self, seconds: float, condition: str, part: SplitName) -> dict[str, Any]:
        return Took(seconds=seconds, rows=len(self.conditions.labels(condition, part).group)).plain()

    def _fitted(self, one: Wanted, item: Item, states: _States) -> tuple[Readout, str]:
        """The probe at some layers, and why it found nothing to fit there, if that is so."""
        if stored := reading.read(self.store, one.fit.kind, one.fit.key, load_fit):
            readout, normaliser = stored
            if one.probe.layers is not None and normaliser is not None:
                # A readout of layers together is one of the layers that its own map chose.
                states.fitting.keep(one.probe, normaliser)
            if self._whole(one, item):
                return readout, ""
            return readout.at(layer=[self.layers.index(layer) for layer in item.layers]), ""
        train = training_pairs(one.probe, states.fitting)
        _refuse_one_class(one.probe, train, self.fit_on)
        try:
            return one.probe.fit(train, one.seeds), ""
        except ConstantStates as error:
            if self._whole(one, item):
                raise
            # Among other layers that vary, one that does not is no error: at layer 0 the last token is often the same.
            return one.probe.fit(msgspec.structs.replace(train, partial=True), one.seeds), str(error)

    def _join(self, one: Wanted, items: Sequence[Item], seconds: tuple[float, float]) -> None:
        parts = [self._part(one, item) for item in items]
        if all(part.meta["still"] for part in parts):
            raise ConstantStates(parts[0].meta["still"])
        fits = [load_fit(part) for part in parts]
        answers = (
            joined(
                [
                    load_scored(
                        Artifact(part.folder / str(number), part.meta["answers"][number], (SCORED,)),
                        (self.fit_on, tested_on, one.name),
                    )
                    for part in parts
                ],
                "layer",
            )
            for number, tested_on in enumerate(one.scores)
        )
        readout = joined([readout for readout, _ in fits], "layer")
        own = [normaliser for _, normaliser in fits if normaliser is not None]
        self._store(one, readout, joined(own, "layer") if own else None, answers, seconds)
        for item in items:
            self.store.remove(_PARTS, self._part_key(one, item.layers))

    def _part(self, one: Wanted, item: Item) -> Artifact:
        return reading.just_made(self.store, _PARTS, self._part_key(one, item.layers))

    def _part_key(self, one: Wanted, layers: Sequence[int]) -> str:
        return content_key(one.fit.key, [stage.key for stage in one.scores.values()], list(layers))


def _wanted(fits: Sequence[Fit], scores: Sequence[Score]) -> list[Wanted]:
    """The probes whose answers are missing, in the order of the plan."""
    by_key = {fit.key: fit for fit in fits}
    return [
        Wanted(fit.probe, fit.seeds, fit, {score.tested_on: score for score in scores if score.fit.key == key})
        for key, fit in by_key.items()
    ]


class _States:
    """The states of a run of layers, read when they are first asked for."""

    def __init__(self, work: LayerWork, layers: tuple[int, ...], chosen: np.ndarray | None = None):
        """`chosen` as in `Fitting`."""
        self._work = work
        self._layers = layers
        self._chosen = chosen
        self._fitting: Fitting | None = None
        self._tests: dict[str, Pairs] | None = None

    @property
    def fitting(self) -> Fitting:
        if self._fitting is None:
            self._fitting = self._work.conditions.fitting(self._work.fit_on, self._layers, self._chosen)
        return self._fitting

    @property
    def tests(self) -> dict[str, Pairs]:
        if self._tests is None:
            pairs = self._work.conditions.pairs
            self._tests = {name: pairs(name, "test", self._layers) for name in self._work.tested_on}
        return self._tests

    def normaliser(self, probe: Probe) -> Normaliser | None:
        return None if probe.reads == "log_odds" else self.fitting.normaliser(probe)


def _refuse_one_class(probe: Probe, train: Pairs, fit_on: str) -> None:
    """Raises DataError where a probe that learns from labels is given rows of one class, as from a control set."""
    if train.labels is None or train.labels.ndim != 1:
        return
    classes = train.labels.unique().tolist()
    if len(classes) == 1:
        raise DataError(
            f"conditions.{fit_on}.data: {probe.title} learns from labels, and the {train.labels.shape[0]} training rows of {fit_on} are all of class "
            f"{classes[0]} of {probe.target}; raise data.limit, or, where they are a control set, fit on another condition by `transfer`"
        )
