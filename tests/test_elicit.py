"""Fine-tuned elicitation: what is trained, on which rows, what it tells, and what is kept of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import nn

from harness import language, pipeline
from harness.commands import costs
from harness.errors import DataError, SpecError, UsageError
from harness.execution.run import Run
from harness.models.adapter import WEIGHTS, find_adapter
from harness.models.card import ModelCard, describe, saved_whole
from harness.models.load import load
from harness.models.questions import Question, taught
from harness.models.tokenizer import load_tokenizer
from harness.models.training.batching import batches
from harness.models.training.elicit import elicit, log_odds
from harness.models.training.low_rank import insert, parameters_of
from harness.models.training.two_parts import lower_states, upper_part
from harness.plan.plan import Plan
from harness.prompts.building import build
from harness.spec import Activations, Condition, Data, Elicit, Model, Prompt
from harness.store import Store
from harness.subjects import elicited as training
from harness.subjects.language_model import LanguageModel
from tests.report_tables import full_table
from tests.test_beds import adapter_for


def silent(step: int, loss: float) -> None:
    pass


# ---------------------------------------------------------------- what is taught


def colours(card: ModelCard, template: str, answers: tuple[str, str], count: int = 40) -> pl.DataFrame:
    """A table of prompts about shades; every second one is warm."""
    from harness.data.file import File

    folder = Path(str(card.path)).parent / "colours"
    folder.mkdir(exist_ok=True)
    lines = [f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(count)]
    (folder / "colours.csv").write_text("colour,label\n" + "".join(lines))
    condition = Condition(
        name="colours",
        model=Model(id=str(card.path)),
        data=Data(source=File(file="colours.csv", text="colour"), limit=None),
        prompt=Prompt(template=template, answers=answers),
        distractors=(),
        activations=Activations(),
    )
    return build(condition, {}, folder, load_tokenizer(card)).frame


def all_questions(frame: pl.DataFrame) -> list[Question]:
    return taught(frame, frame.filter(answer=0)["truth"].to_list(), "colours")


def asked(card: ModelCard, frame: pl.DataFrame) -> torch.Tensor:
    """The network's log-odds of each pair, one prompt at a time: an oracle that shares nothing with training."""
    model = load(card).model
    found = []
    for tokens, start, end in frame.sort("pair", "answer").select("tokens", "answer_start", "answer_end").iter_rows():
        with torch.no_grad():
            chances = model(torch.tensor([list(tokens)])).logits[0].log_softmax(-1)
        found.append(sum(float(chances[place - 1, tokens[place]]) for place in range(start, end)))
    return torch.tensor(found).reshape(-1, 2).diff(dim=1)[:, 0]


@pytest.mark.parametrize(
    ("template", "answers", "texts"),
    [
        ("Is {{ colour }} warm? {{ answer }}", ("n", "y"), 1),
        ("Is {{ colour }} warm? {{ answer }}, I say.", ("never", "yes"), 2),
        ("{{ answer }}! {{ colour }} is warm: {{ answer }}", ("n", "y"), 2),
    ],
)
@pytest.mark.parametrize("block", [0, 1])
def test_what_is_trained_is_the_log_odds_by_which_the_answer_is_scored(
    tiny_llama: Path, template: str, answers: tuple[str, str], texts: int, block: int
) -> None:
    card = describe(Model(id=str(tiny_llama), dtype="float32"), Path())
    frame = colours(card, template, answers)
    questions = all_questions(frame)
    assert {len(question.texts) for question in questions} == {texts}
    network = load(card)
    states = [lower_states(network, question.texts, block) for question in questions]
    upper = upper_part(network, block, questions[0].texts, states[0])
    with torch.no_grad():
        found = log_odds(upper, questions, states)
    assert torch.allclose(found, asked(card, frame), atol=1e-4)
    assert found.std() > 1e-3, "the control: the questions differ"


