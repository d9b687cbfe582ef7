"""The network's own answer: where it cannot be had, that is known before anything is forwarded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness import language, pipeline
from harness.activations import extract
from harness.errors import DataError, UsageError
from harness.store import Store
from tests.report_tables import full_table


def spec(folder: Path, network: Path, template: str, rest: str = "") -> Path:
    rows = [{"text": f"{word} {number}", "label": number % 2} for number in range(24) for word in ("one", "two")]
    pl.DataFrame(rows).write_csv(folder / "rows.csv")
    path = folder / "spec.yaml"
    probes = "" if "probes:" in rest else "probes: [crc_tpc]\n"
    path.write_text(
        f"harness: 1\nname: own\nmodel: {network}\ndata: {{source: {{kind: file, file: rows.csv}}}}\n"
        f"prompt: {{template: '{template}', answers: ['no', 'yes']}}\nlayer: last\n{probes}{rest}"
    )
    return path


@pytest.fixture
def headless(tiny_llama: Path, tmp_path: Path) -> Path:
    """An encoder, which has no language-model head."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "headless"
    folder.mkdir()
    config = BertConfig(
        vocab_size=257,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, folder)
    return folder


PLAIN = "{{ text }} {{ answer }}"
FIRST = "{{ answer }} {{ text }}"


def test_a_baseline_that_cannot_be_had_is_left_out_and_the_report_says_so(
    tiny_llama: Path, headless: Path, tmp_path: Path
) -> None:
    for network, template, why in (
        (headless, PLAIN, "has no language-model head"),
        (tiny_llama, FIRST, "the template begins with the answer, so that no token stands before it to predict it"),
    ):
        outcome = pipeline.run(spec(tmp_path, network, template), out=tmp_path / "reports", page=False)
        found = full_table(outcome.folder, "results")
        assert set(found["probe"]) == {"crc_tpc", "random", "logistic_regression"}
        text = (outcome.folder / "report.md").read_text().replace("\\", "")
        assert "zero_shot is left out of main, where" in text
        assert why in text
    # The control.
    outcome = pipeline.run(spec(tmp_path, tiny_llama, PLAIN), out=tmp_path / "reports", page=False)
    assert "zero_shot" in set(full_table(outcome.folder, "results")["probe"])
    assert "left out" not in (outcome.folder / "report.md").read_text()


def test_it_is_left_out_of_those_conditions_only_that_cannot_have_it(
    tiny_llama: Path, headless: Path, tmp_path: Path
) -> None:
    rest = f"conditions:\n  whole: {{}}\n  part: {{model: {headless}}}\n"
    outcome = pipeline.run(spec(tmp_path, tiny_llama, PLAIN, rest), out=tmp_path / "reports", page=False)
    found = full_table(outcome.folder, "results").filter(pl.col("probe") == "zero_shot")
    assert set(found["tested_on"]) == {"whole"}


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("probes: [crc_tpc, zero_shot]\n", "probes: zero_shot reads the network's own answer, and in main"),
        ("probes: [crc_tpc, prompt_ensemble]\n", "probes: prompt_ensemble reads the network's own answer, and in main"),
        (
            "checks: [{kind: beats_zero_shot, probe: crc_tpc, condition: main}]\n",
            "checks: beats_zero_shot compares with the network's own answer, and in main",
        ),
    ],
)
def test_what_a_spec_asks_for_and_cannot_have_is_an_error_of_the_plan(
    rest: str, message: str, tiny_llama: Path, headless: Path, tmp_path: Path
) -> None:
    for network, template in ((headless, PLAIN), (tiny_llama, FIRST)):
        path = spec(tmp_path, network, template, rest)
        with pytest.raises(UsageError, match=message):
            pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))
    pipeline.planned(language.read(spec(tmp_path, tiny_llama, PLAIN, rest)), tmp_path, Store(tmp_path / "store"))


def test_an_answer_that_only_the_prompts_show_to_come_first_is_found_before_the_forward_pass(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: Any, **named: Any) -> None:
        raise AssertionError("something was forwarded")

    monkeypatch.setattr(extract, "forwarding", refused)
    path = spec(tmp_path, tiny_llama, "{% if text %}{{ answer }}{% endif %} {{ text }}")
    with pytest.raises(
        DataError, match=r"conditions\.main\.prompt: .* begins with the answer.*write `baselines: false`"
    ):
        pipeline.run(path, out=tmp_path / "reports", page=False)
