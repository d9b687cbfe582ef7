"""From prompt tables to states: forward what is not stored yet, and answer from the store.

    tables ──▶ rows ──▶ layout (all rows) ──▶ shards, less what is stored ──▶ forward ──▶ bank

The layout is made from all rows of the stage, so that a run which was stopped goes on with the very batches that it would
have had, and gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness import stopping
from harness.activations import batches
from harness.activations.bank import Bank
from harness.activations.batches import Batch, Cost, Layout
from harness.activations.bed_network import BedForward, describe_bed
from harness.activations.layers import resolve
from harness.activations.rows import Row, Stage, stage_of
from harness.code_version import code_version
from harness.contracts import Bed, Pairs, PromptTable
from harness.errors import HarnessError, NumericalError, UsageError
from harness.models.card import ModelCard
from harness.spec import Activations, Model
from harness.store import Store, content_key

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.activations.forward import Forward, Way
    from harness.models.network import Network

Progress = Callable[[int, int], None]
"""Called with the tokens forwarded so far and the tokens to forward in all."""

_LONGEST_CHECKED = 512
"""Tokens of a pack beyond which the self-check prefers a shorter one."""


class ExtractionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an extraction would do, found without torch."""

    rows: int
    """Distinct rows of all tables."""
    stored: int
    """Those that the store has."""
    todo: Cost
    """What is left to forward."""
    whole: Cost
    """What everything would cost with nothing stored."""
    keys: tuple[str, ...]
    """For each table, a key of its states."""
    packed: bool
    """Whether shared beginnings are meant to be forwarded once (the self-check has the last word)."""
    reason: str
    """What the store has, in words."""


class Extracted:
    """The states of some prompt tables, read from the store when they are asked for."""

    def __init__(self, stage: Stage, tables: Sequence[PromptTable], bank: Bank):
        self._stage = stage
        self._tables = tuple(tables)
        self._bank = bank
        self._log_odds: dict[int, Tensor | None] = {}
        self.notes: tuple[str, ...] = ()
        """How the states were got: packed or not, and why. The same in every run."""
        self.remarks: tuple[str, ...] = ()
        """What happened in this run (differences measured, batches halved, damage repaired); belongs to the manifest."""
        self.forwarded = 0
        """Rows forwarded in this run."""
        self.tokens = 0
        """Tokens forwarded in this run."""
        self.tokens_unshared = 0
        """Tokens that forwarding the same rows as whole prompts would have taken."""

    def key(self, table: PromptTable) -> str:
        """A key of one table's states."""
        return _table_key(self._stage, self._number(table), self._bank)

    def pairs(self, table: PromptTable, numbers: Sequence[int] | np.ndarray, layers: Sequence[int]) -> Pairs:
        """States of the pairs with these numbers, in that order, at these layers. Labels are not attached."""
        import numpy as np
        import torch

        which = self._number(table)
        frame = table.frame
        lines = _lines(table, numbers)
        rows = self._stage.tables[which]
        keys = [self._stage.keys[rows[line]] for line in lines.reshape(-1)]
        states = self._bank.read(keys, layers)
        template = {name: index for index, name in enumerate(table.templates)}
        names = frame["template"].gather(lines[:, 0]).to_list()
        odds = self._odds(which)
        return Pairs(
            states=states.reshape(len(layers), len(lines), 2, states.shape[-1]),
            template=torch.tensor([template[name] for name in names], dtype=torch.int64),
            log_odds=None if odds is None else odds[torch.from_numpy(lines.astype(np.int64))].diff(dim=1)[:, 0],
        )

    def _number(self, table: PromptTable) -> int:
        return next(number for number, own in enumerate(self._tables) if own is table)

    def _odds(self, which: int) -> Tensor | None:
        """log P(answer) of each line of a table; None if there is no head, or an answer has nothing before it."""
        if not self._bank.log_prob_wanted:
            return None
        if which not in self._log_odds:
            found = self._bank.log_prob([self._stage.keys[row] for row in self._stage.tables[which]])
            self._log_odds[which] = found if bool(found.isfinite().all()) else None
        return self._log_odds[which]


def plan_extraction(
    card: ModelCard, tables: Sequence[PromptTable], activations: Activations, store: Store, log_odds: bool = True
) -> ExtractionPlan:
    """What `extract` would do, without loading the network or importing torch."""
    stage, bank, layers = _prepare(card, tables, activations, store, log_odds)
    packed = "packed" in _ways(card)
    layout = batches.lay_out(stage, card, packed, token_budget(), grafted=packed)
    have = bank.have(stage.keys)
    stored = {number for number, key in enumerate(stage.keys) if key in have}
    everything = [batch for shard in layout.shards for batch in shard]
    left = [rest for batch in everything if (rest := batches.without(batch, stored, stage)) is not None]
    return ExtractionPlan(
        rows=len(stage.rows),
        stored=len(stored),
        todo=batches.cost(left, stage, card, len(layers)),
        whole=batches.cost(everything, stage, card, len(layers)),
        keys=tuple(_table_key(stage, number, bank) for number in range(len(tables))),
        packed=packed,
        reason=f"{len(stored):,} of {len(stage.rows):,} rows are stored",
    )