def test_there_must_be_something_to_teach_and_something_before_the_answer(tiny_llama: Path) -> None:
    card = describe(Model(id=str(tiny_llama), dtype="float32"), Path())
    frame = colours(card, "Is {{ colour }} warm? {{ answer }}", ("n", "y"))
    pairs = frame.filter(answer=0).height
    with pytest.raises(DataError, match="training rows with one answer only"):
        taught(frame, [1] * pairs, "colours")
    with pytest.raises(DataError, match="no training rows"):
        taught(frame.head(0), [], "colours")
    with pytest.raises(DataError, match="nothing stands before the answer"):
        taught(frame.with_columns(answer_start=pl.lit(0)), [0, 1] * (pairs // 2), "colours")


def test_every_row_comes_once_before_any_comes_again_however_few_there_are() -> None:
    for count, size in ((100, 4), (30, 8), (5, 32), (1, 1)):
        drawn = batches([3] * count, size, torch.Generator().manual_seed(0))
        size = min(size, count)
        of_one_round = count // size // min(8, count // size) * min(8, count // size)
        for _ in range(2):
            seen = [number for _ in range(of_one_round) for number in next(drawn)]
            assert len(set(seen)) == len(seen) == of_one_round * size


# ---------------------------------------------------------------- what it tells

UNCHECKED = {"checked": "no"}


@pytest.fixture(scope="module")
def parcels() -> tuple[ModelCard, pl.DataFrame]:
    """A network that knows and does not say, and questions about parcels that nobody can check."""
    from harness.beds.deceiver import Deceiver
    from harness.data.parcel import Parcel

    bed = Deceiver()
    card = describe(msgspec.convert(bed.brought().model, Model), Path())
    condition = Condition(
        name="unchecked",
        model=Model(id=card.name),
        data=Data(source=Parcel(), where=UNCHECKED, limit=700),
        prompt=msgspec.convert(bed.brought().prompt, Prompt),
        distractors=(),
        activations=Activations(),
    )
    return card, build(condition, {}, Path(), load_tokenizer(card)).frame


SMALL = Elicit(steps=60, rate=5e-3)


def auroc_of(card: ModelCard, folder: Path, frame: pl.DataFrame) -> float:
    own = msgspec.structs.replace(card, adapter=find_adapter(str(folder), folder))
    return float(roc_auc_score(frame.filter(answer=0)["truth"], asked(own, frame)))


def test_what_is_known_and_not_said_is_said_on_rows_that_were_not_taught(
    parcels: tuple[ModelCard, pl.DataFrame], tmp_path: Path
) -> None:
    card, frame = parcels
    train, test = frame.filter(split="train"), frame.filter(split="test")
    right = train.filter(answer=0)["truth"].to_list()
    before = roc_auc_score(test.filter(answer=0)["truth"], asked(card, test))
    assert before < 0.6
    lessons = elicit(card, taught(train, right, "unchecked"), SMALL, tmp_path / "true", silent)
    assert auroc_of(card, tmp_path / "true", test) > 0.9
    assert lessons.closing_loss < lessons.first_loss - 0.2
    # The control: labels that mean nothing teach nothing.
    shuffled = np.random.default_rng(0).permutation(right).tolist()
    elicit(card, taught(train, shuffled, "unchecked"), SMALL, tmp_path / "shuffled", silent)
    assert 0.35 < auroc_of(card, tmp_path / "shuffled", test) < 0.65
    # The other: neither is it said where nothing is known.
    untrained = describe(Model(id="bed:deceiver", dtype="float32", weights="random"), Path())
    few = msgspec.structs.replace(SMALL, steps=10)
    elicit(untrained, taught(train, right, "unchecked"), few, tmp_path / "untrained", silent)
    whole = saved_whole(untrained, tmp_path / "untrained")
    assert roc_auc_score(test.filter(answer=0)["truth"], asked(whole, test)) < 0.7


def test_an_update_is_its_formula_to_the_byte() -> None:
    """W x + s B A x, forwards and backwards, whatever computes it: weights that were trained before are trained again."""
    generator = torch.Generator().manual_seed(0)
    block = nn.Sequential(nn.Linear(32, 48), nn.Tanh(), nn.Linear(48, 32, bias=False)).requires_grad_(False)
    maps = [(block[place].weight, block[place].bias) for place in (0, 2)]
    x = torch.randn(4, 7, 32, generator=generator)
    before, drawn = block(x), torch.random.get_rng_state()
    found = insert({"layers.3": block}, 5, 10, torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), drawn), "the control: nothing is drawn from the global generator"
    assert list(found) == ["layers.3.0", "layers.3.2"]
    assert torch.equal(block(x), before), "it starts from the network as it is"
    again = torch.Generator().manual_seed(1)
    for width, each in zip((32, 48), found.values(), strict=True):
        assert torch.equal(each.down, (torch.rand(5, width, generator=again) * 2 - 1) * (1 / width**0.5))
        assert each.scale == 2.0
        with torch.no_grad():
            each.up.copy_(torch.randn(each.up.shape, generator=generator))
    trained = parameters_of(found.values())
    own = [parameter.detach().clone().requires_grad_() for parameter in trained]
    expected = x
    for place, (weight, bias) in enumerate(maps):
        down, up = own[2 * place : 2 * place + 2]
        expected = nn.functional.linear(expected, weight, bias) + 2.0 * ((expected @ down.T) @ up.T)
        expected = expected.tanh() if place == 0 else expected
    assert torch.equal(block(x), expected)
    block(x).square().sum().backward()
    expected.square().sum().backward()
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(trained, own, strict=True))


