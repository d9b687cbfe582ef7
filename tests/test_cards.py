"""Beds that somebody published as a folder: the card, what a spec makes of it, what it claims, and what it may not do."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from harness import cli, language, pipeline
from harness.assets.bed_folder import BedFolder, find_bed
from harness.errors import HarnessError, SpecError, UsageError
from harness.language.cards import read_card
from harness.spec import Model
from harness.spec.plain import spec_content
from harness.store import Store
from harness.untrusted.paths import leads_out
from tests.test_beds import adapter_for

CARD = """\
bed: 1
name: colours
about: A network that was never trained, with data that tell it nothing.
model: {id: ./network, dtype: float32}
data:
  source: {file: rows.csv, text: colour, label: label, factors: {who: [Bob, Alice], mood: [wild, calm]}}
  limit: 120
prompt:
  template: "{{ colour }}: {{ answer }}"
  answers: ["false", "true"]
conditions:
  honest: {data: {where: {who: Alice}}}
  deceptive: {data: {where: {who: Bob}}, prompt: {template: "{{ colour }} is {{ answer }}"}}
claims:
  probes: [mean_difference]
  baselines: false
  metrics: [accuracy]
  checks:
    - {kind: chance_on_shuffled_labels, probe: mean_difference, condition: honest, margin: 0.2}
    - {kind: chance_after_erasure, name: no_mood, probe: mean_difference, condition: deceptive, of: mood, margin: 0.45, expect: pass}
"""

SPEC = """\
harness: 1
name: uses-a-bed
model: {bed: ./my-bed}
conditions:
  a: {model: {setting: honest}}
  b: {model: {setting: deceptive}, data: {limit: 40}}
  c: {model: {setting: honest, trained: false, precision: fast}}
  d: {}
