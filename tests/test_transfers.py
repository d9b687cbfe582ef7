"""What a probe is fitted on and what it is tested on must be alike in layers, site and width; what a plan refuses has the line of its key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import language, pipeline
from harness.errors import SpecError
from harness.machine.progress import Reporter
from harness.store import Store
from tests.report_tables import full_table
from tests.test_activations import config_of
from tests.test_activations import folder_of as folder_of_network
from tests.test_imported import folder_of

PLANTED = """\
harness: 1
name: transfers
model: {bed: planted, layers: 3, d_model: 16}
data: {limit: 80, where: {}}
baselines: false
probes: [lda, mean_difference]
conditions:
  a: {}
  b: {OTHER}
transfer:
  - {fit_on: a, tested_on: [a]}
  - {fit_on: a, tested_on: [b]}
"""
NETWORK = """\
harness: 1
name: transfers
model: ./tiny-llama
data: {source: words, limit: 40, where: {}}
prompt: {template: "{{ text }}? {{ answer }}"}
probes: [mean_difference]
conditions:
  a: {}
  b: {OTHER}
transfer:
  - {fit_on: a, tested_on: [a]}
  - {fit_on: a, tested_on: [b]}
"""


def refused(text: str, folder: Path) -> str:
    """What is said of a spec when it is planned, from its line on."""
    path = folder / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught, language.placing(path):
        pipeline.planned(language.read(path), folder, Store(folder / "store"))
    return str(caught.value).removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("activations: {layers: [1, 2]}", "a probe of a reads layer 0, and b has the states of layers 1, 2; give both the same activations.layers"),
        ("activations: {layers: {from: 0, to: 1}}", "a probe of a reads layer 2, and b has the states of layers 0, 1"),
        ("model: {layers: 2}", "a probe of a reads layer 2, and b has the states of layers 0, 1"),
        ("model: {d_model: 24}", "a probe of a reads states of width 16, and those of b are of width 24; give both states of one form, or take b out"),
    ],
)  # fmt: skip
def test_states_of_another_form_are_refused_at_the_transfer(other: str, said: str, tmp_path: Path) -> None:
    assert refused(PLANTED.replace("OTHER", other), tmp_path).startswith(f"12:29: transfer[1].tested_on[0]: {said}")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("activations: {site: mlp}", "a probe of a reads layer 0, and b has the states of layers 1, 2"),
        ("activations: {layers: [1], site: mlp}", "a probe of a reads states at residual, and those of b are at mlp"),
        ("activations: {layers: [1], site: neurons}", "a probe of a reads states at residual, and those of b are at neurons"),
        ("activations: {layers: [1], site: {head: 1}}", "a probe of a reads states at residual, and those of b are at head:1"),
    ],
)  # fmt: skip
def test_another_site_of_a_network_is_refused_at_the_transfer(
    other: str, said: str, tmp_path: Path, tiny_llama: Path
) -> None:
    (tmp_path / "tiny-llama").symlink_to(tiny_llama)
    text = NETWORK.replace("OTHER", other)
    if "layers: [1]" in other:
        text = text.replace("a: {}", "a: {activations: {layers: [1]}}")
    assert refused(text, tmp_path).startswith(f"12:29: transfer[1].tested_on[0]: {said}")


def test_states_that_somebody_read_elsewhere_in_the_network_are_refused(tmp_path: Path) -> None:
    states = np.random.default_rng(0).standard_normal((12, 3, 4)).astype(np.float32)
    for name, site in (("one", "residual"), ("other", "mlp")):
        folder_of(tmp_path / name, states, site=site)
    text = PLANTED.replace("{bed: planted, layers: 3, d_model: 16}", "{states: one}")
    said = refused(text.replace("OTHER", "model: {states: other}"), tmp_path)
    assert said.startswith(
        "12:29: transfer[1].tested_on[0]: a probe of a reads states at residual, and those of b are at mlp"
    )


def test_further_layers_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    text = PLANTED.replace("a: {}", "a: {activations: {layers: [1, 2]}}")
    for name, other in (("more", ""), ("same", "activations: {layers: [1, 2]}")):
        path.write_text(text.replace("OTHER", other).replace("name: transfers", f"name: {name}"))
        pipeline.run(path, out=tmp_path, store=Store(tmp_path / name), reporter=Reporter(quiet=True), page=False)
    more, same = (
        full_table(tmp_path / name, "results").filter(tested_on="b", target="truth") for name in ("more", "same")
    )
    assert more["value"].max() == 1.0
    assert more.select("probe", "layer", "metric", "value").equals(same.select("probe", "layer", "metric", "value"))


def test_statements_are_not_divided_between_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    folder_of_network(config_of("t5"), "AutoModelForSeq2SeqLM", tmp_path / "t5")
    text = (
        NETWORK.replace("./tiny-llama", "{id: ./t5}")
        .replace("OTHER", "")
        .replace('template: "{{ text }}? {{ answer }}', 'template: "{{ text }}')
    )
    text = text.replace("data: {source: words", "data: {source: words, target: {column: part, kind: classes}").replace(
        "mean_difference", "lda"
    )
    assert refused(text, tmp_path).startswith(
        "3:8: model: ./t5 reads a question with its encoder and an answer with its decoder"
    )
    # The control: read by the encoder alone they are statements as any.
    (tmp_path / "spec.yaml").write_text(text.replace("{id: ./t5}", "{id: ./t5, side: encoder}"))
    read = language.read(tmp_path / "spec.yaml")
    assert pipeline.planned(read, tmp_path, Store(tmp_path / "store")).of("activations")


def test_what_a_network_has_not_is_said_where_it_is_asked_for(tmp_path: Path) -> None:
    text = PLANTED.replace("OTHER", "activations: {layers: [1, 7]}")
    assert refused(text, tmp_path).startswith(
        "9:29: conditions.b.activations.layers: no layer 7; this network has layers 0 to 2"
    )
    text = PLANTED.replace("OTHER", "").replace("baselines", "activations: {token: mean}\nbaselines")
    assert refused(text, tmp_path).startswith(
        "5:22: activations.token: mean: planted gives the states of the last token only"
    )