def test_the_same_seed_gives_the_same_bytes(parcels: tuple[ModelCard, pl.DataFrame], tmp_path: Path) -> None:
    card, frame = parcels
    questions = all_questions(frame.filter(split="train"))
    options = Elicit(steps=3)
    for name, own in (("a", options), ("b", options), ("c", msgspec.structs.replace(options, seed=1))):
        elicit(card, questions, own, tmp_path / name, silent)
    written = [(tmp_path / name / WEIGHTS).read_bytes() for name in "abc"]
    assert written[0] == written[1] != written[2]


def test_lower_blocks_stay_as_they_are(parcels: tuple[ModelCard, pl.DataFrame], tmp_path: Path) -> None:
    card, frame = parcels
    for share, changed in ((0.0, {0, 1, 2}), (0.33, {1, 2}), (0.67, {2}), (0.99, {2})):
        options = Elicit(steps=1, first_block=share)
        elicit(card, all_questions(frame.filter(split="train")), options, tmp_path / str(share), silent)
        names = load_file(tmp_path / str(share) / WEIGHTS)
        assert {int(name.split(".layers.")[1].split(".")[0]) for name in names} == changed


def test_over_an_adapter_the_sum_is_exact(tiny_llama: Path, tmp_path: Path) -> None:
    """W + s B A + t D C, as one adapter over W, and what is loaded of it is what was trained."""
    down, up = adapter_for(tmp_path / "own", tiny_llama).values()
    plain = describe(Model(id=str(tiny_llama), dtype="float32"), tmp_path)
    card = describe(Model(id=str(tiny_llama), dtype="float32", adapter="own"), tmp_path)
    frame = colours(card, "Is {{ colour }} warm? {{ answer }}", ("n", "y"))
    options = Elicit(steps=8, rate=1e-2, rank=4, alpha=4, first_block=0.5)
    for name, base in (("over", card), ("alone", plain)):
        elicit(base, all_questions(frame), options, tmp_path / name, silent)
    both = msgspec.structs.replace(card, adapter=find_adapter("over", tmp_path))
    weights = {name: dict(load(each).model.named_parameters()) for name, each in (("w", plain), ("sum", both))}
    matrices = load_file(tmp_path / "over" / WEIGHTS)
    for name, weight in weights["sum"].items():
        target = f"base_model.model.{name.removesuffix('.weight')}"
        change = torch.zeros(())
        if f"{target}.lora_A.weight" in matrices:
            a, b = matrices[f"{target}.lora_A.weight"], matrices[f"{target}.lora_B.weight"]
            # The last four of seven are the new ones; α / r of the old ones is 2.
            change = b[:, 3:] @ a[3:]
            if name == "model.layers.1.self_attn.o_proj.weight":
                change = change + 2.0 * up @ down
            else:
                assert not a[:3].any()
        assert torch.allclose(weight, weights["w"][name] + change, atol=1e-5), name
    assert json.loads((tmp_path / "over" / "adapter_config.json").read_text())["r"] == 7
    # The control: it does not learn the same over another network.
    alone = load_file(tmp_path / "alone" / WEIGHTS)
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    assert not torch.allclose(alone[name], matrices[name][:, 3:], atol=1e-4)


