"""What a self-check proves is proved of the rows at hand: each row has the states of a single plain pass, whatever its company."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.activations import batches, sample
from harness.activations.extract import Extracted, extract
from harness.activations.rows import RowTable
from harness.contracts import PromptTable
from harness.machine.resources import Resources
from harness.models.lengths import lengths, window
from harness.models.load import load
from harness.models.questions import Row
from harness.models.unchanged import unchanged
from harness.spec import Activations
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.test_activations import VOCAB, folder_of, spec_of

SMALL: dict[str, Any] = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ENCODER = SMALL | {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 258,
}  # fmt: skip
LLAMA = ENCODER | {"num_key_value_heads": 2}
NLLB = SMALL | {
    "d_model": 32, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 256, "decoder_start_token_id": 0,
    "num_experts": 4, "encoder_sparse_step": 2, "decoder_sparse_step": 2, "moe_eval_capacity_token_fraction": 0.1,
}  # fmt: skip
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0}
LOCAL = [[["global", "local"], 2]]
LLAMA4 = LLAMA | {"intermediate_size_mlp": 48, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}


def config_of(name: str) -> Any:
    import transformers as t

    made: dict[str, Callable[[], Any]] = {
        "longrope": lambda: t.Phi3Config(**LLAMA, original_max_position_embeddings=40, rope_scaling=LONGROPE),
        "dynamic": lambda: t.LlamaConfig(**(LLAMA | {"max_position_embeddings": 40}), rope_scaling=DYNAMIC),
        "neo": lambda: t.GPTNeoConfig(
            **SMALL, hidden_size=32, num_layers=4, num_heads=4, attention_types=LOCAL, window_size=20, max_position_embeddings=256
        ),
        "mistral": lambda: t.MistralConfig(**LLAMA, sliding_window=20),
        "gemma3": lambda: t.Gemma3TextConfig(**LLAMA, head_dim=8, sliding_window=20),
        "llama4": lambda: t.Llama4TextConfig(**LLAMA4, attention_chunk_size=20),
        "mpt": lambda: t.MptConfig(**SMALL, d_model=32, n_layers=3, n_heads=4, max_seq_len=256),
        "longformer": lambda: t.LongformerConfig(**ENCODER, attention_window=[8, 8, 16]),
        "bigbird": lambda: t.BigBirdConfig(**ENCODER, block_size=8, num_random_blocks=1),
        "nllb-moe": lambda: t.NllbMoeConfig(**NLLB),
    }  # fmt: skip
    return made[name]()


PACKED, WHOLE, EQUAL, SINGLE = "packed", "whole prompts, padded", "whole prompts, of one length", "one prompt at a time"
AUTO = {"longformer": "AutoModel", "bigbird": "AutoModel", "nllb-moe": "AutoModelForSeq2SeqLM"}

NETWORKS = [
    # network, way for texts on both sides of its numbers, whether a row's states depend on its company
    ("longrope", PACKED, True),
    ("dynamic", EQUAL, True),
    ("bigbird", EQUAL, True),
    ("nllb-moe", SINGLE, True),
    ("neo", WHOLE, False),
    ("mistral", WHOLE, False),
    ("gemma3", WHOLE, False),
    ("llama4", WHOLE, False),
    ("longformer", WHOLE, False),
    ("mpt", WHOLE, False),
]

MIXED = (10, 12, 17, 18, 19, 22, 30, 36, 37, 38, 39, 40, 41, 60, 61, 90, 100, 37, 38, 10, 60)
SHORT, LONG = (8, 9, 10, 11, 12, 10), (50, 52, 60, 70, 90, 100, 55, 60)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = folder_of(
                config_of(name), AUTO.get(name, "AutoModelForCausalLM"), tmp_path_factory.mktemp(name)
            )
        return made[name]

    return folder


def table_of(sizes: Sequence[int], stem: int = 0) -> PromptTable:
    """Contrast pairs of texts of so many tokens, with answers of one and two tokens and a word after them."""
    lines = []
    for number, size in enumerate(sizes):
        text = [4] * stem + np.random.default_rng([size, number]).integers(3, VOCAB, size - stem).tolist()
        for answer, tokens in enumerate(([5], [6, 7])):
            row = {"pair": number, "example": f"e{number}", "template": "main", "answer": answer}
            row |= {"tokens": [1, *text, *tokens, 8], "answer_start": 1 + size, "answer_end": 1 + size + len(tokens)}
            lines.append(row)
    frame = pl.DataFrame(lines, schema_overrides={"tokens": pl.List(pl.UInt32), "pair": pl.UInt32})
    return PromptTable(frame, (), ("main",))


class Plain:
    """Single plain passes, each through a copy of the network as it was loaded."""

    def __init__(self, folder: Path, name: str):
        import transformers

        self.auto = AUTO.get(name, "AutoModelForCausalLM")
        self.model = getattr(transformers, self.auto).from_pretrained(folder, dtype=torch.float32).eval()

    def __call__(self, tokens: list[int], start: int, end: int) -> tuple[list[torch.Tensor], float | None]:
        """The last token's states, less the last layer's, and log P(answer)."""
        model, first = copy.deepcopy(self.model), 0
        with torch.no_grad():
            if self.auto == "AutoModelForSeq2SeqLM":
                first = start
                ids, decoder = torch.tensor([tokens[:start]]), torch.tensor([[0, *tokens[start:]]])
                out = model(ids, decoder_input_ids=decoder, output_hidden_states=True)
                hidden, predicted = out.decoder_hidden_states, start
            else:
                out = model(torch.tensor([tokens]), output_hidden_states=True)
                hidden, predicted = out.hidden_states, 1
        # Some networks pad a text to whole blocks: the last state is not that of the last token.
        last = len(tokens) - 1 if not first else len(tokens) - first
        states = [layer[0, last] for layer in hidden[:-1]]
        if self.auto == "AutoModel":
            return states, None
        chances = out.logits[0].double().log_softmax(-1)
        return states, float(sum(chances[place - predicted, tokens[place]] for place in range(start, end)))


def apart(found: Extracted, table: PromptTable, plain: Plain) -> tuple[float, float]:
    """Largest relative difference of a state, and largest difference of log-odds."""
    pairs = found.pairs(table, range(table.frame["pair"].n_unique()), found._banks.layers[:-1])
    states, odds, chances = 0.0, 0.0, []
    for line in table.frame.iter_rows(named=True):
        own, chance = plain(line["tokens"], line["answer_start"], line["answer_end"])
        mine = pairs.states[:, line["pair"], line["answer"]]
        states = max(states, *(float((a - b).norm() / b.norm()) for a, b in zip(mine, own, strict=True)))
        chances.append(chance)
        if chance is not None and line["answer"]:
            assert pairs.log_odds is not None
            odds = max(odds, abs(chances[-1] - chances[-2] - float(pairs.log_odds[line["pair"]])))
    return states, odds


def of(folder: Path, table: PromptTable, store: Path, budget: int | None = None) -> Extracted:
    subject = LanguageModel(spec_of(folder)[1])
    return extract(subject, [table], Activations(), Store(store), resources=Resources(tokens_per_pass=budget))


@pytest.mark.parametrize("budget", [200, 16384])
@pytest.mark.parametrize(("name", "way", "company"), NETWORKS)
def test_every_row_has_the_states_of_a_single_plain_pass(
    name: str, way: str, company: bool, budget: int, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """In a fresh store, and in one in which shorter or longer prompts were forwarded before."""
    plain = Plain(folders(name), name)
    for before in ((), SHORT, LONG):
        store = tmp_path / str(len(before))
        if before:
            of(folders(name), table_of(before), store, budget)
        table = table_of(MIXED, stem=6)
        found = of(folders(name), table, store, budget)
        assert found.notes[0].startswith(way), found.notes
        states, odds = apart(found, table, plain)
        assert states < 5e-5
        assert odds < 5e-5


@pytest.mark.parametrize(("name", "way", "company"), [network for network in NETWORKS if network[0] != "nllb-moe"])
def test_company_changes_the_states_of_some_networks(
    name: str, way: str, company: bool, folders: Callable[[str], Path]
) -> None:
    """The control: a row in one plain batch with a longer one."""
    plain = Plain(folders(name), name)
    short, long = (table_of([size]).frame["tokens"].to_list()[0] for size in (20, 90))
    padded = torch.tensor([[*short, *[0] * (len(long) - len(short))], long])
    mask = (torch.arange(padded.shape[1])[None] < torch.tensor([[len(short)], [len(long)]])).long()
    with torch.no_grad():
        out = copy.deepcopy(plain.model)(padded, attention_mask=mask, output_hidden_states=True)
    alone = plain(short, 21, 22)[0]
    moved = max(float((out.hidden_states[n][0, len(short) - 1] - alone[n]).norm() / alone[n].norm()) for n in range(3))
    assert (moved > 1e-3) == company


def test_a_proof_is_not_kept_for_other_rows(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """Short prompts are no longer than the window, and packed; what holds of them is not said of long ones."""
    short, long = table_of((6, 7, 8, 9)), table_of(LONG)
    assert of(folders("mpt"), short, tmp_path).notes == of(folders("mpt"), short, tmp_path / "other").notes
    first = of(folders("neo"), short, tmp_path)
    assert first.notes[0].startswith(PACKED)
    second = of(folders("neo"), long, tmp_path)
    assert second.notes[0].startswith(WHOLE)
    assert "53 to 104 tokens" in second.remarks[0]
    assert not list(tmp_path.glob("selfchecks")), "a verdict is made in each run"


def test_texts_on_two_sides_of_a_number_are_packed_apart(folders: Callable[[str], Path], tmp_path: Path) -> None:
    found = of(folders("longrope"), table_of(MIXED), tmp_path)
    assert "up to and beyond 40 tokens apart" in found.notes[0]
    assert found.done.tokens < 0.7 * found.done.tokens_unshared
    # The control: on one side alone, nothing is kept apart.
    for side in (SHORT, LONG):
        assert "apart" not in of(folders("longrope"), table_of(side), tmp_path).notes[0]


def test_a_batch_that_was_tried_is_not_forwarded_again(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.activations.forward import Packed

    seen: list[int] = []
    original = Packed.__call__

    def counted(self: Packed, groups: Any, *rest: Any) -> Any:
        seen.append(sum(map(len, groups)))
        return original(self, groups, *rest)

    monkeypatch.setattr(Packed, "__call__", counted)
    found = of(folders("longrope"), table_of(SHORT), tmp_path, 16384)
    # One batch, which is also the fullest, and one more mixed than any.
    assert found.done.rows == max(seen) == 12
    assert seen.count(12) == 1


# ---------------------------------------------------------------- a pass leaves no trace


@pytest.mark.parametrize("name", ["dynamic", "bigbird", "longrope"])
def test_a_pass_does_not_depend_on_those_before_it(name: str, folders: Callable[[str], Path]) -> None:
    plain = Plain(folders(name), name)
    texts = [torch.tensor([table_of([size]).frame["tokens"].to_list()[0]]) for size in (90, 60, 20)]

    def states(model: Any, text: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(text, output_hidden_states=True).hidden_states[2][0, text.shape[1] - 1].clone()

    fresh = [states(copy.deepcopy(plain.model), text) for text in texts]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 1), (2, 0, 1)):
        model = copy.deepcopy(plain.model)
        for number in order:
            with unchanged(model):
                found = states(model, texts[number])
            assert torch.equal(found, fresh[number])
    if name != "longrope":  # it chooses anew in each pass
        model = copy.deepcopy(plain.model)
        orders = {"dynamic": (0, 1), "bigbird": (2, 1)}
        *_, last = (states(model, texts[number]) for number in orders[name])
        assert float((last - fresh[1]).norm() / fresh[1].norm()) > 1e-4  # the control


def test_what_a_pass_changes_is_put_back_when_it_fails() -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.inner = 0, torch.nn.Linear(2, 2)
            self.register_buffer("frequencies", torch.ones(2), persistent=False)

        def forward(self) -> None:
            self.seen += 1
            self.more = 1
            self.frequencies.mul_(2)
            self.inner = torch.nn.Linear(2, 2)
            raise RuntimeError("stopped")

    model = Counting()
    inner, buffer = model.inner, model.frequencies
    with pytest.raises(RuntimeError, match="stopped"), unchanged(model):
        model()
    assert (model.seen, model.inner, hasattr(model, "more")) == (0, inner, False)
    assert model.frequencies is buffer
    assert buffer.tolist() == [1, 1]


def test_networks_are_read_as_they_were_loaded(folders: Callable[[str], Path]) -> None:
    from harness.activations.forward import Single

    network = load(spec_of(folders("dynamic"))[1])
    rows = [Row(tuple(table_of([size]).frame["tokens"].to_list()[0]), size + 1, size + 2, "last") for size in (90, 60)]
    single = Single(network)
    after = single([rows], [2], True)
    alone = single([rows[1:]], [2], True)
    assert torch.equal(after.states[:, 1], alone.states[:, 0])


# ---------------------------------------------------------------- numbers of a configuration


@pytest.mark.parametrize(
    ("name", "expected", "bound"),
    [
        ("longrope", {40, 258}, None),
        ("dynamic", {40}, None),
        ("neo", {20, 256}, 20),
        ("mistral", {20, 258}, 20),
        ("gemma3", {20, 258}, 20),
        ("llama4", {20, 258}, 20),
        ("mpt", {256}, None),
        ("longformer", {8, 16, 258}, 8),
        ("bigbird", {8, 258}, None),
    ],
)
def test_numbers_that_may_be_lengths_are_found_under_any_name(
    name: str, expected: set[int], bound: int | None, folders: Callable[[str], Path]
) -> None:
    config = config_of(name).to_dict()
    assert expected <= set(lengths(config))
    assert window(config) == bound
    # The control: widths, token ids and the vocabulary are none.
    assert not {32, 48, VOCAB} & set(lengths(config))
    assert expected <= set(lengths({"model_type": "several senses", "text_config": config}))


def test_a_window_that_is_not_used_bounds_nothing() -> None:
    assert window({"sliding_window": 8, "use_sliding_window": False}) is None
    assert window({"sliding_window": 8, "max_window_layers": 4, "use_sliding_window": True}) == 8
    assert window({"sliding_window": None}) is None


# ---------------------------------------------------------------- the sample


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=40),
    numbers=st.lists(st.integers(4, 60), max_size=4, unique=True),
    budget=st.sampled_from([1, 60, 200, 10_000]),
)
def test_a_sample_has_the_extremes(sizes: list[int], numbers: list[int], budget: int) -> None:
    rows = tuple(Row(tuple(range(size)), size - 1, size, "last") for size in sizes)
    names = tuple(f"{number:03}" for number in range(len(rows)))
    table = RowTable(rows, names, tuple((number,) for number in range(len(rows))), names, ())
    extents = sample.extents(table, False)
    cuts = sample.cuts(extents, numbers)
    assert cuts == tuple(sorted(number for number in numbers if min(sizes) <= number < max(sizes)))
    for kinds in (extents, sample.sides(extents, cuts), sample.sides(extents, ())):
        layout = batches.lay_out(table, budget, kinds=kinds)
        every = [batch for shard in layout.shards for batch in shard]
        assert sorted(row for batch in every for row in batch.rows) == list(range(len(rows)))
        assert all(len({kinds[row] for row in batch.rows}) == 1 for batch in every)
        trials = sample.sample(layout, table, extents, kinds, cuts, budget)
        compared = {sizes[row] for trial in trials for row in trial.compared}
        assert {min(sizes), max(sizes)} <= compared
        for cut in cuts:
            assert max(size for size in sizes if size <= cut) in compared
            assert min(size for size in sizes if size > cut) in compared
        for trial in trials:
            assert set(trial.compared) <= set(trial.batch.rows)
            assert len({kinds[row] for row in trial.batch.rows}) == 1
            groups = trial.batch.groups
            assert len(groups) == 1 or len(groups) * trial.batch.longest <= budget
        # The most unequal that may meet are in one batch.
        for kind in set(kinds):
            meet = [size for size, own in zip(sizes, kinds, strict=True) if own == kind and 2 * size <= budget]
            if meet and min(meet) < max(meet):
                mixed = [{sizes[row] for row in trial.batch.rows} for trial in trials]
                assert any({min(meet), max(meet)} <= one for one in mixed)