probes: [mean_difference]
baselines: false
"""


@pytest.fixture
def bed(tmp_path: Path, tiny_llama: Path) -> Path:
    folder = tmp_path / "my-bed"
    shutil.copytree(tiny_llama, folder / "network")
    rows = [f"shade {n},{n // 2 % 2},{('Bob', 'Alice')[n % 2]},{('wild', 'calm')[n // 4 % 2]}" for n in range(160)]
    (folder / "rows.csv").write_text("colour,label,who,mood\n" + "\n".join(rows) + "\n")
    (folder / "bed.yaml").write_text(CARD)
    return folder


def read(bed: Path, text: str = SPEC) -> Any:
    path = bed.parent / "spec.yaml"
    path.write_text(text)
    return language.read(path)


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


# ---------------------------------------------------------------- in a spec


def test_a_bed_with_a_card_stands_in_for_model_data_and_prompt(bed: Path) -> None:
    honest, deceptive, control, plain = read(bed).conditions
    assert honest.model == Model(id="./network", dtype="float32")
    assert (honest.data.where, honest.data.limit) == ({"who": "Alice"}, 120)
    assert honest.prompt.template == "{{ colour }}: {{ answer }}"
    assert deceptive.prompt.template == "{{ colour }} is {{ answer }}"
    # What the spec says lies over it.
    assert (deceptive.data.where, deceptive.data.limit) == ({"who": "Bob"}, 40)
    assert (control.model.weights, control.model.precision, control.model.dtype) == ("random", "fast", None)
    # Without a setting nothing is chosen, and rows are split before any could be.
    assert plain.data.where == {}
    assert [factor.values for factor in plain.data.source.factors] == [("Bob", "Alice"), ("wild", "calm")]


def test_nothing_of_the_machine_is_in_the_spec_that_is_kept(bed: Path) -> None:
    spec = read(bed)
    assert str(bed.parent) not in json.dumps(spec_content(spec))
    assert spec_content(spec)["conditions"][0]["bed"]["setting"] == "honest"
    plan = pipeline.planned(spec, bed.parent, Store())
    assert [subject.name for subject in plan.subjects.values()] == ["my-bed/network"] * 4
    # Three networks: that of the bed in two formats, and the control.
    assert len(plan.of("activations")) == 2


def test_an_adapter_in_a_bed_lies_over_a_base_by_name_and_is_left_out_of_the_control(bed: Path) -> None:
    adapter_for(bed / "adapter", bed / "network")
    (bed / "bed.yaml").write_text(CARD.replace("./network,", "./network, adapter: ./adapter,"))
    spec = read(bed)
    adapters = {one.name: one.model.adapter for one in spec.conditions}
    assert adapters == {"a": "./adapter", "b": "./adapter", "c": None, "d": "./adapter"}
    assert spec.condition("c").model.weights == "pretrained"
    cards = pipeline.planned(spec, bed.parent, Store()).subjects
    assert cards["a"].card.adapter is not None
    assert cards["a"].identity != cards["c"].identity
    # One that was made for another base.
    adapter_for(bed / "adapter", bed / "network", width=31)
    with pytest.raises(UsageError, match="it was made for another network"):
        pipeline.planned(read(bed), bed.parent, Store())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("./my-bed}", "./my-bet}", "spec.yaml:3:14: model.bed: no folder"),
        ("./my-bed}", "my-bed}", 'no test bed "my-bed"'),
        ("./my-bed}", "./empty}", "is no bed: it has no bed.yaml"),
        (
            "./my-bed}",
            "./my-bed, precison: fast}",
            'the test bed with a card has no "precison"; did you mean "precision"?',
        ),
        ("setting: honest}}", "setting: onest}}", 'has no setting "onest"; did you mean "honest"?'),
        ("d: {}", "d: {data: {source: cities}}", "brings its own data; leave the source out"),
        ("d: {}", "d: {data: {where: {who: Bob}, limt: 3}}", 'has no "limt"; did you mean "limit"?'),
    ],
)
def test_mistakes_about_a_bed_are_told_where_they_are(bed: Path, before: str, after: str, said: str) -> None:
    (bed.parent / "empty").mkdir()
    assert read(bed), "the control"
    assert before in SPEC
    with pytest.raises(SpecError) as raised:
        read(bed, SPEC.replace(before, after, 1))
    assert said in str(raised.value)


def test_a_spec_with_a_bed_is_what_the_schema_describes(bed: Path) -> None:
    jsonschema.validate(yaml.safe_load(SPEC), language.json_schema())
    jsonschema.validate(yaml.safe_load(CARD), language.json_schema("bed"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(CARD.replace("claims:", "claim:")), language.json_schema("bed"))
    assert json.loads(invoke("schema", "--of", "bed").output)["title"] == "bed card"


# ---------------------------------------------------------------- bad cards


def replaced(before: str, after: str) -> Callable[[str], str]:
    def change(card: str) -> str:
        assert before in card
        return card.replace(before, after, 1)

    return change


def without_claims(card: str) -> str:
    return card[: card.index("claims:")]


BAD: list[tuple[str, Callable[[str], str], str]] = [
    ("no claims", without_claims, "1:1: the key `claims` is missing: What must hold"),
    ("no checks", replaced("checks:\n", "checks: []\n  seeds: 1\n  other:\n"), "claims.checks: this needs at least 1"),
    ("no version", replaced("bed: 1\n", ""), "the key `bed` is missing"),
    ("a later version", replaced("bed: 1", "bed: 2"), "1:6: bed: "),
    ("nothing about it", replaced("about: A network that was never trained, with data that tell it nothing.\n", ""), "the key `about` is missing"),
    ("a misspelt key", replaced("prompt:", "promt:"), '8:1: promt: the bed card has no "promt"; did you mean "prompt"?'),
    ("an include", replaced("bed: 1", "include: ../x.yaml\nbed: 1"), 'has no "include"'),
    ("a misspelt probe", replaced("[mean_difference]", "[mean_diference]"), '15:12: claims.probes[0]: no probe "mean_diference"; did you mean "mean_difference"?'),
    ("a condition that is not there", replaced("condition: honest", "condition: honst"), 'no condition "honst"; did you mean "honest"?'),
    ("a factor that is not there", replaced("of: mood", "of: moods"), 'no target "moods"; did you mean "mood"?'),
    ("a factor of one value", replaced("[Bob, Alice]", "[Bob]"), "the factor who needs two different values"),
    ("a claim that expects neither", replaced("expect: pass", "expect: inconclusive"), "a claim holds or does not"),
    ("a model that climbs", replaced("./network", "../other"), "4:13: model.id: this leads out of the bed's folder"),
    ("an absolute model", replaced("./network", "/etc"), "4:13: model.id: this leads out of the bed's folder"),
    ("a home's model", replaced("./network", "~/x"), "this leads out of the bed's folder"),
    ("an adapter that climbs", replaced("dtype:", "adapter: x/../../y, dtype:"), "model.adapter: this leads out"),
    ("an adapter that climbs in a setting", replaced("honest: {", "honest: {model: {adapter: ../y}, "), "model.adapter: this leads out"),
    ("data that climb", replaced("rows.csv", "../rows.csv"), "6:18: data.source.file: this leads out"),
    ("code", replaced("dtype:", "trust_remote_code: true, dtype:"), "a card cannot ask for this; who uses the bed says so himself"),
    ("pickles", replaced("dtype:", "allow_pickle: true, dtype:"), "a card cannot ask for this"),
    ("pickles in a setting", replaced("honest: {", "honest: {model: {allow_pickle: true}, "), "a card cannot ask for this"),
    ("another bed", replaced("{id: ./network, dtype: float32}", "{bed: quirky}"), "a card names the weights themselves"),
    ("its own bed", replaced("{id: ./network, dtype: float32}", "{bed: .}"), "4:8: model: a card names the weights themselves"),
    ("its own bed in a setting", replaced("honest: {", "honest: {model: {bed: ../my-bed}, "), "a card names the weights themselves"),
    ("a folder's bed", replaced("{id: ./network, dtype: float32}", "{bed: ./other}"), "a card names the weights themselves"),
    ("no mapping", lambda card: "- 1\n", "a bed's card is a mapping that begins with `bed: 1`"),
    ("nothing", lambda card: "", "a bed's card is a mapping"),
    ("a key twice", replaced("limit: 120", "limit: 120\n  limit: 3"), "this key stands here twice"),
    ("bytes", lambda card: "\x00", "control character"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "spoil", "said"), BAD, ids=[row[0] for row in BAD])
def test_bad_cards_are_refused_with_the_place_in_the_card(
    bed: Path, what: str, spoil: Callable[[str], str], said: str
) -> None:
    assert read_card(BedFolder(bed)).conditions == ["honest", "deceptive"], "the control"
    (bed / "bed.yaml").write_text(spoil(CARD))
    with pytest.raises(SpecError) as raised:
        read(bed)
    assert "bed.yaml" in str(raised.value)
    assert said in str(raised.value)


def test_all_that_is_wrong_with_a_card_is_said_at_once(bed: Path) -> None:
    text = CARD.replace("./network", "../x").replace("expect: pass", "expect: inconclusive").replace("limit", "limt", 1)
    (bed / "bed.yaml").write_text(text)
    with pytest.raises(SpecError) as raised:
        read_card(BedFolder(bed))
    assert len(raised.value.problems) == 3


def test_a_value_that_the_card_does_not_know_is_an_error_with_its_row(bed: Path) -> None:
    rows = bed / "rows.csv"
    rows.write_text(rows.read_text().replace("Alice", "alice", 1))
    with pytest.raises(UsageError, match=r'rows\.csv: row 2, column "who": "alice" is none of its values: Bob, Alice'):
        pipeline.run(_written(bed), out=bed.parent, page=False)


def test_links_and_what_is_no_file_are_refused(bed: Path) -> None:
    (bed / "network" / "inside.json").symlink_to(bed / "rows.csv")
    assert find_bed("./my-bed", "main", bed.parent, whole=True).folder == bed.parent / "my-bed"
    (bed / "network" / "extra.json").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link out of the bed's folder"):
        find_bed("./my-bed", "main", bed.parent, whole=True)


@pytest.mark.parametrize("path", ["/x", "~/x", "~", "..", "a/../b", "a/..", "..\\x", "\\x", "C:\\x", "C:/x", "a\0b"])
def test_paths_that_lead_out_are_told_by_their_looks(path: str) -> None:
    assert leads_out(path)
    for inside in (".", "./a", "a/b", "a..b", "some-org/model", "smollm2-135m-instruct", "bed:deceiver"):
        assert not leads_out(inside)


# ---------------------------------------------------------------- claims


def _written(bed: Path, text: str = SPEC) -> Path:
    path = bed.parent / "spec.yaml"
    path.write_text(text)
    return path


def test_claims_are_tried_and_a_report_says_whether_they_were(bed: Path) -> None:
    """Before, after, with a claim that does not hold, and with a row that was changed."""
    small = SPEC[: SPEC.index("  b:")] + SPEC[SPEC.index("probes") :]

    def report() -> str:
        return (pipeline.run(_written(bed, small), out=bed.parent, page=False).folder / "report.md").read_text()

    before = report()
    assert "The claims of the test bed ./my-bed were not tried here" in before
    assert "test bed ./my-bed: my-bed/network" in before
    said = invoke("bed", "verify", bed)
    assert said.exit_code == 0, said.output
    assert "2 of 2 claims hold" in said.output
    assert "The claims of the test bed ./my-bed were tried here, and all 2 hold." in report()
    (bed / "bed.yaml").write_text(CARD.replace("margin: 0.45", "margin: 0.001"))
    assert "were not tried here" in report()
    said = invoke("bed", "verify", bed)
    assert said.exit_code == 1
    assert "DOES NOT HOLD: no_mood: accuracy of mean_difference on deceptive" in said.output
    assert "Of the 2 claims of the test bed ./my-bed, tried here, 1 do not hold: no" in report()
    (bed / "rows.csv").write_text((bed / "rows.csv").read_text().replace("shade 3,", "shade three,"))
    assert "were not tried here" in report()


def test_a_control_claims_nothing(bed: Path) -> None:
    text = SPEC.replace("{bed: ./my-bed}", "{bed: ./my-bed, trained: false}")
    text = text[: text.index("  b:")] + text[text.index("probes") :]
    folder = pipeline.run(_written(bed, text), out=bed.parent, page=False).folder
    assert "claims of the test bed" not in (folder / "report.md").read_text()


def test_what_cannot_be_verified_is_refused(bed: Path) -> None:
    for arguments, said in (
        ((bed, "--keep"), "--keep is for a folder"),
        ((bed, "--set", "setting=honest"), "leave `setting` and `trained` out"),
        ((bed, "--set", "dtipe=float32"), "dtipe"),
        ((bed.parent,), "is no bed: it has no bed.yaml"),
        (("./nowhere",), "no folder"),
    ):
        found = invoke("bed", "verify", *arguments)
        assert isinstance(found.exception, UsageError), arguments
        assert said in str(found.exception)


# ---------------------------------------------------------------- from the Hub


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(bed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's own cache with a bed in it, as the library leaves it: links to blobs."""
    cache = bed.parent / "hub"
    repository = cache / "models--some-org--some-bed"
    snapshot = repository / "snapshots" / COMMIT
    for path in sorted(path for path in bed.rglob("*") if path.is_file()):
        blob = repository / "blobs" / str(abs(hash(path)))
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blob)
        place = snapshot / path.relative_to(bed)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(blob)
    (snapshot / "evil.py").write_text("raise SystemExit")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("XDG_CACHE_HOME", str(bed.parent / "cache"))
    return snapshot


