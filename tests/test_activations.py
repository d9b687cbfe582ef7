"""Packed states are the model's own: every fast way is held against one prompt at a time through plain Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.activations import batches, trie
from harness.activations import extract as extraction
from harness.activations.extract import Extracted, extract, plan_extraction
from harness.activations.forward import Packed, Whole
from harness.activations.forwarding import ModelForwarding
from harness.activations.layers import resolve
from harness.activations.rows import row_table
from harness.activations.stems import stems
from harness.contracts import PromptTable
from harness.errors import HarnessError, NumericalError, UsageError
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.models.network import Network
from harness.models.questions import Row
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.formula import Formula
from harness.subjects.language_model import LanguageModel

VOCAB = 97
EVERYTHING = Activations()


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Notes on tiny models stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


# ---------------------------------------------------------------- trees of tokens

token_rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=8)


@given(token_rows)
@settings(max_examples=200, deadline=None)
def test_ancestors_are_exactly_prefixes(rows: list[list[int]]) -> None:
    pack = trie.pack(rows)
    place = np.arange(len(pack.tokens))
    sees = (place[None, :] <= place[:, None]) & (place[:, None] <= pack.last[None, :])
    beginnings = {tuple(row[: end + 1]) for row in rows for end in range(len(row))}
    assert len(pack.tokens) == len(beginnings) == trie.nodes(rows)
    for row, path in zip(rows, pack.paths, strict=True):
        assert pack.tokens[path].tolist() == row
        assert pack.positions[path].tolist() == list(range(len(row)))
        for depth, node in enumerate(path):
            assert np.flatnonzero(sees[node]).tolist() == path[: depth + 1].tolist()


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [[1, 2, 3], [1, 2, 4, 5], [1, 9], [7]]
    one, other = trie.pack(rows), trie.pack(rows[::-1])
    assert one.tokens.tolist() == other.tokens.tolist()
    assert [path.tolist() for path in one.paths] == [path.tolist() for path in other.paths[::-1]]


# ---------------------------------------------------------------- tiny models


def folder_of(config: Any, auto: str, place: Path, seed: int = 0) -> Path:
    """A model folder with random weights, larger than at initialisation so that attention matters."""
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, auto).from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.3)
    model.save_pretrained(place)
    vocabulary = {f"t{number}": number for number in range(VOCAB)}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    }
    (place / "tokenizer.json").write_text(json.dumps(tokenizer))
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return place


def config_of(family: str) -> Any:
    import transformers as t

    small: dict[str, Any] = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    llama = small | {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    gemma = llama | {"head_dim": 8}
    bert = {key: value for key, value in llama.items() if key != "num_key_value_heads"}
    t5 = small | {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4}
    t5["decoder_start_token_id"] = 0
    made: dict[str, Callable[[], Any]] = {
        "llama": lambda: t.LlamaConfig(**llama),
        "mistral": lambda: t.MistralConfig(**llama, sliding_window=None),
        "mistral-window": lambda: t.MistralConfig(**llama, sliding_window=6),
        "qwen2": lambda: t.Qwen2Config(**llama),
        "qwen3": lambda: t.Qwen3Config(**gemma),
        "gemma": lambda: t.GemmaConfig(**gemma),
        "gemma2": lambda: t.Gemma2Config(**gemma, sliding_window=32),
        "gemma3": lambda: t.Gemma3TextConfig(**gemma, sliding_window=32),
        "gpt2": lambda: t.GPT2Config(**small, n_embd=32, n_layer=3, n_head=4, n_positions=64),
        "gpt-neox": lambda: t.GPTNeoXConfig(**bert),
        "opt": lambda: t.OPTConfig(
            **small, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=64,
            word_embed_proj_dim=32,
        ),
        "bloom": lambda: t.BloomConfig(**small, hidden_size=32, n_layer=3, n_head=4),
        "bert": lambda: t.BertConfig(**bert),
        "roberta": lambda: t.RobertaConfig(**(bert | {"max_position_embeddings": 66})),
        "t5": lambda: t.T5Config(**t5),
    }  # fmt: skip
    return made[family]()


AUTO = {"bert": "AutoModel", "roberta": "AutoModel", "t5": "AutoModelForSeq2SeqLM"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            place = tmp_path_factory.mktemp(family)
            made[family] = folder_of(config_of(family), AUTO.get(family, "AutoModelForCausalLM"), place)
        return made[family]

    return folder


def table_of(examples: int, seed: int = 0, words: bool = False, start: int = 0, stem: int = 0) -> PromptTable:
    """Contrast pairs of random tokens: a shared text, answers of one and two tokens, and perhaps a word after them.
    All examples begin with the same `stem` tokens."""
    lines = []
    for number in range(start, start + examples):
        random = np.random.default_rng([seed, number])
        text = [4] * stem + random.integers(3, VOCAB, size=int(random.integers(4, 14))).tolist()
        for answer, tokens in enumerate(([5], [6, 7])):
            after = [8, 9 + number % 2] if words else [8]
            lines.append(
                {
                    "pair": number - start,
                    "example": f"e{number}",
                    "template": "main",
                    "answer": answer,
                    "tokens": [1, *text, *tokens, *after],
                    "answer_start": 1 + len(text),
                    "answer_end": 1 + len(text) + len(tokens),
                }
            )
    frame = pl.DataFrame(lines, schema_overrides={"tokens": pl.List(pl.UInt32), "pair": pl.UInt32})
    return PromptTable(frame, (), ("main",))


def spec_of(folder: Path, **options: Any) -> tuple[Model, ModelCard]:
    model = Model(id=str(folder), dtype="float32", **options)
    return model, describe(model, folder.parent)


def got(found: Extracted, table: PromptTable, layers: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    pairs = found.pairs(table, range(table.frame["pair"].n_unique()), layers)
    return pairs.states, pairs.log_odds


class Oracle:
    """One prompt at a time through the model's own forward pass, with output_hidden_states."""

    def __init__(self, folder: Path, auto: str = "AutoModelForCausalLM", side: str = "decoder"):
        import transformers

        model = getattr(transformers, auto).from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval().requires_grad_(False)
        self.side = side

    def row(self, tokens: Sequence[int], start: int, end: int, token: str = "last") -> tuple[list[Tensor], float]:
        """States at every layer (the last one *after* the final norm), and log P(answer)."""
        with torch.no_grad():
            if self.side == "two":
                return self._two(tokens, start, end, token)
            body = self.model.get_encoder() if self.side == "encoder" else self.model
            out = body(torch.tensor([list(tokens)]), output_hidden_states=True)
        hidden = [pick(layer[0], end, token) for layer in out.hidden_states]
        if "logits" not in out:
            return hidden, 0.0
        chances = out.logits[0].log_softmax(-1)
        return hidden, float(sum(chances[index - 1, tokens[index]] for index in range(start, end)))

    def _two(self, tokens: Sequence[int], start: int, end: int, token: str) -> tuple[list[Tensor], float]:
        answer = list(tokens[start:])
        ids, decoder = torch.tensor([list(tokens[:start])]), torch.tensor([[0, *answer]])
        out = self.model(ids, decoder_input_ids=decoder, output_hidden_states=True)
        hidden = [pick(layer[0, 1:], end - start, token) for layer in out.decoder_hidden_states]
        chances = out.logits[0].log_softmax(-1)
        return hidden, float(sum(chances[index, answer[index]] for index in range(end - start)))