def extract(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    progress: Progress | None = None,
    log_odds: bool = True,
) -> Extracted:
    """The states of all tables; what is not stored is forwarded, and the network is loaded only for that.

    `card` is the model's; a bed needs none. `log_odds` asks for the answers' log-probabilities too. Raises NumericalError
    for states that are not finite, HarnessError where the model cannot be loaded or does not fit.
    """
    if isinstance(model, Bed):
        card = describe_bed(model)
    assert card is not None, "a language model comes with its card"
    stage, bank, _ = _prepare(card, tables, activations, store, log_odds)
    damaged = len(store.damaged)
    bank.verify(stage.keys)
    extracted = Extracted(stage, tables, bank)
    if len(store.damaged) > damaged:
        extracted.remarks = (f"{len(store.damaged) - damaged} stored files were damaged and made anew",)
    if len(bank.have(stage.keys)) < len(stage.keys):
        run = _BedRun(model, card, stage, bank) if isinstance(model, Bed) else _ModelRun(card, stage, bank)
        run.go(extracted, progress)
    extracted.notes = bank.how(stage.keys)
    return extracted


def token_budget() -> int:
    """Tokens of one batch, padding included. A GPU takes more; where its memory does not, batches are halved."""
    from harness.models.precision import cuda_capability

    return batches.CPU_TOKENS if cuda_capability() is None else batches.GPU_TOKENS


def _prepare(
    card: ModelCard, tables: Sequence[PromptTable], activations: Activations, store: Store, log_odds: bool
) -> tuple[Stage, Bank, tuple[int, ...]]:
    layers = resolve(activations.layers, card.layers)
    if card.path is None and activations.token != "last":
        raise UsageError(f"activations.token: {activations.token}: a test bed gives the states of the last token only")
    # At the last layer the answers' probabilities are nearly free; kept always, they are there when they are wanted.
    wanted = card.has_head and (log_odds or layers[-1] == card.blocks)
    bank = Bank(store, bank_key(card), layers, wanted)
    return stage_of(tables, activations.token), bank, layers


def bank_key(card: ModelCard) -> str:
    """All that a row's states depend on besides the row: the network, its precision, and our code."""
    return content_key(
        card.identity,
        card.dtype,
        card.side,
        card.packing,
        code_version("activations/rows", "activations/trie", "activations/forward", "models/network", "models/load"),
    )


def _table_key(stage: Stage, number: int, bank: Bank) -> str:
    rows = stage.tables[number]
    return content_key(bank.key, bank.layers, bank.log_prob_wanted, [stage.keys[row] for row in rows])