def test_a_bed_from_the_hub_is_the_bed_in_the_folder(bed: Path, hub: Path) -> None:
    text = SPEC.replace("{bed: ./my-bed}", "{bed: some-org/some-bed, revision: main}")
    here, there = (pipeline.planned(read(bed, one), bed.parent, Store()) for one in (SPEC, text))
    for kind in ("prompts", "activations"):
        keys = {stage.place: stage.key for stage in here.of(kind)}
        assert keys
        assert keys == {stage.place: stage.key for stage in there.of(kind)}
    origin = there.spec.conditions[0].bed
    assert origin is not None
    assert (origin.name, origin.revision) == ("some-org/some-bed", COMMIT)
    folder = Path(origin.folder)
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    assert not (folder / "evil.py").exists()
    said = invoke("bed", "verify", "some-org/some-bed")
    assert said.exit_code == 0, said.output
    outcome = pipeline.run(_written(bed, text), out=bed.parent, page=False)
    assert "claims of the test bed some-org/some-bed were tried here" in (outcome.folder / "report.md").read_text()


def test_what_is_wrong_with_a_repository_is_said(bed: Path, hub: Path) -> None:
    with pytest.raises(HarnessError, match=r"some-org/other: no such folder, not in the local cache, and the Hub"):
        find_bed("some-org/other", "main", bed.parent, whole=False)
    (hub / "bed.yaml").unlink()
    with pytest.raises(UsageError, match="some-org/some-bed on the Hub is no bed"):
        find_bed("some-org/some-bed", "main", bed.parent, whole=False)
    (hub / "bed.yaml").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link out of the repository"):
        find_bed("some-org/some-bed", "main", bed.parent, whole=False)