def pick(states: Tensor, end: int, token: str) -> Tensor:
    return {"last": states[-1], "answer": states[end - 1], "mean": states.mean(0)}[token]


def final_norm(model: Any, family: str) -> Callable[[Tensor], Tensor]:
    """The model's own last normalisation; the identity for those that have none."""
    named = dict(model.named_modules())
    for name in ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm", "model.decoder.final_layer_norm"):
        if name in named:
            return named[name]
    if family == "t5":
        return named["decoder.final_layer_norm"]
    return lambda states: states


def compare(found: Extracted, table: PromptTable, oracle: Oracle, family: str, token: str, norm: Any) -> float:
    """Largest relative difference of any row at any layer; the last layer is compared after the final norm."""
    layers = found._banks.layers
    states, odds = got(found, table, layers)
    worst = 0.0
    for line in table.frame.iter_rows(named=True):
        hidden, chance = oracle.row(line["tokens"], line["answer_start"], line["answer_end"], token)
        for number, layer in enumerate(layers):
            mine, own = states[number, line["pair"], line["answer"]], hidden[layer]
            if layer == len(hidden) - 1:
                if token == "mean":
                    continue  # the norm of a mean is not the mean of norms
                mine = norm(mine)
            worst = max(worst, float((mine - own).norm() / own.norm()))
        if odds is not None:
            line["chance"] = chance
    return worst


