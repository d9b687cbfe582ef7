"""Forwarding: the rows that the bank lacks are forwarded, shard by shard, by one process or several.

    layout of all rows ──▶ shards, less what is stored ──▶ forward ──▶ bank

The layout is made from the whole table of rows, so that a run which was stopped goes on with the very batches that it would
have had, and gives the same bytes. Of several processes, one decides how rows are forwarded and which are missing, and all
claim shards of the same layout: who forwards a shard makes no difference to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from harness.activations import batches, references, sample
from harness.activations.banks import Banks
from harness.activations.batches import Batch, Cost, Layout
from harness.activations.rows import RowTable
from harness.activations.storing import Storing
from harness.contracts.subject import Subject
from harness.errors import MemoryRanOut, NumericalError
from harness.machine import stopping
from harness.machine.jobs import Job, OneProcessJob
from harness.machine.resources import Resources, memory_ran_out
from harness.models.card import ModelCard
from harness.models.lengths import lengths

if TYPE_CHECKING:
    from torch import Tensor

    from harness.activations.forward import Forward, Forwarded, Way
    from harness.activations.selfcheck import Attempt, Verdict
    from harness.models.network import Network

Progress = Callable[[int, int], None]
"""Called with the tokens forwarded so far and the tokens to forward in all."""

Parts = list["Forwarded"]
"""States and log-probabilities of a batch's rows, in one part or several."""

Begin = Callable[[dict[str, Any]], Job]
"""Opens a job for all processes; the orders are the same for each."""


