"""Features of sparse autoencoders in the place of states: what probes read is what the autoencoder gives, trained here or published, and nothing unfit is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from harness import language, pipeline
from harness.errors import HarnessError, UsageError
from harness.execution.run import Run
from harness.models.published_autoencoder import describe_autoencoder
from harness.store import Store

WIDTH, DICTIONARY = 6, 10
VECTORS = {
    "standard": ["b_enc"],
    "topk": ["b_enc"],
    "jumprelu": ["b_enc", "threshold"],
    "gated": ["b_gate", "b_mag", "r_mag"],
}


def publish(
    folder: Path, kind: str, width: int = WIDTH, dictionary: int = DICTIONARY, seed: int = 0, **options: Any
) -> dict[str, torch.Tensor]:
    """A folder as SAELens saves it; its tensors."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tensors = {"W_enc": drawn(width, dictionary), "W_dec": drawn(dictionary, width), "b_dec": drawn(width)}
    tensors |= {name: 0.3 * drawn(dictionary) for name in VECTORS[kind]}
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].abs() + 0.5
    configuration = {
        "architecture": kind,
        "d_in": width,
        "d_sae": dictionary,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
    }
    configuration |= ({"k": 3} if kind == "topk" else {}) | options
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(configuration))
    save_file(tensors, folder / "sae_weights.safetensors")
    return tensors


def by_hand(architecture: str, tensors: dict[str, torch.Tensor], state: np.ndarray, centred: bool = True) -> np.ndarray:
    """Features of one state, one after another, in float64."""
    own = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    state = state - own["b_dec"] if centred else state
    found = np.zeros(own["W_enc"].shape[1])
    for feature, column in enumerate(own["W_enc"].T):
        product = float(state @ column)
        if architecture == "gated":
            magnitude = product * np.exp(own["r_mag"][feature]) + own["b_mag"][feature]
            found[feature] = max(magnitude, 0) if product + own["b_gate"][feature] > 0 else 0
            continue
        product += own["b_enc"][feature]
        least = own["threshold"][feature] if architecture == "jumprelu" else 0
        found[feature] = product if architecture == "topk" or product > least else 0
    if architecture == "topk":
        kept = np.argsort(-found)[:3]
        found = np.where(np.isin(np.arange(len(found)), kept), np.maximum(found, 0), 0)
    return found


@pytest.mark.parametrize("architecture", list(VECTORS))
@pytest.mark.parametrize("centred", [True, False])
def test_features_of_a_published_autoencoder_are_those_of_its_formula(
    tmp_path: Path, architecture: str, centred: bool
) -> None:
    tensors = publish(tmp_path / "sae", architecture, apply_b_dec_to_input=centred)
    states = torch.randn(20, WIDTH, generator=torch.Generator().manual_seed(9))
    found = describe_autoencoder("sae", tmp_path).encoded(states)
    expected = np.stack([by_hand(architecture, tensors, state, centred) for state in states.double().numpy()])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0.1 < float((found > 0).float().mean()) < 0.7