PACKED = ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2", "gpt-neox", "opt"]


@pytest.mark.parametrize("family", [*PACKED, "bloom"])
def test_states_are_those_of_plain_prompts(family: str, folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders(family))
    tables = [table_of(9), table_of(9, words=True)]
    found = extract(LanguageModel(card), tables, EVERYTHING, Store())
    oracle = Oracle(folders(family))
    norm = final_norm(oracle.model, family)
    for table in tables:
        assert compare(found, table, oracle, family, "last", norm) < 1e-5
    if family in PACKED:
        assert found.notes[0].startswith("packed")
        assert "relative difference" in found.remarks[0]
        assert found.done.tokens < 0.6 * found.done.tokens_unshared
    else:
        assert found.notes[0].startswith("whole prompts")
        assert "not packed" in found.notes[0]
        assert found.done.tokens == found.done.tokens_unshared


@pytest.mark.parametrize("family", PACKED)
def test_what_examples_begin_with_is_forwarded_once(
    family: str, folders: Callable[[str], Path], own_store: Path
) -> None:
    _, card = spec_of(folders(family))
    table = table_of(10, stem=7)
    plan = plan_extraction(LanguageModel(card), [table], EVERYTHING, Store())
    found = extract(LanguageModel(card), [table], EVERYTHING, Store())
    oracle = Oracle(folders(family))
    assert compare(found, table, oracle, family, "last", final_norm(oracle.model, family)) < 1e-5
    assert "between examples" in found.notes[0]
    rows = rows_of(table)
    without = sum(trie.nodes([row.tokens for row in rows[pair : pair + 2]]) for pair in range(0, 20, 2))
    # The beginning-of-text token and the stem, once instead of ten times.
    assert found.done.tokens == plan.todo.tokens == without - 9 * 8
    packed = Packed(load(card))([rows], [0, 3], True)
    grafted = Packed(load(card))([rows], [0, 3], True, 8)
    assert apart(grafted.states, packed.states) < 1e-5
    torch.testing.assert_close(grafted.log_prob, packed.log_prob, atol=1e-4, rtol=0)
    # The control: the stem matters.
    other = [msgspec.structs.replace(row, tokens=(1, *[3] * 7, *row.tokens[8:])) for row in rows]
    assert apart(Packed(load(card))([other], [3], False, 8).states, packed.states[1:]) > 0.01


def test_a_plain_question_does_not_shorten_the_stem_of_the_same_with_worked_examples(
    folders: Callable[[str], Path], own_store: Path
) -> None:
    _, card = spec_of(folders("llama"))
    plain = table_of(12, stem=4)
    # Worked examples begin as questions do, with the same four tokens.
    worked = [4, 4, 4, 4, *np.random.default_rng(0).integers(10, VOCAB, size=20).tolist()]
    lines = [
        {**row, "tokens": [1, *worked, *row["tokens"][1:]]}
        | {place: row[place] + len(worked) for place in ("answer_start", "answer_end")}
        for row in plain.frame.iter_rows(named=True)
    ]
    shown = PromptTable(pl.DataFrame(lines, schema=plain.frame.schema), (), ("main",))
    found = extract(LanguageModel(card), [plain, shown], EVERYTHING, Store())
    oracle = Oracle(folders("llama"))
    for table in (plain, shown):
        assert compare(found, table, oracle, "llama", "last", final_norm(oracle.model, "llama")) < 1e-5
    distinct = trie.nodes([row.tokens for table in (plain, shown) for row in rows_of(table)])
    # What both ways of asking begin with is forwarded twice, and what few examples share by chance; the worked ones once.
    assert distinct + 5 <= found.done.tokens < distinct + 15