# ---------------------------------------------------------------- one to begin with


def test_the_card_in_the_pages_is_sound(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "specs" / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(bed: 1\n.*?)```", page, re.DOTALL)
    (tmp_path / "bed.yaml").write_text(text)
    assert read_card(BedFolder(tmp_path)).conditions == ["honest", "deceptive"]
    jsonschema.validate(yaml.safe_load(text), language.json_schema("bed"))


def test_the_bed_to_begin_with_is_sound_and_overwrites_nothing(tmp_path: Path) -> None:
    said = invoke("bed", "init", tmp_path / "mine")
    assert said.exit_code == 0
    assert f"next: harness bed verify {tmp_path / 'mine'}" in said.output
    assert read_card(BedFolder(tmp_path / "mine")).conditions == ["checked", "unchecked", "misled"]
    text = (tmp_path / "mine" / "bed.yaml").read_text()
    assert "./mine" in text
    again = invoke("bed", "init", tmp_path / "mine")
    assert "not empty" in str(again.exception)


@pytest.mark.real
def test_the_claims_of_the_bed_to_begin_with_hold(tmp_path: Path) -> None:
    assert invoke("bed", "init", tmp_path / "mine").exit_code == 0
    said = invoke("bed", "verify", tmp_path / "mine")
    assert said.exit_code == 0, said.output
