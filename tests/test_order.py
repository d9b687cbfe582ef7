"""What a spec gives does not hang on what else was run with the same store: equal keys are equal bytes, in whatever order."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from harness import language, pipeline
from harness.activations.extract import bank_key
from harness.activations.rows import row_table
from harness.errors import HarnessError
from harness.execution.run import Run
from harness.store import Store

from .conftest import write_tiny_llama

ROOT = Path(__file__).parent.parent
PAIRS = int(os.environ.get("HARNESS_SPEC_PAIRS", "2"))
"""Random pairs of specs; HARNESS_SPEC_PAIRS=200 tries more, and all pairs of shipped specs."""
ROUNDING = 5e-6
"""Relative difference of states that were forwarded in other batches."""

SPEC = """
harness: 1
name: colours
about: What is warm?
model: {id: short, dtype: float32}
data:
  source: {file: colours.csv, text: colour, factors: {loud: ["0", "1"], wet: ["0", "1"]}}
  limit: 60
  split: {train: 0.5, validation: 0.1, test: 0.4}
prompt:
  templates: {one: "The colour {{ colour }} is warm: {{ answer }}", two: "{{ colour }}? {{ answer }}"}
  answers: ["no", "yes"]
distractors:
  word: {kind: random_word, words: [Banana, Shed]}
  coin: {kind: coin}
conditions:
  plain: {}
  banana: {distractors: [word]}
probes: [crc_tpc, mean_difference]
baselines: false
transfer: [{fit_on: plain, tested_on: [plain, banana]}, {fit_on: banana, tested_on: [plain]}]
autopsy: [mean_difference]
geometry: true
leaderboard: true
sample_efficiency: {rows: [16], draws: 2, probes: [mean_difference]}
checks:
  - {kind: tracks_truth, probe: crc_tpc, condition: plain, over: word}
  - {kind: chance_on_shuffled_labels, probe: mean_difference, condition: plain, shuffles: 5}
