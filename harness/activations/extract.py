"""From prompt tables to states: forward what is not stored yet, and answer from the store.

    tables ──▶ rows ──▶ layout (all rows) ──▶ shards, less what is stored ──▶ forward ──▶ bank

The layout is made from all rows of the stage, so that a run which was stopped goes on with the very batches that it would
have had, and gives the same bytes. Of several processes, one decides how rows are forwarded and which are missing, and all
claim shards of the same layout: who forwards a shard makes no difference to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness import stopping
from harness.activations import batches
from harness.activations.bank import Bank
from harness.activations.batches import Batch, Cost
from harness.activations.bed_network import BedForward, describe_bed
from harness.activations.layers import resolve
from harness.activations.rows import Row, Stage, stage_of
from harness.code_version import code_version
from harness.contracts import Bed, Pairs, PromptTable
from harness.errors import HarnessError, NumericalError, UsageError
from harness.models.card import ModelCard
from harness.resources import Resources
from harness.spec import Activations, Model
from harness.store import Store, content_key
from harness.team import Alone, Job

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.activations.forward import Forward, Way
    from harness.activations.selfcheck import Verdict
    from harness.models.network import Network

Progress = Callable[[int, int], None]
"""Called with the tokens forwarded so far and the tokens to forward in all."""

Begin = Callable[[dict[str, Any]], Job]
"""Opens a job for all processes; the orders are the same for each."""

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
    card: ModelCard,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    log_odds: bool = True,
    budget: int | None = None,
) -> ExtractionPlan:
    """What `extract` would do, without loading the network or importing torch."""
    stage, bank, layers = _prepare(card, tables, activations, store, log_odds)
    packed = "packed" in _ways(card)
    layout = batches.lay_out(stage, card, packed, budget or token_budget(), grafted=packed)
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
    resources: Resources | None = None,
    begin: Begin | None = None,
) -> Extracted:
    """The states of all tables; what is not stored is forwarded, and the network is loaded only for that.

    `card` is the model's; a bed needs none. `log_odds` asks for the answers' log-probabilities too. `begin` shares the work
    with other processes, each of which calls `assist`. Raises NumericalError for states that are not finite, HarnessError
    where the model cannot be loaded or does not fit.
    """
    resources = resources or Resources()
    card = _card(model, card)
    stage, bank, _ = _prepare(card, tables, activations, store, log_odds)
    damaged = len(store.damaged)
    bank.verify(stage.keys)
    extracted = Extracted(stage, tables, bank)
    if len(store.damaged) > damaged:
        extracted.remarks = (f"{len(store.damaged) - damaged} stored files were damaged and made anew",)
    if len(bank.have(stage.keys)) < len(stage.keys):
        _run(model, card, stage, bank, resources).go(extracted, progress, begin)
    extracted.notes = bank.how(stage.keys)
    return extracted


def assist(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    job: Job,
    orders: dict[str, Any],
    resources: Resources,
    log_odds: bool = True,
) -> None:
    """Does this process's part of an extraction that another one leads."""
    card = _card(model, card)
    stage, bank, _ = _prepare(card, tables, activations, store, log_odds)
    _run(model, card, stage, bank, resources).take_part(job, msgspec.convert(orders, Orders))


def reading(
    model: Model | Bed,
    card: ModelCard | None,
    tables: Sequence[PromptTable],
    activations: Activations,
    store: Store,
    log_odds: bool = True,
) -> Extracted:
    """States that another process has stored. Raises StoreError when they do not come to be seen here."""
    stage, bank, _ = _prepare(_card(model, card), tables, activations, store, log_odds)
    bank.await_rows(stage.keys)
    return Extracted(stage, tables, bank)


def _card(model: Model | Bed, card: ModelCard | None) -> ModelCard:
    if isinstance(model, Bed):
        return describe_bed(model)
    assert card is not None, "a language model comes with its card"
    return card


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


class Orders(msgspec.Struct, frozen=True):
    """What one process decides for all, so that every one has the same batches."""

    way: str
    how: str
    """The way in words, as it is stored with the states."""
    budget: int
    """Tokens of a pass."""
    stored: str
    """Which rows are stored already: a bit for each, in hexadecimal."""
    longest_first: bool