def test_both_ages_of_the_form_and_its_normalisations_are_read(tmp_path: Path) -> None:
    states = 3 * torch.randn(20, WIDTH, generator=torch.Generator().manual_seed(9))
    tensors = publish(
        tmp_path / "old",
        "topk",
        architecture="standard",
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 3},
        hook_name="blocks.3.hook_resid_post",
        finetuning_scaling_factor=False,
    )
    old = describe_autoencoder("old", tmp_path)
    assert (old.architecture, old.k, old.hook) == ("topk", 3, "blocks.3.hook_resid_post")
    publish(
        tmp_path / "new",
        "topk",
        metadata={"hook_name": "blocks.3.hook_resid_post"},
        normalize_activations="expected_average_only_in",
    )
    new = describe_autoencoder("new", tmp_path)
    assert torch.equal(old.encoded(states), new.encoded(states))
    assert new.hook == old.hook
    scaled = {
        "constant_norm_rescale": states.numpy() * (WIDTH**0.5 / np.linalg.norm(states.numpy(), axis=1, keepdims=True)),
        "layer_norm": (states.numpy() - states.numpy().mean(1, keepdims=True))
        / (states.numpy().std(1, ddof=1, keepdims=True) + 1e-5),
    }
    for name, rows in scaled.items():
        publish(tmp_path / name, "topk", normalize_activations=name)
        expected = np.stack([by_hand("topk", tensors, row) for row in rows.astype(np.float64)])
        np.testing.assert_allclose(describe_autoencoder(name, tmp_path).encoded(states), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"architecture": "matryoshka"},
            "`architecture` is 'matryoshka', and this program knows standard, gated, jumprelu, topk",
        ),
        ({"activation_fn": "tanh-relu"}, "`activation_fn` is 'tanh-relu'"),
        ({"normalize_activations": "whiten"}, "`normalize_activations` is 'whiten'"),
        ({"reshape_activations": "hook_z"}, "`reshape_activations` is 'hook_z'"),
        ({"finetuning_scaling_factor": True}, "`finetuning_scaling_factor`"),
        ({"d_sae": True}, "`d_sae` is 'True', which is no size"),
        ({"d_in": -1}, "`d_in` is '-1'"),
        ({"d_in": 7}, r"W_dec is \(10, 6\), \(10, 7\) is due"),
        ({"architecture": "jumprelu"}, r"threshold is missing, \(10,\) is due"),
        ({"architecture": "topk", "k": 11}, "`k` is 11, more than the 10 features"),
    ],
)
def test_what_is_not_understood_of_a_published_autoencoder_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    publish(tmp_path / "sae", "standard", **options)
    with pytest.raises(UsageError, match=message):
        describe_autoencoder("sae", tmp_path).encoded(torch.zeros(2, WIDTH))


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    tensors = publish(tmp_path / "sae", "standard")
    weights = tmp_path / "sae" / "sae_weights.safetensors"
    save_file(tensors | {"b_enc": torch.full((DICTIONARY,), torch.nan)}, weights)
    with pytest.raises(UsageError, match="b_enc has numbers that are not finite"):
        describe_autoencoder("sae", tmp_path).encoded(torch.zeros(2, WIDTH))
    save_file({name: tensor.to(torch.int64) for name, tensor in tensors.items()}, weights)
    with pytest.raises(UsageError, match="numbers in I64"):
        describe_autoencoder("sae", tmp_path).encoded(torch.zeros(2, WIDTH))
    torch.save(tensors, weights)
    with pytest.raises(UsageError, match="not a readable safetensors file"):
        describe_autoencoder("sae", tmp_path).encoded(torch.zeros(2, WIDTH))
    weights.rename(weights.with_suffix(".pt"))
    with pytest.raises(UsageError, match="pickled weights are not read"):
        describe_autoencoder("sae", tmp_path).encoded(torch.zeros(2, WIDTH))
    (tmp_path / "sae" / "cfg.json").write_text("[]")
    with pytest.raises(UsageError, match="not a mapping"):
        describe_autoencoder("sae", tmp_path)
    with pytest.raises(UsageError, match=r"there is no cfg.json in it"):
        describe_autoencoder("elsewhere", tmp_path)


SPEC = """
harness: 1
name: through
model: {bed: planted, layers: 3, truth: 3.0}
data: {limit: 200}
conditions:
  states: {}
  features: {features: {variant: top_k, sparsity: 8, seed: 1}}
  published: {features: {published: sae, layer: 1}}
probes: [logistic_regression]
baselines: false
layer: 2
analyses:
  - {kind: sparse_autoencoders, on: [{condition: states, layer: 2, l1: [0.1], top_k: [8, 16], dictionary: 64, seeds: 2, steps: 60}]}
"""


def planned(folder: Path, text: str = SPEC) -> Any:
    path = folder / "spec.yaml"
    path.write_text(text)
    if not (folder / "sae").exists():
        publish(folder / "sae", "jumprelu", width=64)
    spec = language.read(path)
    return pipeline.planned(spec, folder, Store(folder / "store"))