"""

Edit = Callable[[dict[str, Any]], object]


def turned(values: Any) -> Any:
    return dict(reversed(values.items())) if isinstance(values, dict) else values[::-1]


def turning(*path: str) -> Edit:
    """Turns round the order of a mapping or list of the spec."""

    def edit(spec: dict[str, Any]) -> None:
        for name in path[:-1]:
            spec = spec[name]
        spec[path[-1]] = turned(spec[path[-1]])

    return edit


def setting(place: str, value: Any) -> Edit:
    def edit(spec: dict[str, Any]) -> None:
        *path, last = place.split(".")
        for name in path:
            spec = spec.setdefault(name, {})
        spec[last] = copy.deepcopy(value)

    return edit


EDITS: dict[str, Edit] = {
    "templates turned": turning("prompt", "templates"),
    "distractors turned": turning("distractors"),
    "factors turned": turning("data", "source", "factors"),
    "conditions turned": turning("conditions"),
    "probes turned": turning("probes"),
    "transfer turned": turning("transfer"),
    "checks turned": turning("checks"),
    "a copy of the file": setting("data.source.file", "copy.csv"),
    "a copy of the network": setting("model.id", "copy"),
    "a longer context": setting("model.id", "long"),
    "a longer context, and long prompts": lambda spec: (
        setting("model.id", "long")(spec),
        setting("data.source.file", "long.csv")(spec),
    ),
    "long prompts": setting("data.source.file", "long.csv"),
    "long prompts dropped": lambda spec: (
        setting("data.source.file", "long.csv")(spec),
        setting("prompt.too_long", "drop")(spec),
    ),
    "a limit that nothing meets": setting("prompt.max_tokens", 110),
    "another name": setting("name", "others"),
    "an xor": setting("xors", [["truth", "word"]]),
    "a probe of a factor": setting(
        "probes", ["crc_tpc", "mean_difference", {"kind": "mean_difference", "target": "loud"}]
    ),
    "a probe of an xor": setting(
        "probes", ["crc_tpc", "mean_difference", {"kind": "mean_difference", "target": "truth^word"}]
    ),
    "tested elsewhere only": lambda spec: (
        setting("transfer", [{"fit_on": "plain", "tested_on": ["banana"]}])(spec),
        setting("checks", [])(spec),
    ),
    "a seed": setting("data.seed", 1),
    "signs": setting("data.sign_on", "loud"),
    "where": setting("data.where", {"wet": 1}),
    "where, all": setting("data.where", {}),
    "half as many": setting("data.limit", 40),
    "layers": setting("activations", {"layers": [2, 1]}),
    "another token": setting("activations", {"token": "mean"}),
    "one layer judged": setting("layer", 1),
    "last layer": setting("layer", "last"),
    "planted": setting("conditions.banana.plant", {"of": "coin", "strength": 2.0}),
    "never packed": setting("model.packing", "never"),
    "unbalanced": setting("data.balance", False),
}


def write_network(folder: Path, context: int) -> None:
    """The tiny network; with another context, the same one."""
    folder.mkdir()
    write_tiny_llama(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": context}))


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the time of such small runs is that of a disk which is told to be sure."""
    monkeypatch.setattr("harness.store.store._sync", lambda path: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, of which `long` reads longer prompts, and files: one is a copy, and one has texts too long for `short`."""
    home = tmp_path_factory.mktemp("home")
    for name, context in (("short", 120), ("copy", 120), ("long", 512)):
        write_network(home / name, context)
    for name, length in (("colours", 1), ("copy", 1), ("long", 20)):
        rows = (
            f"shade {'deep ' * (length if n % 7 == 0 else 1)}{n} of {'red' if n % 2 else 'blue'},{n % 2},{n // 2 % 2},{n // 3 % 2}\n"
            for n in range(180)
        )
        (home / f"{name}.csv").write_text("colour,label,loud,wet\n" + "".join(rows))
    return home


class Given(msgspec.Struct):
    """What a spec gave with a store."""

    refused: str = ""
    results: dict[str, str] = {}
    """By the title of a stage, a hash of what the store has of it."""
    rows: frozenset[str] = frozenset()
    """Keys of the rows that its states are of, each with that of its network's bank."""
    states: dict[tuple[str, str], np.ndarray] = {}
    """By condition and part."""


def edited(names: tuple[str, ...]) -> str:
    spec = yaml.safe_load(SPEC)
    for name in names:
        EDITS[name](spec)
    return yaml.safe_dump(spec, sort_keys=False)


def run(home: Path, text: str, store: Store) -> Given:
    """Makes all stages of a spec but the figures and the report, which take longest and have nothing of their own."""
    path = home / "spec.yaml"
    path.write_text(text)
    try:
        plan = pipeline.planned(language.read(path), home, store)
        execution = Run(plan, store)
        for stage in plan.stages:
            if stage.kind not in ("figures", "report"):
                execution.get(stage)
    except HarnessError as error:
        return Given(refused=f"{type(error).__name__}: {error}")
    return given(execution, [one.name for one in plan.spec.conditions])


def given(execution: Run, conditions: Sequence[str]) -> Given:
    """What a run gave, and the states of some conditions, which are made if they are not there."""
    states, rows, plan = {}, set(), execution.plan
    for name in conditions:
        extracted, table = execution.conditions.extracted(name), execution.conditions.table(name)
        network = bank_key(execution.conditions.subject(name))
        wanted = execution.conditions.of(name).activations
        rows |= {f"{network} {key}" for key in row_table([table], wanted).keys}
        frame = table.frame.filter(answer=0)
        for part in frame["split"].unique(maintain_order=True):
            numbers = frame.filter(split=part)["pair"].to_numpy()
            found = extracted.pairs(table, numbers, execution.conditions.layers(name))
            states[name, part] = found.states.numpy()
    results = {stage.title: content(execution.store, stage.kind, stage.key) for stage in plan.stages}
    return Given(results=results, rows=frozenset(rows), states=states)


def content(store: Store, kind: str, key: str) -> str:
    """A hash of an artifact's files and description; empty where there is none."""
    artifact = store.open(kind, key)
    if artifact is None:
        return ""
    files = {name: hashlib.sha256((artifact / name).read_bytes()).hexdigest() for name in artifact.files}
    return hashlib.sha256(json.dumps([files, artifact.meta], sort_keys=True).encode()).hexdigest()


def same(alone: Given, after: Given, other: Given, what: object) -> None:
    """Asserts that a spec gave the same after another as alone.

    A row is forwarded once whoever asks for it: where two specs share some rows and one has rows of its own, it was so in other
    batches, and its states differ by rounding.
    """
    assert after.refused == alone.refused, what
    assert after.rows == alone.rows, what
    assert after.states.keys() == alone.states.keys(), what
    in_part = alone.rows & other.rows and alone.rows != other.rows
    for place, states in alone.states.items():
        if in_part:
            off = np.linalg.norm(after.states[place] - states, axis=-1) / np.linalg.norm(states, axis=-1).clip(1e-30)
            assert off.max() <= ROUNDING, (what, place)
        else:
            assert after.states[place].tobytes() == states.tobytes(), (what, place)
    if not in_part:
        titles = alone.results.keys() | after.results.keys()
        different = [title for title in sorted(titles) if alone.results.get(title) != after.results.get(title)]
        assert not different, (what, different)


# ---------------------------------------------------------------- both orders


def drawn(chance: random.Random) -> tuple[str, ...]:
    """A few edits, that are the spec's own."""
    return tuple(chance.sample(list(EDITS), chance.choice((0, 1, 1, 2, 3))))


@pytest.mark.slow
def test_a_spec_gives_the_same_after_any_other(home: Path, tmp_path: Path) -> None:
    chance = random.Random("pairs of specs")
    alone: dict[str, Given] = {}
    count = 0

    def fresh(text: str) -> Given:
        nonlocal count
        if text not in alone:
            count += 1
            alone[text] = run(home, text, Store(tmp_path / f"alone-{count}"))
        return alone[text]

    refused = 0
    for number in range(PAIRS):
        names = drawn(chance), drawn(chance)
        for turn, (first, second) in enumerate(permutations(names)):
            store = Store(tmp_path / f"both-{number}-{turn}")
            before = run(home, edited(first), store)
            assert before.refused == fresh(edited(first)).refused
            after = run(home, edited(second), store)
            same(fresh(edited(second)), after, fresh(edited(first)), (first, "then", second))
            refused += bool(after.refused)
    # The control: most of what is drawn can be run.
    assert refused <= PAIRS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("long prompts",), ("a longer context, and long prompts",)),
        (("long prompts dropped",), ("a longer context", "long prompts dropped")),
        (("a copy of the network",), ()),
        (("an xor", "tested elsewhere only"), ("tested elsewhere only",)),
        (("an xor", "a probe of an xor"), ("a probe of an xor",)),
    ],
    ids=["context, refused", "context, dropped", "network", "xors of geometry", "target"],
)
def test_pairs_of_which_one_once_answered_for_the_other(
    first: tuple[str, ...], second: tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    texts = edited(first), edited(second)
    assert texts[0] != texts[1]
    alone = [run(home, text, Store(tmp_path / f"alone-{number}")) for number, text in enumerate(texts)]
    assert alone[0].refused != alone[1].refused or alone[0].results != alone[1].results, "they give the same anyway"
    for one, other in ((0, 1), (1, 0)):
        store = Store(tmp_path / f"both-{one}")
        run(home, texts[one], store)
        same(alone[other], run(home, texts[other], store), alone[one], (first, second, one))


def test_a_copy_of_a_file_is_the_same_data_set(home: Path, tmp_path: Path) -> None:
    """What is drawn by groups hangs on what is in a file, and not on its name, which is in no key."""
    alone, copied = (
        run(home, edited(names), Store(tmp_path / str(len(names)))) for names in ((), ("a copy of the file",))
    )
    same(alone, copied, Given(), "a copy")


def test_networks_of_one_tokenizer_share_prompts_that_both_can_read(home: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = []
    for names in (("a limit that nothing meets",), ("a limit that nothing meets", "a longer context")):
        path = home / "spec.yaml"
        path.write_text(edited(names))
        keys.append(pipeline.planned(language.read(path), home, store).find("prompts", "plain").key)
    assert keys[0] == keys[1]


SMALL = ("characters", "deceiver", "tampering", "tampering_detection")
"""Shipped specs of beds whose networks come with the package."""


def shipped(name: str, store: Store) -> Given:
    """The states of a shipped spec's conditions, few rows of each, but of those whose network is trained first."""
    path = ROOT / "specs" / f"{name}.yaml"
    plan = pipeline.planned(language.read(path, ["data.limit=120"]), path.parent, store, bring=False)
    return given(Run(plan, store), [one.name for one in plan.spec.conditions if one.elicit is None])


def test_states_of_shipped_specs_are_the_same_after_any_other(tmp_path: Path) -> None:
    every = list(permutations(SMALL, 2))
    chosen = every if len(every) < PAIRS else random.Random("shipped").sample(every, 1)
    alone = cache(lambda name: shipped(name, Store(tmp_path / name)))
    for first, second in chosen:
        store = Store(tmp_path / f"{first}-{second}")
        shipped(first, store)
        same(alone(second), shipped(second, store), alone(first), (first, "then", second))


# ---------------------------------------------------------------- equal keys


_NOTES = {"selfchecks", "plans"}
"""What is no result: differences that were measured, and what a plan was like when it last ran."""


def contents(store: Store) -> dict[str, str]:
    """What a store has, by kind and key."""
    kinds = [path.name for path in sorted(store.root.iterdir()) if path.is_dir() and path.name not in _NOTES]
    found = {f"{kind}/{key}": content(store, kind, key) for kind in kinds for key in store.keys(kind)}
    return {key: hashed for key, hashed in found.items() if hashed}


def test_equal_keys_are_equal_bytes(home: Path, tmp_path: Path) -> None:
    """Each edit by itself, in a store of its own: what two stores have under one key is one thing."""
    every = [(), *((name,) for name in EDITS)]
    chosen = every if len(every) < PAIRS else [(), *random.Random("keys").sample(every[1:], min(2 * PAIRS, len(EDITS)))]
    held = {}
    for number, names in enumerate(chosen):
        store = Store(tmp_path / str(number))
        run(home, edited(names), store)
        held[names] = contents(store)
    shared = 0
    for one, other in combinations(held, 2):
        both = held[one].keys() & held[other].keys()
        different = [key for key in sorted(both) if held[one][key] != held[other][key]]
        assert not different, (one, other, different)
        shared += len(both)
    assert shared > len(chosen), "edits that change everything show nothing"


@pytest.mark.parametrize("place", ["prompt.templates", "distractors", "data.source.factors", "conditions", "probes"])
def test_the_order_in_which_things_are_named_is_part_of_what_is_made_of_them(
    place: str, home: Path, tmp_path: Path
) -> None:
    """A report shows them in that order; where nothing else has changed, a plan says so."""
    path, store = home / "spec.yaml", Store(tmp_path)
    path.write_text(SPEC)
    before = pipeline.planned(language.read(path), home, store)
    before.remember(store)
    path.write_text(edited((f"{place.split('.')[-1]} turned",)))
    after = pipeline.planned(language.read(path), home, store)
    assert after.last.key != before.last.key
    stored = after.stored(store)
    reasons = {stage.title: stored[stage.key].reason for stage in after.stages}
    of_inputs = {"conditions": "costs colours", "probes": "tables colours"}
    if place in of_inputs:
        assert reasons[of_inputs[place]] == "changed: the order of its inputs"
    else:
        assert re.match("changed: (template|distractors|data)", reasons["prompts plain"])