def test_stems_are_what_enough_examples_share() -> None:
    first, second = [1, 2, 3, 4, 5], [1, 2, 3, 4, 9, 9]
    found = stems([[*first, number] for number in range(10, 20)] + [[*second, number] for number in range(9)])
    assert found == [5] * 10 + [6] * 9
    assert stems([first] * 7) == [0] * 7  # too few
    # Ten go on by one token more, which costs ten tokens; the beginning once more would cost a hundred. By twelve it is worth it.
    long = list(range(1000, 1100))
    others = [[*long, number] for number in range(10)]
    for more, wanted in ((1, 100), (11, 100), (12, 112)):
        further = [[*long, *range(500, 500 + more), number] for number in range(10)]
        assert stems([*others, *further]) == [100] * 10 + [wanted] * 10
    assert stems([[1, 2, 3, number] for number in range(10)]) == [0] * 10  # too short


@pytest.mark.parametrize("family", [*PACKED, "bloom"])
def test_log_odds_are_sums_of_log_softmax(family: str, folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders(family))
    table = table_of(6)
    _, odds = got(extract(LanguageModel(card), [table], EVERYTHING, Store()), table, [3])
    oracle = Oracle(folders(family))
    lines = table.frame.iter_rows(named=True)
    chances = [oracle.row(line["tokens"], line["answer_start"], line["answer_end"])[1] for line in lines]
    own = torch.tensor(chances).reshape(-1, 2).diff(dim=1)[:, 0]
    assert odds is not None
    torch.testing.assert_close(odds, own, atol=2e-4, rtol=1e-5)
    assert own.std() > 0.1  # the comparison could fail


@pytest.mark.parametrize("token", ["answer", "mean"])
@pytest.mark.parametrize("family", ["llama", "bloom", "bert"])
def test_answer_and_mean(family: str, token: str, folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders(family))
    table = table_of(7, words=True)
    found = extract(LanguageModel(card), [table], Activations(token=token), Store())  # type: ignore[arg-type]
    oracle = Oracle(folders(family), AUTO.get(family, "AutoModelForCausalLM"))
    assert compare(found, table, oracle, family, token, final_norm(oracle.model, family)) < 1e-5


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_encoders_are_forwarded_whole(family: str, folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders(family))
    table = table_of(7)
    found = extract(LanguageModel(card), [table], EVERYTHING, Store())
    oracle = Oracle(folders(family), "AutoModel")
    assert compare(found, table, oracle, family, "last", lambda states: states) < 1e-5
    assert found.notes[0].startswith("whole prompts")
    assert got(found, table, [0])[1] is None  # no head, no probabilities


@pytest.mark.parametrize(("side", "layers"), [("encoder", 4), ("decoder", 3), ("auto", 3)])
def test_both_sides_of_an_encoder_decoder(
    side: str, layers: int, folders: Callable[[str], Path], own_store: Path
) -> None:
    _, card = spec_of(folders("t5"), side=side)
    assert card.layers == layers
    table = table_of(7)
    found = extract(LanguageModel(card), [table], EVERYTHING, Store())
    oracle = Oracle(folders("t5"), "AutoModelForSeq2SeqLM", "encoder" if side == "encoder" else "two")
    stack = oracle.model.encoder if side == "encoder" else oracle.model.decoder
    assert compare(found, table, oracle, "t5", "last", stack.final_layer_norm) < 1e-5
    odds = got(found, table, [0])[1]
    if side == "encoder":
        assert odds is None
    else:
        lines = list(table.frame.iter_rows(named=True))
        own = [oracle.row(line["tokens"], line["answer_start"], line["answer_end"])[1] for line in lines]
        torch.testing.assert_close(odds, torch.tensor(own).reshape(-1, 2).diff(dim=1)[:, 0], atol=2e-4, rtol=1e-5)