def test_probes_read_what_the_autoencoder_gives_of_the_states_of_the_same_rows(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    run = Run(plan, Store(tmp_path / "store"))
    of = run.conditions
    assert {name: (of.layers(name), of.width(name)) for name in ("states", "features", "published")} == {
        "states": ((0, 1, 2), 64), "features": ((2,), 64), "published": ((1,), DICTIONARY),
    }  # fmt: skip
    made = run.get(plan.of("sparse_autoencoder")[0])
    number = next(
        at for at, one in enumerate(plan.of("sparse_autoencoder")[0].autoencoders) if (one.sparsity, one.seed) == (8, 1)
    )
    own = {name: tensor.double().numpy() for name, tensor in made.parameters[number].items()}
    for part in ("train", "test"):
        states, features, published = (of.pairs(name, part) for name in ("states", "features", "published"))
        assert len(states.states[0]) == len(features.states[0]) == len(published.states[0])
        rows = ((states.states[2] - made.shift) * made.scale).double().numpy()
        products = np.maximum((rows - own["decoder_bias"]) @ own["encoder"] + own["encoder_bias"], 0)
        least = np.sort(products, axis=-1)[..., -8, None]
        np.testing.assert_allclose(features.states[0], np.where(products >= least, products, 0), atol=1e-4)
        assert int((features.states[0] > 0).sum(-1).max()) <= 8
        expected = describe_autoencoder("sae", tmp_path).encoded(states.states[1].flatten(0, 1))
        assert torch.equal(published.states[0].flatten(0, 1), expected)
    assert torch.equal(made.shift, of.pairs("states", "train").states[2].flatten(0, 1).mean(0)), "training rows alone"


def test_fits_on_features_depend_on_which_autoencoder_and_fits_on_states_do_not(tmp_path: Path) -> None:
    def keys(text: str) -> dict[str, str]:
        return {stage.fit_on: stage.key for stage in planned(tmp_path, text).of("fit")}

    first = keys(SPEC)
    for changed in (
        SPEC.replace("sparsity: 8", "sparsity: 16"),
        SPEC.replace("seed: 1", "seed: 0"),
        SPEC.replace("steps: 60", "steps: 61"),
    ):
        other = keys(changed)
        assert other["features"] != first["features"]
        assert (other["states"], other["published"]) == (first["states"], first["published"])
    publish(tmp_path / "sae", "jumprelu", width=64, seed=1)
    other = keys(SPEC)
    assert (other["published"] != first["published"], other["features"]) == (True, first["features"])
    alone = SPEC[: SPEC.index("  features:")] + SPEC[SPEC.index("probes:") :]
    assert keys(alone)["states"] == first["states"], (
        "a spec from before features were there is answered by what is stored"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sparsity: 8",
            "sparsity: 9",
            "no top_k autoencoder of sparsity 9 and seed 1 is trained; ask for it in analyses",
        ),
        ("seed: 1", "seed: 2", "of sparsity 8 and seed 2 is trained"),
        ("seed: 1", "trained_on: published", "is trained on published"),
        ("seed: 1", "trained_on: publishd", 'no condition "publishd"; did you mean "published"?'),
        ("variant: top_k, sparsity: 8, seed: 1", "variant: top_k", "`sparsity` is missing"),
        ("variant: top_k, sparsity: 8, seed: 1", "seed: 1", "say which autoencoder"),
        ("layer: 1}", "sparsity: 2}", "a published autoencoder has no `sparsity`"),
        (", layer: 1}", "}", "`layer` is missing"),
        ("layer: 1}", "layer: 3}", "reads layer 3, which is not kept; kept are 0, 1, 2"),
        ("published: sae,", "published: nowhere,", "nowhere: there is no cfg.json in it"),
        ("layers: 3,", "layers: 3, d_model: 32,", "reads states of width 64, and those of planted are of width 32"),
        (
            "condition: states, layer",
            "condition: features, layer",
            "are trained on features, which reads features itself; train them on states",
        ),
        ("layer: 2\nanalyses", "layer: 2\nplant: {of: truth}\nanalyses", "take one of both out"),
        ("layer: 2\nanalyses", "layer: 2\nrepeats: 3\nanalyses", "with `repeats` there are no autoencoders"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SPEC
    with pytest.raises(HarnessError, match=message):
        planned(tmp_path, SPEC.replace(old, new, 1))


def superposed(folder: Path, opposite: bool = False, rows: int = 1600, features: int = 64, width: int = 32) -> None:
    """Statements whose states are sums of few of 64 features in 32 dimensions. Half of them have the first one, or with `opposite` one of the first
    two, which point in opposite directions: that is their label."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((features, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = (random.random((rows, features)) < 0.05) * random.uniform(0.3, 1, (rows, features))
    label = np.arange(rows) % 2
    side = (random.random(rows) < 0.5) if opposite else np.ones(rows, dtype=bool)
    values[:, :2] = np.stack([label * side, label * ~side], axis=1) * random.uniform(0.3, 1, (rows, 1))
    directions[1] = -directions[0]
    states = torch.tensor(values @ directions, dtype=torch.float32)[:, None].contiguous()
    folder.mkdir()
    save_file({"states": states}, folder / "states.safetensors")
    pl.DataFrame({"label": np.where(label == 1, "yes", "no")}).write_csv(folder / "rows.csv")
    card = {
        "harness_states": 1,
        "states": "states.safetensors",
        "axes": ["row", "layer", "d_model"],
        "rows": "rows.csv",
        "columns": {"label": "label"},
    }
    (folder / "states.json").write_text(json.dumps(card))


BEATS = """
harness: 1
name: beats
model: {states: superposed}
data: {limit: null, split: {train: 0.5, test: 0.5}}
conditions:
  states: {}
  features: {features: {variant: top_k, sparsity: 4}}
probes: [logistic_regression]
baselines: false
layer: 0
metrics: [auroc]
analyses:
  - {kind: sparse_autoencoders, on: [{condition: states, top_k: [4], dictionary: 128, seeds: 1, steps: 1500}]}
checks:
  - {kind: sae_probe_beats_states, probe: logistic_regression, condition: features, metric: auroc}
"""


@pytest.mark.parametrize(("opposite", "finding"), [(True, "pass"), (False, "fail")])
def test_features_help_where_states_do_not_say_it_linearly_and_cost_where_they_do(
    tmp_path: Path, opposite: bool, finding: str
) -> None:
    superposed(tmp_path / "superposed", opposite)
    (tmp_path / "beats.yaml").write_text(BEATS)
    pipeline.run(tmp_path / "beats.yaml", out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    verdict = pl.read_csv(tmp_path / "reports" / "beats" / "checks.csv").row(0, named=True)
    assert verdict["finding"] == finding, verdict["why"]
    text = (tmp_path / "reports" / "beats" / "report.md").read_text()
    assert "the 128 features of a top_k autoencoder of sparsity 4, trained on states (seed 0) at layer 0" in text


def test_rows_that_an_autoencoder_was_trained_on_are_not_tested(tmp_path: Path) -> None:
    superposed(tmp_path / "superposed", rows=60)
    plan = planned(tmp_path, BEATS.replace("  features: {features", "  features: {data: {seed: 7}, features"))
    with pytest.raises(HarnessError, match=r"conditions\.features\.features: .* are training rows of states"):
        Run(plan, Store(tmp_path / "store")).conditions.pairs("features", "test")


def test_a_spec_without_features_says_nothing_of_them() -> None:
    from harness.spec import Activations, Condition, Data, Model, Prompt

    one = Condition(
        name="main", model=Model(id="m"), data=Data(), prompt=Prompt(), distractors=(), activations=Activations()
    )
    assert msgspec.to_builtins(one)["features"] is None
