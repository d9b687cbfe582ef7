"""Networks of all families: what transformers can read is read by the class that its folder names, or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from harness import cli
from harness.activations.extract import extract, plan_extraction
from harness.activations.rows import check_tokens
from harness.commands import costs
from harness.contracts import PromptTable
from harness.errors import EXIT_UNFINISHED, HarnessError, UsageError
from harness.models import architecture
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.models.tensor_parallel import _check_heads
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.families import page, shrink
from tests.families.sweep import save, try_family

READ = (
    "albert", "bert", "clip", "gemma3n_text", "llava", "mamba", "mllama", "mpnet", "nemotron_h", "phi3", "qwen2_vl", "t5",
)  # fmt: skip
REFUSED = ("deepseek_v4", "xlm")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Notes on tiny models stay out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", [*READ, *REFUSED])
def test_a_family_is_read_as_the_page_says(family: str, tmp_path: Path) -> None:
    found = try_family(family, tmp_path / family)
    assert not found.fault
    assert not found.untried
    assert bool(found.refused) == (family in REFUSED)
    told = page.lines(page.PAGE.read_text(encoding="utf-8"))
    assert page.line(found) == told[family], "specs/FAMILIES.md is old: run `python -m tests.families`"


def test_the_page_is_what_its_lines_make() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text, []) == text
    # Most of what people use is there.
    assert {"llama", "qwen3", "gemma3", "mistral3", "roberta", "t5", "whisper"} <= set(page.lines(text))


# ---------------------------------------------------------------- sizes that only costs need


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a tiny network of a family."""

    def make(family: str, **settings: Any) -> Path:
        config = shrink.tiny(family)
        for name, value in settings.items():
            setattr(config, name, value)
        torch.manual_seed(0)
        import transformers

        place = tmp_path / family
        save(transformers.AutoModelForCausalLM.from_config(config), place)
        return place

    return make


def card_of(place: Path) -> ModelCard:
    return describe(Model(id=str(place)), place.parent)


def table_of(*tokens: int) -> PromptTable:
    """One contrast pair of these tokens, with an answer of one token behind them."""
    lines = [
        {"pair": 0, "example": "first", "template": "main", "answer": answer, "tokens": [1, *tokens, 9 + answer],
         "answer_start": 1 + len(tokens), "answer_end": 2 + len(tokens)}
        for answer in (0, 1)
    ]  # fmt: skip
    frame = pl.DataFrame(lines, schema_overrides={"tokens": pl.List(pl.UInt32), "pair": pl.UInt32})
    return PromptTable(frame, (), ("main",))


@pytest.mark.parametrize(
    ("family", "unknown"),
    [("rwkv", ("attention heads",)), ("mamba", ("attention heads",)), ("llama", ()), ("gemma4_text", None)],
)
def test_a_size_that_nobody_can_say_is_an_unknown_cost(
    family: str, unknown: tuple[str, ...] | None, made: Callable[..., Path], tmp_path: Path
) -> None:
    subject = LanguageModel(card_of(made(family)))
    planned = plan_extraction(subject, [table_of(20, 21)], Activations(), Store(tmp_path / "store"))
    assert planned.todo is not None
    assert unknown is None or planned.todo.unknown == unknown
    known = not planned.todo.unknown
    assert (planned.todo.flops is not None, planned.todo.peak_bytes is not None) == (known, known)
    assert planned.todo.tokens == 5
    extract(subject, [table_of(20, 21)], Activations(), Store(tmp_path / "store"))


def test_heads_that_nobody_can_say_are_not_dealt_to_processes(made: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="does not say how many heads"):
        _check_heads(card_of(made("mamba")), 2)