def _lines(table: PromptTable, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lines of the frame of each pair's two answers, (pair, 2)."""
    import numpy as np

    pair = table.frame["pair"].to_numpy()
    # The frame is sorted by pair, then answer; a pair's two lines stand together.
    first = np.searchsorted(pair, np.asarray(numbers))
    lines = np.stack([first, first + 1], axis=1)
    assert (pair[lines] == np.asarray(numbers)[:, None]).all(), "a prompt table is sorted by pair and has both answers"
    return lines


def _ways(card: ModelCard) -> tuple[Way, ...]:
    """Ways to try, fastest first. A tree of tokens makes sense only where a token sees nothing after it."""
    if card.path is not None and card.stacks == "decoder-only" and card.packing == "auto":
        return ("grafted", "packed", "whole", "single")
    return ("whole", "single")


class _Run:
    """One extraction: forwards what the bank lacks, shard by shard."""

    how = ""
    measured = ""

    def __init__(self, card: ModelCard, stage: Stage, bank: Bank):
        self.card = card
        self.stage = stage
        self.bank = bank
        self.halved = False

    def start(self, left: Sequence[int]) -> tuple[Forward, Layout]:
        """Get ready to forward rows, and say how."""
        raise NotImplementedError

    def go(self, extracted: Extracted, progress: Progress | None) -> None:
        stage, bank = self.stage, self.bank
        have = bank.have(stage.keys)
        stored = {number for number, key in enumerate(stage.keys) if key in have}
        forward, layout = self.start([number for number in range(len(stage.rows)) if number not in stored])
        shards = [
            [rest for batch in shard if (rest := batches.without(batch, stored, stage)) is not None]
            for shard in layout.shards
        ]
        total = batches.cost([batch for shard in shards for batch in shard], stage, self.card, 0).tokens
        stems: set[tuple[int, ...]] = set()
        for shard in stopping.whole(filter(None, shards)):
            parts = []
            for batch in shard:
                parts += self._forward(forward, batch)
                stem = batches.stem_tokens(batch.groups[0], stage)
                extracted.tokens += batch.tokens + (0 if stem in stems else len(stem))
                stems.add(stem)
                if progress:
                    progress(extracted.tokens, total)
            self._keep(parts, shard)
            extracted.forwarded += sum(len(batch.rows) for batch in shard)
        done = (row for shard in shards for batch in shard for row in batch.rows)
        extracted.tokens_unshared = sum(len(stage.rows[row].tokens) for row in done)
        if self.measured:
            extracted.remarks += (f"self-check, {self.measured}",)
        if self.halved:
            extracted.remarks += ("memory ran out on the device; batches were halved",)

    def _forward(self, forward: Forward, batch: Batch) -> list[tuple[Tensor, Tensor | None]]:
        """States of a batch, in parts where memory is short."""
        import torch

        groups = [[self.stage.rows[row] for row in group.rows] for group in batch.groups]
        try:
            found = forward(groups, self.bank.layers, self.bank.log_prob_wanted, batch.stem)
            return [(found.states, found.log_prob)]
        except torch.cuda.OutOfMemoryError as error:
            halves = _halves(batch)
            if halves is None:
                raise HarnessError(
                    f"{self.card.name}: memory ran out with a single prompt of {batch.longest} tokens; set "
                    "model.dtype: bfloat16, a shorter prompt.max_tokens, or fewer layers"
                ) from error
            self.halved = True
        # Outside of the handler: the error's traceback holds the tensors that were too many.
        torch.cuda.empty_cache()
        return [part for half in halves for part in self._forward(forward, half)]

    def _keep(self, parts: Sequence[tuple[Tensor, Tensor | None]], shard: Sequence[Batch]) -> None:
        import torch

        rows = [row for batch in shard for row in batch.rows]
        # One copy off the device per shard: the only place where the loop waits for it.
        states = torch.cat([states for states, _ in parts], dim=1).cpu()
        chances = [log_prob for _, log_prob in parts if log_prob is not None]
        self._check(states, rows)
        self.bank.add(
            [self.stage.keys[row] for row in rows], states, torch.cat(chances).cpu() if chances else None, self.how
        )

    def _check(self, states: Tensor, rows: Sequence[int]) -> None:
        finite = states.isfinite().all(-1)
        if bool(finite.all()):
            return
        layer, row = (~finite).nonzero()[0].tolist()
        remedy = "use model.dtype: float32" if self.card.dtype != "float32" else "its weights may be damaged"
        raise NumericalError(
            f"{self.card.name}: states are not finite at layer {self.bank.layers[layer]} for example "
            f'"{self.stage.names[rows[row]]}" (dtype {self.card.dtype}); {remedy}'
        )


class _BedRun(_Run):
    how = "states given by the test bed"

    def __init__(self, bed: Bed, card: ModelCard, stage: Stage, bank: Bank):
        super().__init__(card, stage, bank)
        self.bed = bed

    def start(self, left: Sequence[int]) -> tuple[Forward, Layout]:
        return BedForward(self.bed), batches.lay_out(self.stage, self.card, False, token_budget())


class _ModelRun(_Run):
    def start(self, left: Sequence[int]) -> tuple[Forward, Layout]:
        from harness.activations.forward import WAYS
        from harness.models.load import load

        network = load(self.card)
        way = self._way(network)
        packed = way in ("grafted", "packed")
        return WAYS[way](network), batches.lay_out(self.stage, self.card, packed, token_budget(), way == "grafted")

    def _way(self, network: Network) -> Way:
        """The way to forward, examined once for a model, a machine's libraries and a set of layers."""
        import torch
        import transformers

        from harness import artifacts
        from harness.activations.selfcheck import TOLERANCE, Verdict, examine

        ways = _ways(self.card)
        groups, stem = self._sample()
        if not stem:
            ways = tuple(way for way in ways if way != "grafted")
        reach = max(len(row.tokens) for row in self.stage.rows)
        if self.card.shape.window is not None and reach > self.card.shape.window:
            # A tree mask of ours has no window in it.
            ways = tuple(way for way in ways if way not in ("grafted", "packed"))
        key = content_key(
            self.bank.key, ways, str(torch.__version__), transformers.__version__, network.device.type, TOLERANCE
        )
        store = self.bank.store
        verdict = artifacts.read(store, "selfchecks", key, lambda stored: msgspec.convert(stored.meta, Verdict))
        if verdict is None:
            verdict = examine(network, groups, ways, self.bank.layers, self.bank.log_prob_wanted, stem)
            with store.write("selfchecks", key, msgspec.to_builtins(verdict)):
                pass
        self.how = verdict.how
        self.measured = verdict.measured
        return verdict.way

    def _sample(self) -> tuple[list[list[Row]], int]:
        """The rows of two examples, one of middling size and a long one, so that padding is tried as well; and the
        length of their stem."""
        laid_out = batches.lay_out(self.stage, self.card, True, token_budget(), grafted=True)
        groups = [group for shard in laid_out.shards for batch in shard for group in batch.groups]
        frequent = Counter(batches.stem_tokens(group, self.stage) for group in groups if group.stem).most_common(1)
        if frequent:
            groups = [group for group in groups if batches.stem_tokens(group, self.stage) == frequent[0][0]]
        groups.sort(key=lambda group: -group.size)
        fit = [group for group in groups if group.size <= _LONGEST_CHECKED] or groups[-1:]
        chosen = [fit[0], fit[len(fit) // 2]]
        return [[self.stage.rows[row] for row in group.rows] for group in chosen], fit[0].stem


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
