"""Every site and position is what plain hooks on one prompt at a time give, in every way of forwarding, and shares its pass with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import polars as pl
import pytest
import torch
from torch import Tensor

from harness.activations.extract import Extracted, extract, plan_extraction
from harness.activations.forward import Single
from harness.activations.rows import row_table
from harness.contracts import PromptTable
from harness.contracts.data import STRETCH
from harness.errors import DataError, UsageError
from harness.models.load import load
from harness.spec import Activations, Stretch
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.test_activations import AUTO, config_of, folder_of, spec_of, table_of


class Truth(NamedTuple):
    """Where a family's own code has each site, by the names that it gives to its parts."""

    blocks: str
    attention: str
    mlp: str
    after_attention: str
    """Name, and `in` or `out`; empty where attention and MLP work side by side."""


LLAMA = Truth("model.layers", "self_attn.o_proj", "mlp.down_proj", "post_attention_layernorm in")
TRUTH = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": LLAMA._replace(after_attention="pre_feedforward_layernorm in"),
    "gpt2": Truth("transformer.h", "attn.c_proj", "mlp.c_proj", "ln_2 in"),
    "gpt-neox": Truth("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", ""),
    "opt": Truth("model.decoder.layers", "self_attn.out_proj", "fc2", "final_layer_norm in"),
    "bert": Truth("encoder.layer", "attention.output.dense", "output.dense", "attention.output.LayerNorm out"),
    "t5": Truth("decoder.block", "layer.0.SelfAttention.o", "layer.2.DenseReluDense.wo", "layer.2.layer_norm in"),
}
SITES: tuple[Any, ...] = (
    "residual", "before_block", "after_attention", "attention", "mlp", "neurons", {"head": 0}, {"head": 3},
)  # fmt: skip
HEADS = 4


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            auto = AUTO.get(family, "AutoModelForCausalLM")
            made[family] = folder_of(config_of(family), auto, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


class Plain:
    """One prompt at a time through transformers, with a hook wherever a family's own code has a site."""

    def __init__(self, folder: Path, family: str):
        import transformers

        auto = getattr(transformers, AUTO.get(family, "AutoModelForCausalLM"))
        self.model = auto.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        self.family, self.truth = family, TRUTH[family]

    def states(self, line: dict[str, Any], site: Any) -> list[Tensor]:
        """All states of one prompt at a site, (token, width), for each block."""
        truth, head = self.truth, site["head"] if isinstance(site, dict) else None
        name, side = {
            "residual": ("", "out"),
            "before_block": ("", "in"),
            "attention": (truth.attention, "out"),
            "mlp": (truth.mlp, "out"),
            "neurons": (truth.mlp, "in"),
            "after_attention": (truth.after_attention or " ").split(" "),
        }.get(site if head is None else "", (truth.attention, "in"))
        found: list[Tensor] = []

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            states = output if side == "out" else (args[0] if args else kwargs["hidden_states"])
            states = states if isinstance(states, Tensor) else states[0]
            found.append(states.reshape(-1, states.shape[-1]))

        blocks = self.model.get_submodule(truth.blocks)
        hooks = [block.get_submodule(name).register_forward_hook(keep, with_kwargs=True) for block in blocks]
        tokens, start = line["tokens"], line["answer_start"]
        try:
            if self.family == "t5":
                self.model(torch.tensor([tokens[:start]]), decoder_input_ids=torch.tensor([[0, *tokens[start:]]]))
                # What the encoder reads has no state here.
                blank = torch.full((start - 1, 1), torch.nan)
                found = [torch.cat([blank.expand(-1, own.shape[1]), own]) for own in found]
            else:
                self.model(torch.tensor([tokens]))
        finally:
            for hook in hooks:
                hook.remove()
        if head is not None:
            found = [own.chunk(HEADS, dim=-1)[head] for own in found]
        return found


def stretched(table: PromptTable, runs: Callable[[dict[str, Any]], list[int]]) -> PromptTable:
    """The same prompts with the tokens that a stretch names."""
    ends = [runs(line) for line in table.frame.iter_rows(named=True)]
    return PromptTable(table.frame.with_columns(pl.Series(STRETCH, ends, dtype=pl.List(pl.Int64))), (), ("main",))


def tokens_read(line: dict[str, Any], wanted: Activations) -> list[int]:
    """The tokens that a position means, in its own words."""
    count, position = len(line["tokens"]), wanted.position
    if isinstance(position, str):
        return {"last": [count - 1], "answer": [line["answer_end"] - 1]}.get(position, list(range(count)))
    ends = line[STRETCH]
    inside = [
        token for token in range(count) if any(a <= token < b for a, b in zip(ends[::2], ends[1::2], strict=True))
    ]
    inside = inside[: len(inside) - position.drop_last]
    return inside[-1:] if position.pool == "last" else inside


def pooled(states: Tensor, wanted: Activations) -> Tensor:
    position = wanted.position
    pool = position if isinstance(position, str) else position.pool
    return states.amax(0) if pool == "max" else states.mean(0)


def apart(found: Extracted, table: PromptTable, wanted: Activations, plain: Plain, layers: Sequence[int]) -> float:
    """Largest relative difference of any row at any layer from the plain hooks."""
    states = found.pairs(table, range(table.frame["pair"].n_unique()), layers).states
    worst = 0.0
    for line in table.frame.iter_rows(named=True):
        own = plain.states(line, wanted.site)
        read = tokens_read(line, wanted)
        if plain.family == "t5" and isinstance(wanted.position, str):
            # Means are over what the decoder reads.
            read = [token for token in read if token >= line["answer_start"]]
        for number, layer in enumerate(layers):
            theirs = pooled(own[layer - 1][read], wanted)
            mine = states[number, line["pair"], line["answer"]]
            worst = max(worst, float((mine - theirs).norm() / theirs.norm()))
    return worst


@pytest.mark.parametrize("family", TRUTH)
def test_every_site_is_what_plain_hooks_give(family: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    _, card = spec_of(folders(family))
    subject, plain = LanguageModel(card), Plain(folders(family), family)
    sites = [site for site in SITES if site != "after_attention" or TRUTH[family].after_attention]
    wanted = [Activations(site=site, read=read) for site in sites for read in ("last", "mean", "max")]
    tables = [PromptTable(table_of(5).frame, (), ("main",)) for _ in wanted]
    found = extract(subject, tables, wanted, Store(tmp_path))
    layers = range(1, card.layers)
    for table, own in zip(tables, wanted, strict=True):
        assert apart(found, table, own, plain, layers) < 1e-5, own
    # The control: neighbouring blocks, and the site next door, are something else.
    one, other = (found.pairs(tables[0], range(5), [layer]).states for layer in (1, 2))
    assert (one - other).norm() / one.norm() > 1e-2
    if "after_attention" not in sites:
        with pytest.raises(
            UsageError, match=r"activations\.site: after_attention: .* no after_attention .* it has residual"
        ):
            extract(subject, tables[:1], Activations(site="after_attention"), Store(tmp_path))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox"])
@pytest.mark.parametrize("stem", [0, 6])
def test_packed_and_whole_prompts_have_the_same_states_at_every_site(
    family: str, stem: int, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = Plain(folders(family), family)
    for packing in ("auto", "never"):
        _, card = spec_of(folders(family), packing=packing)
        runs = stretched(table_of(20, stem=stem), lambda line: [3, 5, line["answer_start"], line["answer_end"] + 1])
        positions: list[Any] = ["last", "answer", *(Stretch(span="s", pool=pool) for pool in ("mean", "max", "last"))]
        positions.append(Stretch(span="s", drop_last=1))
        wanted = [
            Activations(read=read, site=site) for read in positions for site in ("attention", "neurons", {"head": 2})
        ]
        tables = [PromptTable(runs.frame, (), ("main",)) for _ in wanted]
        found = extract(LanguageModel(card), tables, wanted, Store(tmp_path / packing))
        assert ("packed" in found.notes[0]) == (packing == "auto"), found.notes
        for table, own in zip(tables, wanted, strict=True):
            assert apart(found, table, own, plain, [1, 3]) < 2e-5, own


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_is_pooled_of_whole_texts_leaves_their_stem(
    family: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """The control is a mean over some tokens of the stem, whose own states are needed."""
    _, card = spec_of(folders(family))
    subject, plain, prompts = LanguageModel(card), Plain(folders(family), family), table_of(20, stem=6)
    last = plan_extraction(subject, [prompts], Activations(), Store(tmp_path)).whole
    positions: list[Any] = ["mean", "max", "last"]
    wanted = [Activations(read=read, site=site) for read in positions for site in ("residual", "mlp", {"head": 2})]
    tables = [PromptTable(prompts.frame, (), ("main",)) for _ in wanted]
    found = extract(subject, tables, wanted, Store(tmp_path / "all"))
    assert "within and between examples" in found.notes[0]
    assert last is not None and found.done.tokens == last.tokens < last.tokens_unshared
    for table, own in zip(tables, wanted, strict=True):
        assert apart(found, table, own, plain, [1, 3]) < 2e-5, own
    # One after the other they are the same: what a stem adds is found for the sites that are asked for.
    store = Store(tmp_path / "each")
    for table, own in zip(tables, wanted, strict=True):
        assert apart(extract(subject, [table], own, store), table, own, plain, [1, 3]) < 2e-5, own
    some = stretched(prompts, lambda line: [1, 5])
    control = plan_extraction(subject, [some], Activations(read=Stretch(span="s")), Store(tmp_path)).whole
    assert control is not None and control.tokens > last.tokens


def test_rows_of_one_text_are_found_by_one_pass_of_it(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """One prompt at a time, as the self-check and the noise floor have it, whatever is wanted and in whatever order."""
    network, prompts = load(spec_of(folders("llama"))[1]), table_of(3)
    wanted = [Activations(read=read, site=site) for read in ("max", "last", "mean") for site in ("mlp", "residual")]
    rows = list(row_table([PromptTable(prompts.frame, (), ("main",)) for _ in wanted], wanted).rows)[::-1]
    with patch.object(network, "read", wraps=network.read) as read:
        together = Single(network)([rows[:7], rows[7:]], [0, 1, 3], True)
    assert read.call_count == 6 and len(rows) == 36
    each = [Single(network)([[row]], [0, 1, 3], True) for row in rows]
    for row, own, other in zip(rows, together.apart(rows), each, strict=True):
        assert torch.equal(own.by_site[row.site], other.by_site[row.site])
        assert torch.equal(own.log_prob, other.log_prob)  # type: ignore[arg-type]


def test_what_is_read_of_the_same_prompts_shares_their_passes(folders: Callable[[str], Path], tmp_path: Path) -> None:
    for packing in ("auto", "never"):
        _, card = spec_of(folders("llama"), packing=packing)
        one, subject = table_of(12), LanguageModel(card)
        alone = plan_extraction(subject, [one], Activations(), Store(tmp_path / "a")).whole
        wanted = [Activations(site=site, read=read) for site in SITES for read in ("last", "answer", "max")]
        tables = [PromptTable(one.frame, (), ("main",)) for _ in wanted]
        together = plan_extraction(subject, tables, wanted, Store(tmp_path / "a"))
        assert alone is not None and together.whole is not None
        assert (together.whole.tokens, together.whole.tokens_unshared) == (alone.tokens, alone.tokens_unshared)
        assert together.whole.passes == alone.passes
        # Bytes: three positions of four blocks' outputs and three blocks' sites, and of the MLP's and the heads' widths.
        widths = 32 * 4 + 4 * 32 * 3 + 48 * 3 + 2 * 8 * 3
        assert together.whole.stored_bytes == 24 * 3 * widths * 4
        found = extract(subject, tables, wanted, store := Store(tmp_path / packing))
        assert found.done.tokens == alone.tokens
        assert extract(subject, tables[::-1], wanted[::-1], store).done.rows == 0
        stored = sum(path.stat().st_size for path in (tmp_path / packing).rglob("states.safetensors"))
        assert stored > together.whole.stored_bytes * 0.5


def test_what_cannot_be_read_is_said_with_its_key(folders: Callable[[str], Path], tmp_path: Path) -> None:
    _, card = spec_of(folders("llama"))
    subject, table, store = LanguageModel(card), table_of(3), Store(tmp_path)
    for wanted, said in (
        (Activations(site={"head": 4}), r"activations\.site: head:4: .*no head 4; .* heads 0 to 3"),
        (
            Activations(site="mlp", layers=(0,)),
            r"activations\.layers: layer 0 is the embeddings, in which there is no mlp",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            extract(subject, [table], wanted, store)
    short = stretched(table, lambda line: [0, 2])
    with pytest.raises(
        DataError, match=r'activations\.read: the span s has no token without the last 2 .* example "e0"'
    ):
        extract(subject, [short], Activations(read=Stretch(span="s", drop_last=2)), store)
    assert extract(subject, [short], Activations(read=Stretch(span="s", drop_last=1)), store).done.rows == 6