class _Run:
    """One extraction: forwards what the bank lacks, shard by shard."""

    measured = ""

    def __init__(self, card: ModelCard, stage: Stage, bank: Bank, resources: Resources):
        self.card = card
        self.stage = stage
        self.bank = bank
        self.resources = resources
        self.budget = resources.tokens_per_pass or token_budget()
        self.halved = False
        self.too_many: int | None = None
        """Padded tokens of the smallest batch for which memory did not suffice."""

    def choose(self) -> Verdict:
        """The way to forward, for all processes."""
        raise NotImplementedError

    def forward(self, way: Way) -> Forward:
        """Gets ready to forward rows that way."""
        raise NotImplementedError

    def go(self, extracted: Extracted, progress: Progress | None, begin: Begin | None) -> None:
        """Leads the extraction, alone or with others."""
        stage, bank = self.stage, self.bank
        have = bank.have(stage.keys)
        stored = {number for number, key in enumerate(stage.keys) if key in have}
        verdict = self.choose()
        orders = Orders(verdict.way, verdict.how, self.budget, _as_bits(stored, len(stage.rows)), begin is not None)
        job = begin(msgspec.to_builtins(orders)) if begin else Alone()
        todo = [batch for shard in self._shards(orders) for batch in shard]
        extracted.tokens = batches.cost(todo, stage, self.card, 0).tokens
        extracted.forwarded = sum(len(batch.rows) for batch in todo)
        extracted.tokens_unshared = sum(len(stage.rows[row].tokens) for batch in todo for row in batch.rows)

        def tell(done: int) -> None:
            if progress:
                # What many begin with is forwarded by every process, and counted once.
                progress(min(done, extracted.tokens), extracted.tokens)

        said = self._work(job, orders, tell)
        bank.await_rows(stage.keys)
        if verdict.measured:
            extracted.remarks += (f"self-check, {verdict.measured}",)
        if any(one["halved"] for one in said):
            extracted.remarks += (
                "memory ran out on the device; batches were halved, so that states may differ by rounding from those of "
                f"whole batches (a pass of fewer tokens: --tokens-per-pass {self.budget // 2})",
            )

    def take_part(self, job: Job, orders: Orders) -> None:
        """Forwards some of the shards for the process that leads."""
        self._work(job, orders, lambda done: None)

    def _work(self, job: Job, orders: Orders, tell: Callable[[int], None]) -> list[dict[str, Any]]:
        shards = self._shards(orders)
        forward: Forward | None = None
        done = 0
        stems: set[tuple[int, ...]] = set()
        for number in stopping.whole(job.claims(len(shards))):
            # Not before there is something to do: loading a network takes memory and time.
            forward = forward or self.forward(orders.way)  # type: ignore[arg-type]
            parts = []
            for batch in shards[number]:
                parts += self._forward(forward, batch)
                stem = batches.stem_tokens(batch.groups[0], self.stage)
                done += batch.tokens + (0 if stem in stems else len(stem))
                stems.add(stem)
                tell(job.progress(done))
            self._keep(parts, shards[number], orders.how)
        return job.end({"done": done, "halved": self.halved}, tell)

    def _shards(self, orders: Orders) -> list[list[Batch]]:
        """What is left to forward. Where it is shared, the most tokens come first: what is begun last is then soon done, and
        nobody waits long."""
        stored = _from_bits(orders.stored)
        packed = orders.way in ("grafted", "packed")
        layout = batches.lay_out(self.stage, self.card, packed, orders.budget, orders.way == "grafted")
        left = [
            [rest for batch in shard if (rest := batches.without(batch, stored, self.stage)) is not None]
            for shard in layout.shards
        ]
        left = list(filter(None, left))
        if orders.longest_first:
            left.sort(key=lambda shard: -sum(batch.tokens for batch in shard))
        return left

    def _forward(self, forward: Forward, batch: Batch) -> list[tuple[Tensor, Tensor | None]]:
        """States of a batch, in parts where memory is short."""
        import torch

        padded = batch.longest * len(batch.rows)
        halves = _halves(batch)
        # What was too many once will be again; trying takes as long as a pass.
        if halves is None or self.too_many is None or padded < self.too_many:
            groups = [[self.stage.rows[row] for row in group.rows] for group in batch.groups]
            try:
                found = forward(groups, self.bank.layers, self.bank.log_prob_wanted, batch.stem)
                return [(found.states, found.log_prob)]
            except (RuntimeError, MemoryError) as error:
                if not _memory_ran_out(error):
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
            raise HarnessError(
                f"{self.card.name}: memory ran out with a single prompt of {batch.longest} tokens; set "
                "model.dtype: bfloat16, a shorter prompt.max_tokens, or fewer layers"
            ) from error
        if self.resources.deterministic:
            raise HarnessError(
                f"{self.card.name}: memory ran out with a batch of {batch.longest * len(batch.groups)} tokens, and with "
                f"--deterministic none is halved; set --tokens-per-pass {self.budget // 2}, in every run to be compared"
            ) from error

    def _keep(self, parts: Sequence[tuple[Tensor, Tensor | None]], shard: Sequence[Batch], how: str) -> None:
        import torch

        rows = [row for batch in shard for row in batch.rows]
        # One copy off the device per shard: the only place where the loop waits for it.
        states = torch.cat([states for states, _ in parts], dim=1).cpu()
        chances = [log_prob for _, log_prob in parts if log_prob is not None]
        self._check(states, rows)
        self.bank.add(
            [self.stage.keys[row] for row in rows], states, torch.cat(chances).cpu() if chances else None, how
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
    def __init__(self, bed: Bed, card: ModelCard, stage: Stage, bank: Bank, resources: Resources):
        super().__init__(card, stage, bank, resources)
        self.bed = bed

    def choose(self) -> Verdict:
        from harness.activations.selfcheck import Verdict

        return Verdict("whole", "states given by the test bed", "")

    def forward(self, way: Way) -> Forward:
        return BedForward(self.bed)


class _ModelRun(_Run):
    _network: Network | None = None

    def forward(self, way: Way) -> Forward:
        from harness.activations.forward import WAYS

        return WAYS[way](self._loaded())

    def _loaded(self) -> Network:
        if self._network is None:
            from harness.models.load import load

            self._network = load(self.card)
        return self._network

    def choose(self) -> Verdict:
        """Examined once for a model, a machine's libraries and a set of layers."""
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
        network = self._loaded()
        key = content_key(
            self.bank.key, ways, str(torch.__version__), transformers.__version__, network.device.type, TOLERANCE
        )
        store = self.bank.store
        verdict = artifacts.read(store, "selfchecks", key, lambda stored: msgspec.convert(stored.meta, Verdict))
        if verdict is None:
            verdict = examine(network, groups, ways, self.bank.layers, self.bank.log_prob_wanted, stem)
            with store.write("selfchecks", key, msgspec.to_builtins(verdict)):
                pass
        return verdict

    def _sample(self) -> tuple[list[list[Row]], int]:
        """The rows of two examples, one of middling size and a long one, so that padding is tried as well; and the
        length of their stem."""
        laid_out = batches.lay_out(self.stage, self.card, True, self.budget, grafted=True)
        groups = [group for shard in laid_out.shards for batch in shard for group in batch.groups]
        frequent = Counter(batches.stem_tokens(group, self.stage) for group in groups if group.stem).most_common(1)
        if frequent:
            groups = [group for group in groups if batches.stem_tokens(group, self.stage) == frequent[0][0]]
        groups.sort(key=lambda group: -group.size)
        fit = [group for group in groups if group.size <= _LONGEST_CHECKED] or groups[-1:]
        chosen = [fit[0], fit[len(fit) // 2]]
        return [[self.stage.rows[row] for row in group.rows] for group in chosen], fit[0].stem


def _run(model: Model | Bed, card: ModelCard, stage: Stage, bank: Bank, resources: Resources) -> _Run:
    if isinstance(model, Bed):
        return _BedRun(model, card, stage, bank, resources)
    return _ModelRun(card, stage, bank, resources)


def _as_bits(numbers: set[int], count: int) -> str:
    import numpy as np

    mask = np.zeros(count, dtype=bool)
    mask[list(numbers)] = True
    return np.packbits(mask).tobytes().hex()


def _from_bits(text: str) -> set[int]:
    import numpy as np

    return set(np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))).tolist())


def _memory_ran_out(error: Exception) -> bool:
    """Of a device or of the machine, in the several ways in which libraries say so."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error)


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