def test_the_plan_says_that_a_cost_is_unknown(
    made: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = made("mamba")
    (tmp_path / "colours.csv").write_text("text,label\n" + "".join(f"t{n + 20} t{n % 7},{n % 2}\n" for n in range(40)))
    spec = {
        "harness": 1, "name": "mamba", "model": {"id": str(place)}, "data": {"source": {"file": "colours.csv"}},
        "prompt": {"template": "{{ text }} {{ answer }}", "answers": ["t9", "t10"]}, "probes": ["mean_difference"], "seeds": 1,
    }  # fmt: skip
    (tmp_path / "x.yaml").write_text(json.dumps(spec))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["harness", "plan", str(tmp_path / "x.yaml"), "--store", str(tmp_path / "store")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert "cost unknown: the network's configuration does not say its attention heads" in said
    assert "None" not in said


def test_costs_are_shown_with_what_is_known_of_them() -> None:
    whole = costs._cost(msgspec.convert({"rows": 2, "rows_to_do": 1, "tokens": 5, "tokens_unshared": 8, "passes": 1,
                                         "stored_mib": 3.0, "where": "cpu", "tflops": 1.5, "peak_mib": 7.0}, costs.Cost))  # fmt: skip
    assert "1.5 TFLOP in 1 passes on cpu" in whole
    assert "3 MiB kept, 7 MiB at the peak" in whole


# ---------------------------------------------------------------- what is said before anything is loaded


def test_an_architecture_is_built_once_and_remembered(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made("llama")
    first = card_of(place).shape
    monkeypatch.setattr(architecture, "learnt", lambda *_: pytest.fail("it was built again"))
    assert card_of(place).shape == first
    # The control: another configuration is met for the first time.
    config = json.loads((place / "config.json").read_bytes())
    (place / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    with pytest.raises(pytest.fail.Exception):
        card_of(place)


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("vit", "reads text|no token embedding|not text"),
        ("blip", "only with pixel_values beside it"),
        ("wav2vec2", "text"),
    ],
)
def test_what_reads_no_text_is_refused_by_the_plan(family: str, says: str, tmp_path: Path) -> None:
    from transformers import CONFIG_MAPPING

    CONFIG_MAPPING[family]().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=says) as said:
        describe(Model(id=str(tmp_path), weights="random"), tmp_path)
    assert len(str(said.value)) < 400
    assert "\n" not in str(said.value)


def test_a_token_beyond_the_embedding_is_named_before_loading(made: Callable[..., Path], tmp_path: Path) -> None:
    subject = LanguageModel(card_of(made("llama", vocab_size=80)))
    beyond = table_of(20, 85)
    says = r'token 85 \("t85"\) in a prompt of example "first" is none of the 80'
    for ask in (plan_extraction, extract):
        with pytest.raises(UsageError, match=says):
            ask(subject, [table_of(20, 21), beyond], Activations(), Store(tmp_path / "store"))
    check_tokens([table_of(20, 79)], subject)


def test_a_padding_token_beyond_the_embedding_is_no_hindrance(made: Callable[..., Path]) -> None:
    place = made("gpt2")
    config = json.loads((place / "config.json").read_bytes())
    (place / "config.json").write_text(json.dumps(config | {"pad_token_id": shrink.VOCAB}))
    network = load(card_of(place))
    assert network.model.config.pad_token_id == shrink.VOCAB
    assert 0 <= network.pad_token < shrink.VOCAB


def test_the_context_is_the_positions_that_there_are(made: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    for family in ("mpnet", "ibert", "roberta", "bert"):
        save(AutoModelForMaskedLM.from_config(shrink.tiny(family)), tmp_path / family)
        card = card_of(tmp_path / family)
        assert card.context is not None
        body = load(card).model
        body(torch.full((1, card.context), 20))
        with pytest.raises((IndexError, RuntimeError)):
            body(torch.full((1, card.context + 1), 20))


# ---------------------------------------------------------------- failures of a stranger's network


def test_blocks_that_are_not_the_layers_are_refused(made: Callable[..., Path]) -> None:
    network = load(card_of(made("llama")))
    network.check_layers()
    network.blocks = nn.ModuleList([block.mlp for block in network.blocks])
    with pytest.raises(HarnessError, match="not what transformers calls its hidden states"):
        network.check_layers()


@pytest.mark.parametrize(
    "error", [KeyError("x"), AttributeError("y"), ZeroDivisionError(), IndexError("out of range\nsecond line")]
)
def test_an_error_of_a_pass_is_one_sentence(error: Exception, made: Callable[..., Path]) -> None:
    network = load(card_of(made("llama")))

    def fail(*_: Any, **__: Any) -> None:
        raise error

    network.blocks[1].forward = fail
    with pytest.raises(HarnessError, match="its forward pass failed in transformers") as said:
        network.read({"input_ids": torch.tensor([[1, 2]])}, (4,), lambda states: states[:, 0])
    assert "\n" not in str(said.value)
    assert said.value.exit_code == EXIT_UNFINISHED


def test_states_of_several_streams_or_of_another_order_are_refused(made: Callable[..., Path]) -> None:
    network = load(card_of(made("llama")))
    grid = torch.Size((2, 3))
    width = network.card.d_model
    assert network._stream(torch.zeros(2, 3, width), grid).shape == (2, 3, width)
    assert network._stream(torch.arange(4.0)[:, None, None, None].expand(4, 2, 3, width), grid).max() == 0
    assert network._stream(torch.zeros(2, 5, width), grid).shape == (2, 3, width)
    for shape in ((3, 2, width), (2, 3, 4, width), (2, 2, width), (2, 3, width + 1)):
        with pytest.raises(HarnessError, match="its blocks pass on"):
            network._stream(torch.zeros(shape), grid)


def test_the_tables_of_the_sweep_have_lengths_on_both_sides_of_every_number() -> None:
    config = shrink.tiny("phi3")
    config.original_max_position_embeddings = 32
    assert {shrink.WINDOW, 32, shrink.CONTEXT} <= set(shrink.numbers(config))
    assert np.all(np.diff(shrink.numbers(config)) > 0)