def test_a_window_shorter_than_the_prompts_is_not_packed(folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders("mistral-window"))
    table = table_of(6)
    found = extract(LanguageModel(card), [table], EVERYTHING, Store())
    assert found.notes[0].startswith("whole prompts")
    oracle = Oracle(folders("mistral-window"))
    assert compare(found, table, oracle, "mistral", "last", final_norm(oracle.model, "mistral")) < 1e-5


def test_what_the_fast_ways_guard_against(folders: Callable[[str], Path]) -> None:
    """The control of all of the above: without the tree mask, or with padding on the left, the states are others."""
    network = load(spec_of(folders("gpt2"))[1])
    rows = rows_of(table_of(1))
    right = Packed(network)([rows], [3], False).states
    blind = Packed(network)
    seeing = network.mask
    network.mask = lambda sees: seeing(torch.ones_like(sees).tril())  # type: ignore[method-assign]
    assert apart(blind([rows], [3], False).states[:, 1:], right[:, 1:]) > 0.01
    network.mask = seeing  # type: ignore[method-assign]
    ids = torch.tensor([[0, 0, *rows[0].tokens]])
    mask = (ids != 0).long()
    with torch.no_grad():
        naive = network.model(
            ids, attention_mask=mask, position_ids=torch.arange(ids.shape[1])[None], output_hidden_states=True
        ).hidden_states[2][0, -1]
    own = Whole(network)([[rows[0]], [rows[1]]], [2], False).states[0, 0]
    assert apart(naive, own) > 0.01


def rows_of(table: PromptTable) -> list[Row]:
    return list(row_table([table], EVERYTHING).rows)