def test_peft_reads_what_was_trained_the_same_way(tiny_llama: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    plain = describe(Model(id=str(tiny_llama), dtype="float32"), tmp_path)
    frame = colours(plain, "Is {{ colour }} warm? {{ answer }}", ("n", "y"))
    elicit(plain, all_questions(frame), Elicit(steps=8, rate=1e-2, rank=4, alpha=6), tmp_path / "own", silent)
    ours = load(msgspec.structs.replace(plain, adapter=find_adapter("own", tmp_path))).model
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype="float32")
    tokens = torch.arange(1, 20)[None]
    with torch.no_grad():
        before = base(tokens).logits
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "own").eval()
        assert torch.allclose(theirs(tokens).logits, ours(tokens).logits, atol=1e-5)
        assert not torch.allclose(before, ours(tokens).logits, atol=1e-3), "the control: it changes something"


# ---------------------------------------------------------------- in a spec

SPEC = """
harness: 1
name: elicit
model: {bed: deceiver}
data: {limit: 200, split: {train: 0.4, validation: 0.1, test: 0.5}}
conditions:
  checked: {data: {where: {checked: "yes"}}}
  unchecked: {data: {where: {checked: "no"}}}
  from_checked: {data: {where: {checked: "no"}}, elicit: {on: checked, steps: 2}}
  misled: {data: {where: {checked: "no", overseer: wrong}}, elicit: {on: checked, steps: 2}}
  ceiling: {data: {where: {checked: "no"}}, elicit: {steps: 2}}
activations: {layers: [3]}
layer: 3
baselines: false
probes: [zero_shot]
metrics: [auroc]
"""


def written(folder: Path, text: str = SPEC) -> Path:
    path = folder / "elicit.yaml"
    path.write_text(text)
    return path