class Orders(msgspec.Struct, frozen=True):
    """What one process decides for all, so that every one has the same batches."""

    way: str
    cuts: tuple[int, ...]
    """Lengths that keep rows on their two sides apart."""
    how: str
    """The way in words, as it is stored with the states."""
    budget: int
    """Tokens of a pass."""
    stored: str
    """Which rows are stored already: a bit for each, in hexadecimal."""
    longest_first: bool


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was forwarded, by all processes together."""

    rows: int = 0
    tokens: int = 0
    tokens_unshared: int = 0
    """Tokens that forwarding the same rows as whole prompts would have taken."""
    remarks: tuple[str, ...] = ()
    """Differences measured, batches halved."""


class Forwarding:
    """Forwards what the bank lacks, shard by shard."""

    def __init__(self, subject: Subject, table: RowTable, banks: Banks, resources: Resources):
        self.subject = subject
        self.table = table
        self.banks = banks
        self.resources = resources
        self.budget = resources.tokens_per_pass or batches.token_budget()
        self.halved = False
        self.too_many: int | None = None
        """Padded tokens of the smallest batch for which memory did not suffice."""
        self._tried: dict[Batch, Parts] = {}
        """Batches that were forwarded on trial, the way that was chosen."""
        self.alone: Forwarded | None = None
        """Rows that the noise floor is measured on, forwarded one at a time in float32."""
        self.remark = ""
        """What else there is to say of how this run forwards."""

    packs: bool = False
    """Whether shared beginnings are meant to be forwarded once."""

    def cost(self, stored: set[int]) -> tuple[Cost, Cost] | None:
        """What is left to do where these rows are stored, and what everything would cost; None where nobody can say."""
        return None

    def layout(self, way: Way, budget: int, cuts: Sequence[int] = ()) -> Layout:
        """Which rows are forwarded together: none that are on different sides of one of the `cuts`."""
        return batches.lay_out(self.table, budget)

    def choose(self) -> Verdict:
        """The way to forward, for all processes."""
        raise NotImplementedError

    def forward(self, way: Way) -> Forward:
        """Gets ready to forward rows that way."""
        raise NotImplementedError

    def go(self, progress: Progress | None, begin: Begin | None) -> Done:
        """Forwards as the leading process, alone or with others."""
        table, banks = self.table, self.banks
        stored = banks.stored()
        verdict, orders, job = self._open(begin, _as_bits(stored, len(table.rows)))
        todo = [batch for shard in self._shards(orders) for batch in shard]
        total = batches.tokens_of(todo, table)

        def tell(done: int) -> None:
            if progress:
                # What many begin with is forwarded by every process, and counted once.
                progress(min(done, total), total)

        said = self._work(job, orders, tell)
        banks.await_rows()
        if self.alone is not None:
            references.reference(banks).add(
                references.to_compare(table), self.alone, "one prompt at a time, in float32"
            )
        remarks = [f"self-check, {verdict.measured}"] if verdict.measured else []
        if self.remark:
            remarks.append(self.remark)
        if any(one["halved"] for one in said):
            remarks.append(
                "memory ran out on the device; batches were halved, so that states may differ by rounding from those of "
                f"whole batches (a pass of fewer tokens: --tokens-per-pass {self.budget // 2})"
            )
        return Done(
            rows=sum(len(batch.rows) for batch in todo),
            tokens=total,
            tokens_unshared=sum(
                len(tokens) for tokens, _, _ in {table.rows[row].sequence for batch in todo for row in batch.rows}
            ),
            remarks=tuple(remarks),
        )

    def _open(self, begin: Begin | None, stored: str) -> tuple[Verdict, Orders, Job]:
        """How to forward, and the job, in which others may take part from now on."""
        verdict = self.choose()
        orders = Orders(verdict.way, verdict.cuts, verdict.how, self.budget, stored, begin is not None)
        return verdict, orders, begin(msgspec.to_builtins(orders)) if begin else OneProcessJob()

    def take_part(self, job: Job, orders: dict[str, Any]) -> None:
        """Forwards some of the shards for the process that leads and gave these orders."""
        self._work(job, msgspec.convert(orders, Orders), lambda done: None)

    def _work(self, job: Job, orders: Orders, tell: Callable[[int], None]) -> list[dict[str, Any]]:
        shards = self._shards(orders)
        forward: Forward | None = None
        done = 0
        stems: set[tuple[int, ...]] = set()
        with Storing(self.banks) as storing:
            for number in stopping.whole(job.claims(len(shards))):
                # Not before there is something to do: loading a network takes memory and time.
                forward = forward or self.forward(orders.way)  # type: ignore[arg-type]
                parts = []
                for batch in shards[number]:
                    parts += self._tried.pop(batch, []) or self._forward(forward, batch)
                    stem = batches.stem_tokens(batch.groups[0], self.table)
                    done += batch.tokens + (0 if stem in stems else len(stem))
                    stems.add(stem)
                    tell(job.progress(done))
                self._keep(parts, shards[number], orders.how, storing)
        return job.end({"done": done, "halved": self.halved}, tell)

    def _shards(self, orders: Orders) -> list[list[Batch]]:
        """What is left to forward. Where it is shared, the most tokens come first: what is begun last is then soon done, and
        nobody waits long."""
        stored = _from_bits(orders.stored)
        left = [
            [rest for batch in shard if (rest := batches.without(batch, stored, self.table)) is not None]
            for shard in self.layout(orders.way, orders.budget, orders.cuts).shards  # type: ignore[arg-type]
        ]
        left = list(filter(None, left))
        if orders.longest_first:
            left.sort(key=lambda shard: -sum(batch.tokens for batch in shard))
        return left

    def _forward(self, forward: Forward, batch: Batch) -> Parts:
        """States of a batch, in parts where memory is short."""
        import torch

        padded = batch.longest * len(batch.rows)
        halves = _halves(batch)
        # What was too many once will be again; trying takes as long as a pass.
        if halves is None or self.too_many is None or padded < self.too_many:
            groups = [[self.table.rows[row] for row in group.rows] for group in batch.groups]
            try:
                return [forward(groups, self.banks.layers, self.banks.log_prob_wanted, batch.stem)]
            except (RuntimeError, MemoryError) as error:
                if not memory_ran_out(error):
                    raise
                self._refuse_to_halve(batch, halves, error)
                self.halved, self.too_many = True, padded
            # Outside of the handler: the error's traceback holds the tensors that were too many.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        assert halves is not None, "a batch of one row is always tried"
        return [part for half in halves for part in self._forward(forward, half)]

    def _refuse_to_halve(self, batch: Batch, halves: tuple[Batch, Batch] | None, error: Exception) -> None:
        if halves is None:
            raise MemoryRanOut(
                f"{self.subject.name}: memory ran out with a single prompt of {batch.longest} tokens; set "
                "a shorter prompt.max_tokens, or fewer layers"
            ) from error
        if self.resources.deterministic:
            raise MemoryRanOut(
                f"{self.subject.name}: memory ran out with a batch of {batch.longest * len(batch.groups)} tokens, and with "
                f"--deterministic none is halved; set --tokens-per-pass {self.budget // 2}, in every run to be compared"
            ) from error

    def _keep(self, parts: Parts, shard: Sequence[Batch], how: str, storing: Storing) -> None:
        from harness.activations.forward import Forwarded

        rows = [row for batch in shard for row in batch.rows]
        # One copy off the device per shard: the only place where the loop waits for it.
        found = Forwarded.joined(parts)
        chances = None if found.log_prob is None else found.log_prob.cpu()
        found = Forwarded({site: states.cpu() for site, states in found.by_site.items()}, chances)
        for site, states in found.by_site.items():
            self._check(states, [row for row in rows if self.table.rows[row].site == site])
        storing.add(rows, found, how)

    def _check(self, states: Tensor, rows: Sequence[int]) -> None:
        # A sum is finite only of finite numbers, and found in a tenth of the time; that of large ones may be infinite all the same.
        if bool(states.sum(-1).isfinite().all()):
            return
        finite = states.isfinite().all(-1)
        if bool(finite.all()):
            return
        layer, row = (~finite).nonzero()[0].tolist()
        layers = self.banks.at(self.table.rows[rows[0]].site).layers
        remedy = "use model.precision: exact" if self.subject.dtype != "float32" else "its weights may be damaged"
        raise NumericalError(
            f"{self.subject.name}: states are not finite at layer {layers[layer]} for example "
            f'"{self.table.names[rows[row]]}" (dtype {self.subject.dtype}); {remedy}'
        )


def ways(card: ModelCard) -> tuple[Way, ...]:
    """Ways to try, fastest first. A tree of tokens makes sense only where a token sees nothing after it."""
    if card.stacks == "decoder-only" and card.packing == "auto":
        return ("grafted", "packed", "whole", "equal", "single")
    return ("whole", "equal", "single")


class ModelForwarding(Forwarding):
    """Forwards rows through a language model; each process has a network of its own."""

    _network: Network | None = None
    _attempt: tuple[Attempt, Forward] | None = None
    """What is on trial, and what forwards it."""

    def __init__(self, card: ModelCard, subject: Subject, table: RowTable, banks: Banks, resources: Resources):
        super().__init__(subject, table, banks, resources)
        self.card = card
        self.packs = "packed" in ways(card)

    @cached_property
    def extents(self) -> list[sample.Extent]:
        """The lengths of each row, as the network reads it."""
        card = self.card
        return sample.extents(self.table, card.stacks == "encoder-decoder" and card.side == "decoder")

    def cost(self, stored: set[int]) -> tuple[Cost, Cost]:
        # The self-check has the last word on the way; until then the fastest is taken for right.
        layout = self.layout("grafted" if self.packs else "whole", self.budget)
        everything = [batch for shard in layout.shards for batch in shard]
        left = [rest for batch in everything if (rest := batches.without(batch, stored, self.table)) is not None]
        layers = self.banks.layers
        return tuple(batches.cost(some, self.table, self.card, layers) for some in (left, everything))  # type: ignore[return-value]

    def layout(self, way: Way, budget: int, cuts: Sequence[int] = ()) -> Layout:
        sharing = self.card if way in ("grafted", "packed") else None
        return batches.lay_out(self.table, budget, sharing, way == "grafted", self._kinds(way, cuts))

    def _kinds(self, way: Way, cuts: Sequence[int]) -> list[sample.Extent]:
        """For each row, what it has in common with those that it is forwarded with."""
        return self.extents if way == "equal" else sample.sides(self.extents, cuts)

    def forward(self, way: Way) -> Forward:
        from harness.activations.forward import WAYS

        return WAYS[way](self._loaded())

    def _loaded(self) -> Network:
        if self._network is None:
            from harness.models.load import load

            self._network = load(self.card)
        return self._network

    def choose(self) -> Verdict:
        """The fastest way that gives the states of single prompts, tried on parts of the batches that it makes of these rows.

        Made anew in each run: it depends on the rows, the batches, the network, the libraries and the machine.
        """
        from harness.activations.selfcheck import SelfCheck

        network = self._loaded()
        check = SelfCheck(network, self.table, self.banks.layers, self.banks.log_prob_wanted)
        verdict = check.examine(self._attempts(network), self._on_trial)
        if verdict.way == "single":
            self._tried = {}
        self.alone = self._by_themselves(network)
        return verdict

    def _by_themselves(self, network: Network) -> Forwarded | None:
        """The rows that the noise floor is measured on. All processes that share a network forward them, whatever is stored."""
        from harness.activations.forward import Single

        rows = [[self.table.rows[row]] for row in references.to_compare(self.table)]
        if not rows:
            return None
        with network.exactly():
            return Single(network)(rows, self.banks.layers, False)

    def _attempts(self, network: Network) -> Iterator[Attempt]:
        """Ways to try, the fastest first; each with all rows together, and with those beside a number of the configuration apart."""
        from harness.activations.selfcheck import Attempt

        cuts = sample.cuts(self.extents, lengths(network.model.config.to_dict()))
        reach = max(len(row.tokens) for row in self.table.rows)
        window, chosen = self.card.shape.window, self.card.shape.chosen
        if chosen is not None and reach > chosen:
            # Many scores are zero, and which of equal ones are chosen depends on how many tokens there are.
            return
        for way in ways(self.card):
            # A tree mask of ours has no window in it.
            if way == "single" or (way in ("grafted", "packed") and window is not None and reach > window):
                continue
            for apart in [(), cuts] if cuts and way != "equal" else [()]:
                layout = self.layout(way, self.budget, apart)
                if way == "grafted" and not any(batch.stem for shard in layout.shards for batch in shard):
                    continue
                kinds = self._kinds(way, apart)
                yield Attempt(way, apart, sample.sample(layout, self.table, self.extents, kinds, cuts, self.budget))

    def _on_trial(self, attempt: Attempt, batch: Batch) -> Forwarded:
        """Forwards a batch as a run does, in parts where memory is short."""
        from harness.activations.forward import Forwarded

        if self._attempt is None or self._attempt[0] is not attempt:
            self._attempt, self._tried = (attempt, self.forward(attempt.way)), {}
        parts = self._tried[batch] = self._forward(self._attempt[1], batch)
        return Forwarded.joined(parts)


def _as_bits(numbers: set[int], count: int) -> str:
    import numpy as np

    mask = np.zeros(count, dtype=bool)
    mask[list(numbers)] = True
    return np.packbits(mask).tobytes().hex()


def _from_bits(text: str) -> set[int]:
    import numpy as np

    return set(np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))).tolist())


def _halves(batch: Batch) -> tuple[Batch, Batch] | None:
    """Two smaller batches; None when there is but one row."""
    groups = batch.groups
    if len(groups) > 1:
        middle = len(groups) // 2
        return Batch(groups[:middle]), Batch(groups[middle:])
    rows = groups[0].rows
    if len(rows) == 1:
        return None
    middle = len(rows) // 2
    return tuple(
        Batch((batches.Group(part, groups[0].size, groups[0].stem),)) for part in (rows[:middle], rows[middle:])
    )  # type: ignore[return-value]