def apart(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


# ---------------------------------------------------------------- the store


def test_growth_forwards_only_new_rows(folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders("llama"))
    small, large = table_of(5), table_of(9)
    first = extract(LanguageModel(card), [small], EVERYTHING, Store())
    plan = plan_extraction(LanguageModel(card), [large], EVERYTHING, Store())
    assert (plan.rows, plan.stored, plan.todo.rows) == (18, 10, 8)
    second = extract(LanguageModel(card), [large], EVERYTHING, Store())
    assert (first.done.rows, second.done.rows) == (10, 8)
    assert second.done.tokens == plan.todo.tokens
    assert extract(LanguageModel(card), [small, large], EVERYTHING, Store()).done.rows == 0
    oracle = Oracle(folders("llama"))
    assert compare(second, large, oracle, "llama", "last", final_norm(oracle.model, "llama")) < 1e-5


def test_fewer_layers_are_answered_by_more(folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders("llama"))
    table = table_of(4)
    whole = extract(LanguageModel(card), [table], EVERYTHING, Store())
    part = extract(LanguageModel(card), [table], Activations(layers=(1, -1)), Store(), log_odds=False)
    assert part.done.rows == 0
    assert torch.equal(got(part, table, [1, 3])[0], got(whole, table, [1, 3])[0])
    assert extract(LanguageModel(card), [table], Activations(token="mean"), Store()).done.rows == 8  # the control


def test_stops_after_the_deepest_layer(folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders("llama"))
    network = load(card)
    ran = []
    for number, block in enumerate(network.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    Packed(network)([rows_of(table_of(2))], [0, 2], False)
    assert ran == [0, 1]
    found = extract(LanguageModel(card), [table_of(2)], Activations(layers=(0, 2)), Store(), log_odds=False)
    assert got(found, found._tables[0], [0, 2])[1] is None


def test_a_flipped_byte_is_noticed_and_that_shard_made_anew(
    folders: Callable[[str], Path], own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SHARD_ROWS", 4)
    monkeypatch.setattr(batches, "token_budget", lambda: 40)
    _, card = spec_of(folders("llama"))
    table = table_of(9)
    before, _ = got(extract(LanguageModel(card), [table], EVERYTHING, Store()), table, range(4))
    files = sorted(own_store.glob("states/*/states.safetensors"))
    assert len(files) > 2
    content = bytearray(files[0].read_bytes())
    content[-5] ^= 1
    files[0].write_bytes(content)
    again = extract(LanguageModel(card), [table], EVERYTHING, Store())
    assert 0 < again.done.rows < 18
    assert "damaged" in again.remarks[0]
    assert torch.equal(got(again, table, range(4))[0], before)


def test_a_killed_run_goes_on_with_the_same_bytes(
    folders: Callable[[str], Path], own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SHARD_ROWS", 4)
    monkeypatch.setattr(batches, "token_budget", lambda: 40)
    _, card = spec_of(folders("llama"))
    table = table_of(12)
    through = extract(LanguageModel(card), [table], EVERYTHING, Store(tmp_path / "through"))

    def dies(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    broken = Store(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        extract(LanguageModel(card), [table], EVERYTHING, broken, dies)
    stored = plan_extraction(LanguageModel(card), [table], EVERYTHING, broken).stored
    assert 0 < stored < 24
    resumed = extract(LanguageModel(card), [table], EVERYTHING, broken)
    assert resumed.done.rows == 24 - stored
    assert torch.equal(got(resumed, table, range(4))[0], got(through, table, range(4))[0])
    one, other = ({path.parent.name: path.read_bytes() for path in (tmp_path / name).glob("states/*/*.safetensors")}
                  for name in ("through", "broken"))  # fmt: skip
    assert one == other


def test_batches_and_conditions_do_not_matter(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, card = spec_of(folders("llama"))
    plain, words = table_of(8), table_of(8, words=True)
    reference, odds = got(extract(LanguageModel(card), [plain], EVERYTHING, Store(tmp_path / "a")), plain, range(4))
    for number, (budget, tables) in enumerate([(1, [plain]), (10**6, [words, plain]), (64, [plain, words])]):
        monkeypatch.setattr(batches, "token_budget", lambda budget=budget: budget)
        found = extract(LanguageModel(card), tables, EVERYTHING, Store(tmp_path / f"b{number}"))
        states, other_odds = got(found, plain, range(4))
        assert apart(states, reference) < 1e-5
        torch.testing.assert_close(other_odds, odds, atol=1e-4, rtol=1e-4)


def test_the_plan_is_what_is_done(folders: Callable[[str], Path], own_store: Path) -> None:
    _, card = spec_of(folders("gpt2"))
    tables = [table_of(9), table_of(9, words=True)]
    plan = plan_extraction(LanguageModel(card), tables, EVERYTHING, Store())
    told: list[tuple[int, int]] = []
    found = extract(LanguageModel(card), tables, EVERYTHING, Store(), lambda done, total: told.append((done, total)))
    assert (plan.todo.tokens, plan.todo.tokens_unshared) == (found.done.tokens, found.done.tokens_unshared)
    assert plan.keys == tuple(found.key(table) for table in tables)
    assert told[-1] == (found.done.tokens, found.done.tokens)
    assert len(told) == plan.todo.passes
    assert plan_extraction(LanguageModel(card), tables, EVERYTHING, Store()).stored == plan.rows
    assert plan_extraction(LanguageModel(card), [tables[0]], EVERYTHING, Store()).keys[0] == plan.keys[0]
    assert plan_extraction(LanguageModel(card), [table_of(9, seed=1)], EVERYTHING, Store()).keys[0] != plan.keys[0]


@pytest.mark.usefixtures("any_processor")
def test_keys_tell_models_precisions_and_rules_apart(folders: Callable[[str], Path]) -> None:
    row = Row((1, 2, 3), 1, 2, "last")
    others = [Row((1, 2, 4), 1, 2, "last"), Row((1, 2, 3), 1, 3, "last"), Row((1, 2, 3), 1, 2, "mean")]
    assert len({one.key for one in (row, *others)}) == 4
    folder = folders("llama")
    models = [
        Model(id=str(folder)),
        Model(id=str(folder), precision="fast", dtype="bfloat16"),
        Model(id=str(folder), weights="random"),
        Model(id=str(folder), weights="random", weights_seed=1),
        Model(id=str(folder), packing="never"),
    ]
    keys = [extraction.bank_key(LanguageModel(describe(model, folder))) for model in models]
    assert len(set(keys)) == len(keys)
    assert extraction.bank_key(LanguageModel(describe(models[0], folder))) == keys[0]


# ---------------------------------------------------------------- trouble


def test_states_that_are_not_finite_are_an_error(
    folders: Callable[[str], Path], own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "token_budget", lambda: 40)
    _, card = spec_of(folders("llama"))
    real, choose = Packed.__call__, ModelForwarding.choose

    def spoiled(self: Packed, groups: Any, layers: Any, log_prob: bool, stem: int = 0) -> Any:
        found = real(self, groups, layers, log_prob, stem)
        found.states[2, 1, 0] = float("inf")
        return found

    def chosen(self: ModelForwarding) -> Any:
        verdict = choose(self)
        monkeypatch.setattr(Packed, "__call__", spoiled)
        return verdict

    monkeypatch.setattr(ModelForwarding, "choose", chosen)
    with pytest.raises(NumericalError, match=r'layer 2 for example "e\d+".*float32'):
        extract(LanguageModel(card), [table_of(9)], EVERYTHING, Store())
    assert Store().keys("states") == []


def test_weights_that_are_not_finite_are_an_error(tmp_path: Path, own_store: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = folder_of(config_of("llama"), "AutoModelForCausalLM", tmp_path)
    broken = AutoModelForCausalLM.from_pretrained(folder)
    broken.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    broken.save_pretrained(folder)
    _, card = spec_of(folder)
    with pytest.raises(NumericalError, match="layer 2"):
        extract(LanguageModel(card), [table_of(3)], EVERYTHING, Store())


def test_out_of_memory_halves_the_batch(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, card = spec_of(folders("llama"))
    table = table_of(9)
    plain = got(extract(LanguageModel(card), [table], EVERYTHING, Store(tmp_path / "a")), table, range(4))[0]
    real = Packed.__call__
    most = 5

    def short(self: Packed, groups: Any, layers: Any, log_prob: bool, stem: int = 0) -> Any:
        if sum(map(len, groups)) > most:
            raise torch.cuda.OutOfMemoryError("no memory")
        return real(self, groups, layers, log_prob, stem)

    monkeypatch.setattr(Packed, "__call__", short)
    found = extract(LanguageModel(card), [table], EVERYTHING, Store(tmp_path / "b"))
    assert "halved" in found.remarks[-1]
    assert found.notes == extract(LanguageModel(card), [table], EVERYTHING, Store(tmp_path / "a")).notes
    assert apart(got(found, table, range(4))[0], plain) < 1e-5
    most = 0
    with pytest.raises(HarnessError, match="single prompt"):
        extract(LanguageModel(card), [table_of(3, seed=2)], EVERYTHING, Store(tmp_path / "b"))


def test_layers_of_a_spec() -> None:
    assert resolve("all", 4) == (0, 1, 2, 3)
    assert resolve((3, 1, -1), 4) == (1, 3)
    assert resolve({"from": 0, "to": -1, "step": 2}, 5) == (0, 2, 4)
    for wrong in ((4,), (-5,), {"from": 3, "to": 1}, {"step": 0}):
        with pytest.raises(UsageError, match="layers"):
            resolve(wrong, 4)  # type: ignore[arg-type]


# ---------------------------------------------------------------- batches


def test_templates_that_share_a_beginning_are_shared(folders: Callable[[str], Path]) -> None:
    """Four templates of one text, two answers each: at most 0.35 of the tokens."""
    card = spec_of(folders("llama"))[1]
    stage = row_table([templates_of(20)], EVERYTHING)
    packed = batches.lay_out(stage, 512, card)
    everything = [batch for shard in packed.shards for batch in shard]
    found = batches.cost(everything, stage, card, range(4))
    assert found.tokens <= 0.35 * found.tokens_unshared
    assert sorted(row for batch in everything for row in batch.rows) == list(range(len(stage.rows)))


def templates_of(examples: int) -> PromptTable:
    lines = []
    for number in range(examples):
        text = np.random.default_rng(number).integers(3, VOCAB, size=24).tolist()
        for template in range(4):
            for answer in range(2):
                tokens = [1, *text, 20 + template, 30 + template, 5 + answer]
                lines.append(
                    {"pair": 4 * number + template, "example": f"e{number}", "template": f"t{template}", "answer": answer,
                     "tokens": tokens, "answer_start": len(tokens) - 1, "answer_end": len(tokens)}
                )  # fmt: skip
    return PromptTable(pl.DataFrame(lines), (), tuple(f"t{number}" for number in range(4)))


def test_rows_that_share_next_to_nothing_are_not_packed(folders: Callable[[str], Path]) -> None:
    card = spec_of(folders("llama"))[1]
    random = np.random.default_rng(0)
    lines = [
        {"pair": 0, "example": "e", "template": "main", "answer": answer, "answer_start": 5, "answer_end": 6,
         "tokens": [1, *random.integers(3, VOCAB, size=600).tolist()]}
        for answer in (0, 1)
    ]  # fmt: skip
    stage = row_table([PromptTable(pl.DataFrame(lines), (), ("main",))], EVERYTHING)
    (shard,) = batches.lay_out(stage, 4096, card).shards
    assert [len(group.rows) for batch in shard for group in batch.groups] == [1, 1]


def test_batches_keep_to_the_budget_and_to_one_order(folders: Callable[[str], Path]) -> None:
    card = spec_of(folders("llama"))[1]
    one = row_table([table_of(30), table_of(30, words=True)], EVERYTHING)
    other = row_table([table_of(30, words=True), table_of(30)], EVERYTHING)
    layouts = [batches.lay_out(stage, 100, card) for stage in (one, other)]
    for shard in layouts[0].shards:
        assert all(batch.longest * len(batch.groups) <= 100 for batch in shard)
    keys = [
        [[stage.keys[row] for row in batch.rows] for shard in layout.shards for batch in shard]
        for stage, layout in zip((one, other), layouts, strict=True)
    ]
    assert keys[0] == keys[1]


# ---------------------------------------------------------------- beds


def test_a_bed_comes_through_the_same_bank(own_store: Path) -> None:
    from harness.contracts.kind import find

    bed = find("beds", "planted")()
    frame = bed.load(6, 0)  # type: ignore[attr-defined]
    lines = [
        {"pair": number, "example": line["example"], "template": "main", "answer": answer,
         "tokens": line[f"tokens_{answer}"], "answer_start": 4, "answer_end": 5}
        for number, line in enumerate(frame.iter_rows(named=True))
        for answer in (0, 1)
    ]  # fmt: skip
    table = PromptTable(pl.DataFrame(lines), (), ("main",))
    found = extract(Formula(bed), [table], EVERYTHING, Store())  # type: ignore[arg-type]
    layers = range(bed.shape[0])  # type: ignore[attr-defined]
    own = bed.states([line["tokens"] for line in lines]).reshape(len(layers), 6, 2, -1)  # type: ignore[attr-defined]
    assert torch.equal(got(found, table, layers)[0], own)
    assert extract(Formula(bed), [table], EVERYTHING, Store()).done.rows == 0  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="last token"):
        extract(Formula(bed), [table], Activations(token="mean"), Store())  # type: ignore[arg-type]


def test_networks_find_their_blocks(folders: Callable[[str], Path]) -> None:
    for family in PACKED:
        network = load(spec_of(folders(family))[1])
        assert isinstance(network, Network)
        assert len(network.blocks) == network.card.blocks == 3