def planned(folder: Path, text: str = SPEC, store: Path | None = None) -> Plan:
    spec = language.read(written(folder, text))
    return pipeline.planned(spec, folder, Store(store or folder / "store"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec, the store of a run and its report."""
    folder = tmp_path_factory.mktemp("elicit")
    pipeline.run(written(folder), out=folder / "reports", store=Store(folder / "store"), page=False)
    return folder


def test_each_training_is_done_once_and_answered_from_the_store(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(ran)
    assert [stage.place for stage in plan.of("elicit")] == [("from_checked", "misled"), ("ceiling",)]
    assert all(stored.cached for stored in plan.stored(Store(ran / "store")).values())
    manifest = json.loads((ran / "reports" / "elicit" / "manifest.json").read_text())
    stages = [stage for stage in manifest["stages"] if stage["kind"] == "elicit"]
    assert [(stage["cached"], stage["stages"], stage["rows"]) for stage in stages] == [(False, 2, 128)]
    report = (ran / "reports" / "elicit" / "report.md").read_text()
    assert "elicited for from_checked, misled" in report
    assert "training rows of checked, in 2 steps of 32; loss" in report

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("harness.models.training.elicit.elicit", never)
    # Another question of the same networks: nothing is trained.
    text = SPEC.replace("probes: [zero_shot]", "probes: [zero_shot, {kind: zero_shot, name: even, calibrated: true}]")
    outcome = pipeline.run(written(ran, text), out=ran / "more", store=Store(ran / "store"), page=False)
    assert not outcome.cached
    # The control: with another option, there is something to train.
    with pytest.raises(AssertionError, match="trained again"):
        pipeline.run(
            written(ran, SPEC.replace("{steps: 2}", "{steps: 1}")),
            out=ran / "more",
            store=Store(ran / "store"),
            page=False,
        )


def test_only_training_rows_of_the_named_condition_are_taught(ran: Path) -> None:
    plan, store = planned(ran), Store(ran / "store")
    conditions = Run(plan, store).conditions
    for on, taught_to in (("checked", ("from_checked", "misled")), ("unchecked", ("ceiling",))):
        artifact = store.open("elicit", plan.find("elicit", *taught_to).key)
        assert artifact is not None
        seen = pl.read_parquet(artifact / training.SEEN)
        table = conditions.table(on).frame.filter(answer=0)
        rows = table.join(seen, on=["example", "template"], how="inner")
        assert rows.height == seen.height == 64
        assert set(rows["split"].to_list()) == {"train"}
        assert rows["taught"].to_list() == rows["truth"].to_list()
        for asked_in in ("from_checked", "misled", "ceiling"):
            tested = conditions.table(asked_in).frame.filter(pl.col("split") != "train")
            assert not set(tested["group"].to_list()) & set(rows["group"].to_list())


def test_a_network_that_was_trained_has_states_of_its_own(ran: Path) -> None:
    plan = planned(ran)
    identities = {name: subject.identity for name, subject in plan.subjects.items()}
    assert identities["checked"] == identities["unchecked"] == plan.find("elicit", "ceiling").base.identity
    assert identities["from_checked"] == identities["misled"]
    assert len(set(identities.values())) == 3
    banks = {key.split("-")[0] for key in Store(ran / "store").keys("states")}
    assert len(banks) == 3
    assert {use.split("/")[1].rstrip("-") for use in plan.uses if use.startswith("states/")} == banks
    assert f"elicit/{plan.find('elicit', 'ceiling').key}" in plan.uses
    scores = full_table(ran / "reports" / "elicit", "results").filter(target="truth")
    assert scores.filter(pl.col("tested_on").is_in(["unchecked", "ceiling", "from_checked"]))["value"].n_unique() == 3


def test_the_bytes_that_were_trained_are_the_networks_identity(ran: Path, tmp_path: Path) -> None:
    """Made anew with other bytes, as on another machine, states of the first are not taken for its own."""
    plan = planned(ran)
    stage, first = plan.find("elicit", "ceiling"), plan.subjects["ceiling"]
    key = stage.key
    other = Store(tmp_path / "store")
    with Store(ran / "store").place("elicit", key).joinpath("meta.json").open() as file:
        about = json.load(file)["about"]
    with other.write("elicit", key, about) as folder:
        for name in (WEIGHTS, "adapter_config.json"):
            content = (Store(ran / "store").place("elicit", key) / name).read_bytes()
            (folder / name).write_bytes(content if name != WEIGHTS else content[:-1] + bytes([content[-1] ^ 1]))
    again = stage.recall(other)
    assert again is not None
    assert len({again.identity, first.identity, stage.base.identity, training.awaited(stage.base, key).identity}) == 4


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("ceiling: {data", "best: {data", True),
        ("data: {limit: 200", "data: {limit: 204", False),
        ("elicit: {steps: 2}", "elicit: {steps: 3}", False),
        ("elicit: {steps: 2}", "elicit: {steps: 2, rank: 4}", False),
        ("elicit: {steps: 2}", "elicit: {steps: 2, seed: 1}", False),
        ("elicit: {steps: 2}", "elicit: {steps: 2, target: suggests}", False),
        ("elicit: {steps: 2}", "elicit: {steps: 2, on: ceiling}", True),
        ("elicit: {steps: 2}", "elicit: {steps: 2, on: checked}", False),
        ("elicit: {steps: 2}", "model: {trained: false}, elicit: {steps: 2}", False),
    ],
)
def test_the_key_is_what_is_taught_to_whom(ran: Path, old: str, new: str, same: bool) -> None:
    assert old in SPEC
    keys = []
    for text in (SPEC, SPEC.replace(old, new)):
        plan = planned(ran, text)
        keys.append(plan.of_condition("elicit", list(plan.subjects)[-1]).key)
    assert (keys[0] == keys[1]) is same


def test_a_training_that_was_killed_leaves_nothing_and_is_done_again(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.models.training import trained

    store = Store(tmp_path / "store")

    def stop(tell: Any, step: int, loss: float, rate: float) -> float:
        if step == 2:
            raise KeyboardInterrupt
        return loss

    with monkeypatch.context() as patched:
        patched.setattr(trained, "told", stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(written(tmp_path), out=tmp_path / "reports", store=store, page=False)
    assert store.keys("elicit") == []
    assert store.keys("states"), "the control: what came before it is stored"
    pipeline.run(written(tmp_path), out=tmp_path / "reports", store=store, page=False)
    for name in ("report.md", "results.csv"):
        first, again = (folder / "reports" / "elicit" / name for folder in (ran, tmp_path))
        assert first.read_bytes() == again.read_bytes()
    # One that is damaged is made again too.
    place = store.place("elicit", store.keys("elicit")[0]) / WEIGHTS
    whole = place.read_bytes()
    place.write_bytes(whole[:-1])
    for kind in ("report", "summary", "score", "states"):
        # What is stored of them would be answered without the network.
        (tmp_path / "store" / kind).rename(tmp_path / f"{kind} of before")
    pipeline.run(written(tmp_path), out=tmp_path / "reports", store=store, page=False)
    assert place.read_bytes() == whole
    assert any("elicit/" in damaged for damaged in store.damaged)


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one_also_after_kills(ran: Path, tmp_path: Path) -> None:
    for what, count in (("together", 2), ("killed", 4)):
        command = [sys.executable, "-m", "tests.forked", what, str(count)]
        places = [str(written(tmp_path)), str(tmp_path / f"store-{what}"), str(tmp_path / what)]
        done = subprocess.run([*command, *places], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        assert len(Store(tmp_path / f"store-{what}").keys("elicit")) == 2
        for name in ("report.md", "results.csv"):
            first, again = (folder / "elicit" / name for folder in (ran / "reports", tmp_path / what))
            assert first.read_bytes() == again.read_bytes()


def test_the_plan_says_what_training_costs(ran: Path, tmp_path: Path) -> None:
    for folder, done in ((ran, True), (tmp_path, False)):
        plan = planned(folder, SPEC)
        run, stage = Run(plan, Store(folder / "store")), plan.find("elicit", "ceiling")
        found = costs.estimate(run)
        cost = found[stage.key]
        # Two steps of 32 rows, each as long as a story is.
        questions = stage.questions(run)
        assert stage.on == "ceiling"
        assert cost.rows == len(questions)
        assert (cost.rows_to_do, cost.tokens) == ((0, 0) if done else (len(questions), 64 * questions[0].tokens))
        assert "2 steps of 32 on training rows of ceiling" in cost.note
        states = found[plan.find("activations", "ceiling").key]
        assert bool(states.rows_to_do) is not done
        assert Store(folder / "store").keys("elicit") == [] or done, "nothing is trained for a plan"


def test_a_random_network_is_stored_whole(tmp_path: Path) -> None:
    """Its weights lie in no file, so that no adapter can be laid over them."""
    text = SPEC.replace("ceiling: {data", "ceiling: {model: {trained: false}, data")
    store = Store(tmp_path / "store")
    pipeline.run(written(tmp_path, text), out=tmp_path / "reports", store=store, page=False)
    plan = planned(tmp_path, text)
    card = plan.subjects["ceiling"].card
    assert (card.weights, card.adapter) == ("pretrained", None)
    stage = plan.find("elicit", "ceiling")
    assert card.path == store.place("elicit", stage.key)
    trained, before = (dict(load(one).model.named_parameters()) for one in (card, stage.base.card))
    changed = {name for name, weight in trained.items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(".layers.1." in name or ".layers.2." in name for name in changed)
    assert all(torch.allclose(weight, before[name], atol=0.05) for name, weight in trained.items())


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("on: checked", "on: cheked", 'no condition "cheked"; did you mean "checked"?'),
        ("elicit: {steps: 2}", "elicit: {on: misled, steps: 2}", "misled is elicited itself"),
        ("elicit: {steps: 2}", "elicit: {on: misled, steps: 2}", "name checked, whose rows that one is taught"),
        ("elicit: {on: checked, steps: 2}", "elicit: {on: ceiling}", "add a condition with the rows of ceiling"),
        ("elicit: {steps: 2}", "elicit: {target: truht}", 'no target "truht"; did you mean "truth"?'),
        ("elicit: {steps: 2}", "elicit: {step: 2}", 'has no "step"; did you mean "steps"?'),
        ("elicit: {steps: 2}", "elicit: {first_block: 1.0}", "1 is out of range"),
        ("elicit: {steps: 2}", "model: {bed: planted}, data: {}, elicit: {steps: 2}", "nothing can be trained"),
        ("elicit: {steps: 2}", "model: {id: t5-small, side: encoder}, elicit: {}", "an encoder gives no answer"),
    ],
)
def test_what_cannot_be_elicited_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SPEC.replace(old, new)
    if "model:" in new:
        text = text.replace('ceiling: {data: {where: {checked: "no"}}, ', "ceiling: {").replace("data: {}, ", "")
    assert text != SPEC
    with pytest.raises(SpecError) as raised:
        language.read(written(tmp_path, text))
    assert said in str(raised.value)
    assert "elicit.yaml:" in str(raised.value)
    assert ".elicit" in str(raised.value) or "conditions" in str(raised.value)


def test_rows_of_a_planted_bed_and_statements_ask_nothing(tmp_path: Path) -> None:
    text = SPEC.replace("on: checked", "on: planted").replace(
        "checked: {data", "planted: {model: {bed: planted}}\n  checked: {data", 1
    )
    with pytest.raises(SpecError, match="token ids of the test bed planted"):
        language.read(written(tmp_path, text))
    said = 'said: {prompt: {template: "{{ question }}"}}'
    text = SPEC.replace("on: checked", "on: said").replace("checked: {data", f"{said}\n  checked: {{data", 1)
    with pytest.raises(
        SpecError, match=r"elicit\.on: a network is trained to answer, and the rows of said are statements"
    ):
        language.read(written(tmp_path, text))


def test_what_gives_no_answers_or_has_another_tokenizer_is_refused_before_anything_runs(
    tiny_llama: Path, tmp_path: Path
) -> None:
    card = describe(Model(id=str(tiny_llama), dtype="float32"), tmp_path)
    subject = LanguageModel(card)
    assert training.check_can_be_elicited("own", subject) is subject
    encoder = msgspec.structs.replace(
        card, side="encoder", shape=msgspec.structs.replace(card.shape, stacks="encoder-only")
    )
    with pytest.raises(UsageError, match=r"conditions\.own\.elicit: .* is encoder-only"):
        training.check_can_be_elicited("own", LanguageModel(encoder))
    text = SPEC.replace(
        "  ceiling: {",
        f"""  other:
    model: {{id: {tiny_llama}, dtype: float32}}
    data: {{source: quirky, limit: 40}}
    activations: {{layers: all}}
    prompt: {{template: "{{{{ question }}}} {{{{ answer }}}}", answers: [N, Y]}}
  ceiling: {{""",
    ).replace("elicit: {steps: 2}", "elicit: {on: other}")
    with pytest.raises(UsageError, match=r"conditions\.ceiling\.elicit\.on: .* tokenised for another network"):
        planned(tmp_path, text)


def test_what_it_is_tested_on_is_never_taught(tmp_path: Path) -> None:
    """Also where the adapter is stored: another condition may ask it other rows."""
    text = SPEC.replace(
        'checked: {data: {where: {checked: "yes"}}}', 'checked: {data: {seed: 1, where: {checked: "yes"}}}'
    )
    with pytest.raises(DataError, match=r"conditions\.from_checked\.elicit: \d+ groups of rows would be taught"):
        pipeline.run(written(tmp_path, text), out=tmp_path, store=Store(tmp_path / "store"), page=False)
