"""What strangers may hand us, and what must come of it: a clear refusal or harmless output, and nothing run or touched.

A line of a table is an input and what must be said. `tests.attacks.scene` watches over all of them; `test_the_watch…` is its
control.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, HarnessError, UsageError
from harness.report import read
from harness.templates import Template
from tests.attacks.scene import SECRET, Scene
from tests.test_diff import CHECKS_HEAD, FAILED, RESULTS_HEAD, make
from tests.test_pipeline import TEXT

LONGEST_S = 15.0
"""No attack may take longer, imports included, on two busy cores. Without limits each of them would take minutes or hours."""

PLANTED = "harness: 1\nname: x\nmodel: {bed: planted}\ndata: {limit: 60}\nprobes: [mean_difference]\n"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name, folder in (("HARNESS_STORE", "store"), ("XDG_CACHE_HOME", "cache"), ("MPLCONFIGDIR", "mpl")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return Scene(tmp_path)


Attack = tuple[str, Callable[[Scene], Sequence[str | Path]], str]
"""What it is, how it is made (the arguments of the command come back), and what must be said."""


def refused(scene: Scene, attack: Attack) -> None:
    """The attack ends with exit code 2 or 3, soon, with its sentence, and does no harm."""
    _, prepare, says = attack
    arguments = prepare(scene)
    started = time.perf_counter()
    said = scene.run(*arguments)
    assert time.perf_counter() - started < LONGEST_S
    scene.assert_unharmed(said)
    assert said.code in (2, 3), said
    assert says in said.err, said.err


def names(attacks: Sequence[Attack]) -> list[str]:
    return [attack[0] for attack in attacks]


def test_the_watch_sees_what_it_should(scene: Scene) -> None:
    """The control: reading, writing, running and unpickling are all noted."""
    with scene.watched():
        scene.canary.write_text("")
        os.system("true")
        subprocess.run(["true"], check=True)
        pickle.loads(pickle.dumps(Path("x")))
        (scene.outside / "secret.csv").read_text()
        os.rename(scene.canary, scene.inside / "canary")
        scene.write("harmless", "x")
    seen = {line.split()[0] for line in scene.noted}
    assert {"opened", "os.system", "subprocess.Popen", "pickle.find_class", "os.rename"} <= seen
    assert not any("harmless" in line for line in scene.noted)


# ---- specs


def spec(text: str | bytes, *more: str, command: str = "validate") -> Callable[[Scene], Sequence[str | Path]]:
    return lambda scene: (command, scene.write("x.yaml", text), *more)


def linked_spec(scene: Scene) -> Sequence[str | Path]:
    scene.write("x.yaml", PLANTED + "include: passwords.yaml\n")
    (scene.inside / "passwords.yaml").symlink_to("/dev/zero")
    return ("validate", "x.yaml")


def pipe_spec(scene: Scene) -> Sequence[str | Path]:
    os.mkfifo(scene.inside / "x.yaml")
    return ("validate", "x.yaml")


def named(name: str) -> Callable[[Scene], Sequence[str | Path]]:
    return lambda scene: ("validate", scene.write(name, PLANTED + "seeds: none\n").name)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

SPECS: list[Attack] = [
    ("a billion laughs", spec(BOMB), "once aliases are expanded"),
    ("an alias to itself", spec("a: &a [*a]\n"), "contains itself"),
    ("a merge bomb", spec("a: &a {x: 1}\nb: {<<: [" + "*a, " * 30_000 + "*a]}\n"), "once aliases are expanded"),
    ("lists in lists", spec("[" * 500_000), "inside each other"),
    ("questions in questions", spec("? " * 300_000), "inside each other"),
    (
        "a call",
        spec(PLANTED + "about: !!python/object/apply:os.system ['touch ../outside/canary']\n"),
        "is not allowed",
    ),
    ("a name of Python's", spec(PLANTED + "about: !!python/name:os.system\n"), "is not allowed"),
    (
        "a tag of its own",
        spec("%TAG ! tag:yaml.org,2002:python/\n---\n" + PLANTED + "about: !module:os\n"),
        "not allowed",
    ),
    ("an escape beyond Unicode", spec(PLANTED + 'about: "\\U00110000"\n'), "too large"),
    ("an escape beyond 32 bits", spec(PLANTED + 'about: "\\Uffffffff"\n'), "too large"),
    ("half a character", spec(PLANTED + 'about: "\\uD800"\n'), "control character U+D800"),
    ("a version of 5000 digits", spec("%YAML 1." + "1" * 5000 + "\n---\n" + PLANTED), "too large"),
    ("a number of a million digits", spec(PLANTED + "seeds: 0x" + "f" * 1_100_000 + "\n"), "larger than 1 MiB"),
    ("a number of many digits", spec(PLANTED + "seeds: 0x" + "f" * 900_000 + "\n"), "not a finite number"),
    ("a long number", spec(PLANTED + "seeds: " + "9" * 100_000 + "\n"), "not a finite number"),
    ("a million seeds", spec(PLANTED + "seeds: 1e300\n"), "not a finite number"),
    ("an escape sequence", spec(PLANTED + "about: \x1b]0;owned\x07\n"), "control character U+001B"),
    ("an escaped escape sequence", spec(PLANTED + 'about: "\\e]0;owned\\a"\n'), "control character U+001B"),
    ("an unknown key that turns round", spec(PLANTED + "abo\u202eut: x\n"), "abo\\x202eut"),
    ("a wrong value with C1 controls", spec(PLANTED + 'seeds: "\\x9b31m"\n'), "U+009B"),
    ("a name that climbs", spec(PLANTED.replace("name: x", "name: ../../outside/x")), "lower-case letters"),
    ("a name with a line break", spec(PLANTED.replace("name: x", 'name: "x\\n"')), "ends with a line break"),
    ("an absolute name", spec(PLANTED.replace("name: x", "name: /tmp/x")), "lower-case letters"),
    ("an include of anything", spec(PLANTED + "include: ../outside/secret.csv\n"), "cannot be included"),
    ("an include of a device", linked_spec, "not a regular file"),
    ("an include of itself", spec(PLANTED + "include: x.yaml\n"), "round in a loop"),
    ("includes from the command line", spec(PLANTED, "--set", "include=../outside/secret.yaml"), "by the spec only"),
    ("a setting with an escape", spec(PLANTED, "--set", "about=\x1b[31mred"), "control character U+001B"),
    ("a setting that is not UTF-8", spec(PLANTED, "--set", "about=\udcff"), "control character U+DCFF"),
    ("a setting of a thousand steps", spec(PLANTED, "--set", ".".join(["a"] * 30_000) + "=1"), "write KEY=VALUE"),
    ("a pipe", pipe_spec, "not a regular file"),
    ("a folder", lambda scene: ("validate", scene.inside), "not a regular file"),
    ("UTF-16", spec(PLANTED.encode("utf-16")), "not UTF-8"),
    ("NULs", spec(b"\x00" * 1000), "control character U+0000"),
    ("ten thousand unknown keys", spec(PLANTED + "".join(f"k{i}: 1\n" for i in range(9000))), 'has no "k8999"'),
    ("a file name with an escape", named("\x1b]0;owned\x07.yaml"), "\\x1b]0;owned\\x07.yaml:"),
    ("a file name that is not UTF-8", named("\udcff.yaml"), "\\xdcff.yaml:"),
    ("a file name with a line break", named("a\nb.yaml"), "seeds"),
    ("a kind that is a path", spec(PLANTED.replace("mean_difference", "../../outside/evil")), "no probe"),
    ("a kind that is a module", spec(PLANTED.replace("mean_difference", "_descent")), "no probe"),
    ("a bed that is a path", spec(PLANTED.replace("planted", "os.system")), "os.system"),
]


@pytest.mark.parametrize("attack", SPECS, ids=names(SPECS))
def test_specs_from_strangers(scene: Scene, attack: Attack) -> None:
    refused(scene, attack)


def test_names_of_files_are_harmless_where_nothing_is_wrong(scene: Scene) -> None:
    for name in ("\x1b]0;owned\x07.yaml", "\udcff.yaml"):
        said = scene.run("validate", scene.write(name, PLANTED).name)
        scene.assert_unharmed(said)
        assert said.code == 0 and "fine" in said.out
    said = scene.run("run", "\udcff.yaml", "--no-page", "--quiet")
    scene.assert_unharmed(said)
    assert said.code == 0


# ---- templates

LONG = "x" * 100_000
GROWN = "{% set t = text ~ text ~ text ~ text %}"
DAG = "{% set a = ['x'] %}{% set b = ['x'] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
MUCH = "more than 10,000,000 characters"

TEMPLATES = [
    # Reaching out.
    ("{{ text.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    ("{{ text['__class__'] }}", "unsafe"),
    ("{{ self.__init__.__globals__ }}", "unsafe"),
    ("{{ ''['__cl' ~ 'ass__'] }}", "unsafe"),
    ("{{ text | attr('__class__') }}", "No filter"),
    ("{{ [text] | map(attribute='__class__') | list }}", "No filter"),
    ("{{ [text] | max(attribute='__class__.__mro__') }}", "unsafe"),
    ("{{ [text] | sum(attribute='__class__') }}", "unsafe"),
    ("{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}", "unsafe"),
    ("{% for a in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}", "unsafe"),
    ("{{ '{0.__class__}'.format(text) }}", "unsafe"),
    ("{{ '{0.__class__}'.format_map({}) }}", "unsafe"),
    ("{{ cycler.__init__.__globals__.os.system('touch canary') }}", "unsafe"),
    ("{{ lipsum.__globals__ }}", 'no field "lipsum"'),
    ("{% include '/etc/passwd' %}", "no loader"),
    ("{% import '/etc/passwd' as x %}", "no loader"),
    ("{% extends '/etc/passwd' %}", "no loader"),
    ("{{ answer.marked }}", "unsafe"),
    # Running long.
    ("{% for i in range(1000000000) %}{% endfor %}", "range"),
    ("{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}", "turns of loops"),
    ("{% for a in text recursive %}{{ loop(text) }}{% endfor %}", "recursive loops"),
    ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "template main"),
    (GROWN + "{% for a in text[:40000] %}{% set y = t | upper %}{% endfor %}", MUCH),
    (GROWN + "{% for a in text[:40000] %}{% set y = t.title() %}{% endfor %}", MUCH),
    (GROWN + "{% for a in text[:40000] %}{% set y = t[::-1] %}{% endfor %}", MUCH),
    (GROWN + "{% for a in text[:40000] %}{% set y = 'q' in t %}{% endfor %}", MUCH),
    (GROWN + "{% set u = t ~ '' %}{% for a in text[:40000] %}{% set y = u == t %}{% endfor %}", MUCH),
    ("{% for a in text[:40000] %}" + "{% set y = 1 %}" * 3000 + "{% endfor %}", MUCH),
    (GROWN + "{{ t.strip(t | replace('x', 'y')) }}", "characters to strip"),
    ("{{ 1.5 | round(3000000, 'ceil') }}", "round: a number above"),
    ("{{ (text | replace('x', 'f')) | int(0, 16) // 7 }}", "1,000 digits"),
    ("{{ 9 ** 9 ** 9 }}", '"**" is not allowed'),
    ("{{ " + "1" * 5000 + " }}", "integer string conversion"),
    ("{{ text[0] }}" * 15_000, "parts"),
    ("{{ '" + "x" * 300_000 + "' }}", "200,000 characters"),
    ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "more simply"),
    # Growing without end.
    ("{{ text * 100000000 }}", '"*" is only allowed between numbers'),
    ("{{ '%1000000000d' % 1 }}", '"%" is only allowed between numbers'),
    ("{{ 'x'.ljust(10000000000) }}", "ljust"),
    ("{{ text | center(10000000000) }}", "No filter"),
    ("{{ text | join(text) }}", "1,000,000 characters"),
    ("{{ text | replace('', text) }}", "1,000,000 characters"),
    ("{% set a = text %}" + "{% set a = a ~ a %}" * 40, "1,000,000 characters"),
    ("{% set a = text %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40, "1,000,000 characters"),
    (DAG + "{{ a }}", MUCH),
    (DAG + "{{ a == b }}", MUCH),
    (DAG + "{{ a in [b] }}", MUCH),
    (DAG + "{{ a ~ '' }}", MUCH),
    (DAG + "{{ a | string | length }}", MUCH),
    (DAG.replace("[a, a]", "(a, a)") + "{{ {a: 1} | length }}", MUCH),
    (DAG.replace("[a, a]", "(a, a)") + "{{ [a] | unique | list | length }}", MUCH),
    # Breaking what comes after.
    ("{{ '\\ud800' }}", "half a character"),
    ("{{ text | truncate(2, False, '....') }}", "expected length"),
    ("{% if %}", "line 1"),
    ("{{ 1 / 0 }}", "division by zero"),
]


@pytest.mark.parametrize(("template", "says"), TEMPLATES, ids=[template[:60] for template, _ in TEMPLATES])
def test_templates_from_strangers(scene: Scene, template: str, says: str) -> None:
    started = time.perf_counter()
    with scene.watched(), pytest.raises(DataError, match="template main") as caught:
        Template("main", template + "{{ answer }}").pair({"text": LONG}, ["no", "yes"], ["no", "yes"])
    assert time.perf_counter() - started < LONGEST_S
    assert says in str(caught.value)
    assert scene.noted == []


# ---- data


def data(name: str, content: str | bytes | None = None, link: str | None = None) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        if content is not None:
            scene.write(name, content)
        if link is not None:
            (scene.inside / name).symlink_to(link)
        scene.write("x.yaml", TEXT.replace("MODEL", "model").replace("colours.csv", name).replace("colour", "text"))
        return ("run", "x.yaml")

    return prepare


def dataset(card: str = "", link: str | None = None, name: str = "README.md") -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        scene.write("set/train.csv", "text,label\nred,0\nblue,1\n" * 40)
        if card:
            scene.write(f"set/{name}", card)
        if link is not None:
            (scene.inside / "set" / "test.csv").symlink_to(link)
        text = TEXT.replace("MODEL", "model").replace("file: colours.csv", "hub: set").replace("colour", "text")
        scene.write("x.yaml", text)
        return ("run", "x.yaml")

    return prepare


def card(path: str) -> str:
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {json.dumps(path)}\n---\n"
    )


FORMAT_STRING = "text,label\n{{ 7 * 7 }}{0.__class__}%s%n,0\n"

DATA: list[Attack] = [
    ("a path that climbs", data("../outside/secret.csv"), "below the folder of the spec"),
    ("an absolute path", data("/etc/passwd"), "below the folder of the spec"),
    ("a link out", data("mine.csv", link="../outside/secret.csv"), "below the folder of the spec"),
    ("a link to a device", data("mine.csv", link="/dev/zero"), "below the folder of the spec"),
    ("a pattern", data("'*.csv'", None), "is a pattern"),
    ("a file that is a pattern", data('"[a]*.csv"', "text,label\nred,0\n"), "is a pattern"),
    ("an address", data("https://example.invalid/x.csv"), "no such file"),
    ("a bucket", data("s3://bucket/x.csv"), "no such file"),
    ("a pickle", data("x.pkl", pickle.dumps(Path("x"))), "cannot be read"),
    ("a pickle by another name", data("x.parquet", pickle.dumps(Path("x"))), "x.parquet"),
    ("a parquet of nothing", data("x.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1"), "x.parquet"),
    ("a parquet with a great footer", data("x.parquet", b"PAR1" + b"\0" * 50 + b"\xff\xff\xff\x7fPAR1"), "x.parquet"),
    ("an escape in a label", data("x.csv", "text,label\nred,\x1b]0;owned\x07\n"), "\\x1b]0;owned\\x07"),
    ("an escape in a header", data("x.csv", "text,\x1b[2Jlabel\nred,1\n"), 'no column "label"'),
    ("an escape in a line of JSON", data("x.jsonl", '{"text": "a", "label": "\\u001b[2J"}\n'), "\\x1b[2J"),
    ("a line of JSON in brackets", data("x.jsonl", "[" * 100_000 + "\n"), "x.jsonl"),
    ("ten million characters in a cell", data("x.csv", "text,label\n" + "x" * 10_000_000 + ",1\n"), "longer than"),
    ("a link in a data set", dataset(link="../../outside/secret.csv"), "is a link out of the folder"),
    ("a card that climbs", dataset(card("../../outside/secret.csv")), "not in the folder"),
    ("a card with an absolute path", dataset(card("/etc/passwd")), "not in the folder"),
    ("a card with an address", dataset(card("https://example.invalid/x.csv")), "not in the folder"),
    ("a card with a chained address", dataset(card("zip://x.csv::https://example.invalid/x.zip")), "not in the folder"),
    ("a card with aliases", dataset("---\na: &a [x]\nconfigs: [*a, *a]\n---\n"), "aliases"),
    ("a card with a call", dataset("---\nconfigs: !!python/object/apply:os.system ['true']\n---\n"), "no YAML"),
    ("the other card", dataset("configs: [{data_files: ~/x.csv}]\n", name=".huggingface.yaml"), "not in the folder"),
]


@pytest.mark.parametrize("attack", DATA, ids=names(DATA))
def test_data_from_strangers(scene: Scene, attack: Attack, tiny_llama: Path) -> None:
    shutil.copytree(tiny_llama, scene.inside / "model")
    refused(scene, attack)


# ---- models


class Evil:
    """Its pickle touches the canary when it is loaded."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def config(changes: dict[str, Any]) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        path = scene.inside / "model" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def file(name: str, content: str | bytes) -> Callable[[Scene], None]:
    return lambda scene: void(scene.write(f"model/{name}", content))


def void(_: object) -> None:
    """Nothing comes back."""


def index(name: str) -> Callable[[Scene], None]:
    return file("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": name}}))


def pickled(scene: Scene) -> None:
    (scene.inside / "model" / "model.safetensors").unlink()
    (scene.inside / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(scene.canary)))


def pickled_by_index(scene: Scene) -> None:
    pickled(scene)
    index("pytorch_model.bin")(scene)


def pickled_as_safetensors(scene: Scene) -> None:
    (scene.inside / "model" / "model.safetensors").write_bytes(pickle.dumps(Evil(scene.canary)))


def code(scene: Scene) -> None:
    """A class of its own, in the configuration and in the tokenizer's."""
    scene.write("model/evil.py", f"open({str(scene.canary)!r}, 'w')\n")
    classes = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}
    config({"auto_map": classes, "model_type": "evil"})(scene)
    path = scene.inside / "model" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": classes, "tokenizer_class": "Evil"}))


def header(shape: object) -> bytes:
    text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 4


def adapter(scene: Scene) -> None:
    scene.write("model/adapter_config.json", json.dumps({"base_model_name_or_path": str(scene.outside)}))


def gguf(scene: Scene) -> None:
    scene.write("model.gguf", b"GGUF" + b"\xff" * 200)
    scene.write("x.yaml", TEXT.replace("MODEL", "model.gguf"))


def shadowed_gguf(scene: Scene) -> None:
    """Modules in the folder that the conversion would import, if it took any from where it stands."""
    gguf(scene)
    for name in ("gguf", "torch", "transformers", "typing_extensions"):
        scene.write(f"{name}.py", f"open({str(scene.canary)!r}, 'w')\n")


MODELS: list[tuple[str, Callable[[Scene], None], str]] = [
    ("a pickle", pickled, "only pickled weights"),
    ("a pickle that the index names", pickled_by_index, "end in .safetensors"),
    ("a pickle by another name", pickled_as_safetensors, "not a readable safetensors"),
    ("an index that climbs", index("../../outside/x.safetensors"), "beside their index"),
    ("an index with an absolute path", index("/etc/passwd.safetensors"), "beside their index"),
    ("an index of numbers", file("model.safetensors.index.json", '{"weight_map": {"a": 1}}'), "beside their index"),
    ("an index that is a list", file("model.safetensors.index.json", "[1]"), "not a readable index"),
    ("an index in brackets", file("model.safetensors.index.json", "[" * 200_000), "not a readable index"),
    ("an adapter", adapter, "holds an adapter"),
    ("code", code, "model"),
    ("no layers", config({"num_hidden_layers": 0}), "not a whole number from 1"),
    ("a billion layers", config({"num_hidden_layers": 10**9}), "not a whole number from 1"),
    ("a million layers", config({"num_hidden_layers": 10**6}), "those of no network"),
    ("no heads", config({"num_attention_heads": 0}), "not a whole number from 1"),
    ("layers in words", config({"num_hidden_layers": "\x1b[2Jmany"}), "not a whole number from 1"),
    ("a width of lists", config({"hidden_size": [[1]]}), "not a whole number from 1"),
    ("a context in words", config({"max_position_embeddings": "long"}), "not a whole number from 1"),
    ("a number that no 64 bits hold", config({"num_key_value_heads": 10**400}), "not a whole number from 1"),
    ("a family of no name", config({"model_type": 7}), "no model_type"),
    ("a family unheard of", config({"model_type": "\x1b[2J../../x"}), "model"),
    ("a configuration in brackets", file("config.json", "[" * 200_000), "not a readable configuration"),
    ("a configuration of bytes", file("config.json", b"\xff\xfe\x00"), "not a readable configuration"),
    ("a header beyond the file", file("model.safetensors", struct.pack("<Q", 2**63) + b"{}"), "header is too large"),
    ("a header that is a list", file("model.safetensors", struct.pack("<Q", 2) + b"[]"), "not a readable safetensors"),
    ("a header in brackets", file("model.safetensors", struct.pack("<Q", 10**6) + b"[" * 10**6), "not a readable"),
    ("a shape in words", file("model.safetensors", header(["many"])), "not made of whole numbers"),
    ("a shape beyond the file", file("model.safetensors", header([10**12, 10**12])), "model"),
    ("weights of another model", file("model.safetensors", header([1])), "weights are not in its files"),
    ("a tokenizer of nonsense", file("tokenizer.json", '{"model": {"type": "Evil"}}'), "tokenizer cannot be loaded"),
    (
        "a tokenizer's configuration of numbers",
        file("tokenizer_config.json", '{"added_tokens_decoder": 5}'),
        "tokenizer",
    ),
    ("modules beside a .gguf", shadowed_gguf, "model.gguf"),
]


@pytest.mark.parametrize("attack", MODELS, ids=[attack[0] for attack in MODELS])
def test_models_from_strangers(scene: Scene, attack: tuple[str, Any, str], tiny_llama: Path) -> None:
    _, spoil, says = attack
    shutil.copytree(tiny_llama, scene.inside / "model")
    scene.write("colours.csv", "colour,label\n" + "".join(f"shade {n},{n % 2}\n" for n in range(40)))
    scene.write("x.yaml", TEXT.replace("MODEL", "model"))
    spoil(scene)
    said = scene.run("run", "x.yaml", "--no-page", "--quiet")
    # The conversion of a .gguf is a process of our own.
    scene.noted = [line for line in scene.noted if "harness.models.gguf_worker" not in line]
    scene.assert_unharmed(said)
    assert said.code in (2, 3), said
    assert says in said.err


def test_a_forged_origin_is_not_believed(scene: Scene, tiny_llama: Path) -> None:
    """A folder that claims to be made from another model's file must not be taken for that model."""
    from harness.models.card import describe
    from harness.spec import Model

    honest = scene.inside / "honest"
    shutil.copytree(tiny_llama, honest)
    forged = scene.inside / "forged"
    shutil.copytree(tiny_llama, forged)
    (forged / "harness-origin.json").write_text(json.dumps({"gguf_sha256": "0" * 64}))
    assert describe(Model(id="forged"), scene.inside).identity == describe(Model(id="honest"), scene.inside).identity


CHATS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ ''.__class__.__mro__ }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ strftime_now.__globals__['json'] }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ messages[0].pop('role') }}",
    "{{ 'x' * 10000000000 }}",
]


@pytest.mark.parametrize("template", CHATS)
def test_chat_templates_from_strangers(scene: Scene, template: str, tiny_llama: Path) -> None:
    import msgspec

    from harness.models.tokenizer import About, Tokenizer

    shutil.copy(tiny_llama / "tokenizer.json", scene.inside)
    about = About(adds_bos=False, special={}, chat_template=template)
    scene.write("about.json", msgspec.json.encode(about))
    started = time.perf_counter()
    with scene.watched(), pytest.raises(UsageError, match="chat template"):
        Tokenizer(scene.inside, None).chat("hello", "yes")
    assert time.perf_counter() - started < LONGEST_S
    assert scene.noted == []


# ---- what ends up in a report

LIVE = (
    "=HYPERLINK('http://example.invalid')",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    " =1+1",
    "＝1+1",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![](http://example.invalid/x.png)",
    "a|b`c$d$",
    "\u202egnp.exe",
)


class Alive(HTMLParser):
    """What an HTML parser finds in a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", LIVE)
def test_names_come_alive_nowhere(scene: Scene, name: str) -> None:
    """The name of a probe, of a check, and the description, from the spec to csv, Markdown, page and screen."""
    probes = json.dumps([{"kind": "mean_difference", "name": name}])
    checks = json.dumps([{"kind": "beats_random", "name": name, "probe": name, "condition": "main"}])
    text = PLANTED.replace("[mean_difference]", probes) + f"about: {json.dumps(name)}\nchecks: {checks}\n"
    said = scene.run("run", scene.write("x.yaml", text), "--quiet", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    folder = scene.inside / "reports" / "x"
    cells = []
    for path in folder.glob("*.csv"):
        with path.open(newline="") as opened:
            cells += [cell for row in csv.reader(opened) for cell in row]
    assert any(name.strip() in cell for cell in cells), "the name itself is still there"
    for cell in cells:
        numeric = cell.replace(".", "").replace("-", "").isdigit()
        assert numeric or not cell.lstrip().startswith(tuple("=+-@＝＋－＠\t\r")), cell
    report = (folder / "report.md").read_text()
    outside_code = "".join(part for i, part in enumerate(report.split("```")) if i % 2 == 0)
    outside_code = "\n".join("".join(line.split("`")[::2]) for line in outside_code.splitlines())
    for alive in ("<img", "<script", "](javascript", "](http"):
        assert alive not in outside_code.replace("\\]", "]\\")
    # And back: the report of a stranger is compared and rendered without harm.
    assert scene.run("diff", folder, folder).code == 0


def test_a_page_of_live_names_has_the_tags_of_a_page_of_tame_ones(scene: Scene) -> None:
    found = []
    for each in (["tame" + str(i) for i in range(len(LIVE))], LIVE):
        probes = json.dumps([{"kind": "mean_difference", "name": name} for name in each])
        said = scene.run("run", scene.write("x.yaml", PLANTED.replace("[mean_difference]", probes)), "--quiet")
        assert said.code == 0, said.err
        scene.assert_unharmed(said)
        tags = Alive((scene.inside / "reports" / "x" / "report.html").read_text()).tags
        assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]
        assert not [a for _, a in tags if any(str(a.get(key, "")).startswith("javascript") for key in ("href", "src"))]
        found.append(sorted(tag for tag, _ in tags if tag not in ("span", "code")))
    assert found[0] == found[1]


# ---- reports


def report(
    results: str | bytes = "", checks: str | bytes = "", command: str = "diff"
) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        for name, content in (("results.csv", results), ("checks.csv", checks)):
            if content:
                scene.write(f"b/{name}", content)
        return (command, "a", "b")

    return prepare


def strange(change: Callable[[Path, Scene], Any]) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        (scene.inside / "b" / "results.csv").unlink()
        change(scene.inside / "b" / "results.csv", scene)
        return ("diff", "a", "b")

    return prepare


def revision(text: str) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        repository(scene)
        return ("diff", "--", text, "HEAD:reports/x")

    return prepare


def repository(scene: Scene) -> None:
    """A stranger's repository whose configuration runs things."""
    make(scene.inside / "reports" / "x")
    run = lambda *a: subprocess.run(["git", "-C", scene.inside, *a], check=True, capture_output=True)  # noqa: E731
    run("init", "-q")
    run("add", ".")
    run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    touch = f"touch {scene.canary}"
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "core.pager"):
        run("config", key, touch)
    run("config", "core.sshCommand", touch)
    run("config", "remote.origin.url", f"ext::sh -c {touch}")
    run("config", "remote.origin.promisor", "true")
    run("config", "protocol.ext.allow", "always")
    (scene.inside / ".git" / "info").mkdir(exist_ok=True)
    (scene.inside / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    os.utime(scene.inside / "reports" / "x" / "results.csv", (0, 0))


ROW = "a,a,p,{},truth,accuracy,0.5,0.4,0.6,10,1\n"

REPORTS: list[Attack] = [
    ("no columns", report("x\n1\n"), "column fit_on is missing"),
    ("columns twice", report(RESULTS_HEAD + ",value\n"), "named twice"),
    ("rows twice", report(RESULTS_HEAD + "\n" + ROW.format(1) * 2), "two rows for"),
    ("words for numbers", report(RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5", "\x1b[2J")), "is not a number"),
    (
        "rows without end",
        report(RESULTS_HEAD + "\n" + "".join(map(ROW.format, range(10_001)))),
        "more than 10,000 rows",
    ),
    ("a long cell", report(RESULTS_HEAD + "\n" + "x" * 200_000), "not CSV"),
    ("an open quote", report(RESULTS_HEAD + '\n"'), "not CSV"),
    ("bytes", report(b"\xff\xfe" * 100), "not UTF-8"),
    ("a link to a device", strange(lambda path, scene: path.symlink_to("/dev/zero")), "leads out of its folder"),
    (
        "a link out",
        strange(lambda path, scene: path.symlink_to(scene.outside / "secret.csv")),
        "leads out of its folder",
    ),
    ("a link to itself", strange(lambda path, scene: path.symlink_to("results.csv")), "cannot be read"),
    ("a pipe", strange(lambda path, scene: os.mkfifo(path)), "not an ordinary file"),
    ("a folder", strange(lambda path, scene: path.mkdir()), "not an ordinary file"),
    ("an option for a revision", revision("--output=canary:reports/x"), "no revision"),
    ("another option", revision("--upload-pack=touch canary:reports/x"), "no revision"),
    ("an option that ends options", revision("--end-of-options:reports/x"), "no revision"),
    ("a revision with an escape", revision("\x1b[2J:reports/x"), "no revision"),
    ("a folder that climbs", revision("HEAD:../outside"), "without .."),
    ("an absolute folder", revision("HEAD:/etc"), "from the repository's root"),
    ("an address", revision("https://example.invalid/x"), "from the repository's root"),
    ("a reflog with a command", revision("@{-1}$(touch canary):reports/x"), "no revision"),
    ("a manifest of brackets", lambda s: ("report", s.write("r/manifest.json", "[" * 99999).parent), "report"),
]


@pytest.mark.parametrize("attack", REPORTS, ids=names(REPORTS))
def test_reports_from_strangers(scene: Scene, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_ROWS", 10_000)
    refused(scene, attack)


def test_a_strangers_repository_runs_nothing(scene: Scene) -> None:
    """Looked at by `diff` and for the manifest. The control: git by itself runs what the configuration names."""
    repository(scene)
    said = scene.run("diff", "HEAD:reports/x", "reports/x")
    assert said.code == 0, said.err
    scene.assert_unharmed(said)
    scene.assert_unharmed(scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page"))
    manifest = json.loads((scene.inside / "reports" / "x" / "manifest.json").read_text())
    assert manifest["git"]["dirty"] is False
    subprocess.run(["git", "-C", scene.inside, "status"], capture_output=True, check=False)
    assert scene.canary.exists()


def test_numbers_that_are_none_and_checks_by_the_thousand(scene: Scene) -> None:
    rows = RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5,0.4,0.6", "nan,-inf,1e999") + ROW.format(2)
    checks = CHECKS_HEAD + "\n" + (FAILED[0] + "\n") * 100_000
    started = time.perf_counter()
    said = scene.run(*report(rows, checks)(scene))
    assert time.perf_counter() - started < LONGEST_S
    scene.assert_unharmed(said)
    assert said.code == 0
    assert "99,999 checks moved" in said.out


@pytest.mark.parametrize("link", ["reports/x", "reports/x/figures"])
def test_a_report_is_not_written_through_a_link(scene: Scene, link: str) -> None:
    place = scene.inside / link
    place.parent.mkdir(parents=True)
    place.symlink_to(scene.outside)
    said = scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 2
    assert "is a symbolic link" in said.err


# ---- stores


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, a store with its whole run in it, and the report."""
    from harness import pipeline
    from harness.store import Store

    folder = tmp_path_factory.mktemp("honest")
    (folder / "x.yaml").write_text(PLANTED)
    pipeline.run(folder / "x.yaml", out=folder / "reports", store=Store(folder / "store"), page=False)
    return folder


def stored(scene: Scene, honest: Path) -> Path:
    """A store that somebody sends us."""
    shutil.copy(honest / "x.yaml", scene.inside)
    shutil.copytree(honest / "store", scene.home / "store")
    return scene.home / "store"


def resealed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes an artifact's description as somebody would who knows the format."""
    from harness.store import sealed

    meta = json.loads((folder / "meta.json").read_bytes())
    del meta["seal"]
    change(meta)
    (folder / "meta.json").write_bytes(sealed(meta))


def resigned(folder: Path, name: str, content: bytes) -> None:
    """Changes an artifact's file, and its checksum with it."""
    import hashlib

    (folder / name).write_bytes(content)
    resealed(folder, lambda meta: meta["files"].update({name: hashlib.sha256(content).hexdigest()}))


STORES: list[tuple[str, Callable[[Path, Scene], Any]]] = [
    (
        "a file that climbs",
        lambda f, s: resealed(f, lambda m: m["files"].update({"../../../../outside/secret.csv": "0"})),
    ),
    ("a device", lambda f, s: resealed(f, lambda m: m["files"].update({"/dev/zero": "0"}))),
    ("a name of no file", lambda f, s: resealed(f, lambda m: m["files"].update({"a\0b": "0"}))),
    ("a link", lambda f, s: (f / "x").symlink_to("/dev/zero") or resealed(f, lambda m: m["files"].update({"x": "0"}))),
    ("a pipe", lambda f, s: os.mkfifo(f / "x") or resealed(f, lambda m: m["files"].update({"x": "0"}))),
    ("files that are a list", lambda f, s: resealed(f, lambda m: m.update(files=["x"]))),
    ("files of numbers", lambda f, s: resealed(f, lambda m: m.update(files={"x": 1}))),
    ("about nothing", lambda f, s: resealed(f, lambda m: m.pop("about"))),
    ("about a list", lambda f, s: resealed(f, lambda m: m.update(about=[1]))),
    ("about something else", lambda f, s: resealed(f, lambda m: m.update(about={"rows": "x", "layers": 7}))),
    ("no files", lambda f, s: resealed(f, lambda m: m.update(files={}))),
    ("a number for a description", lambda f, s: (f / "meta.json").write_text("7")),
    ("a description of brackets", lambda f, s: (f / "meta.json").write_text("[" * 200_000)),
    ("a description without end", lambda f, s: os.truncate(f / "meta.json", 10**10)),
    (
        "a description that is a link",
        lambda f, s: (f / "meta.json").unlink() or (f / "meta.json").symlink_to("/dev/zero"),
    ),
    ("a description of NaN", lambda f, s: (f / "meta.json").write_text('{"format": NaN, "files": {}}')),
    (
        "files of nonsense",
        lambda f, s: [resigned(f, p.name, b"nonsense") for p in f.iterdir() if p.name != "meta.json"],
    ),
    (
        "empty files",
        lambda f, s: [resigned(f, p.name, b"") for p in f.iterdir() if p.is_file() and p.name != "meta.json"],
    ),
]


@pytest.mark.parametrize("attack", STORES, ids=[attack[0] for attack in STORES])
def test_stores_from_strangers(
    scene: Scene, honest: Path, attack: tuple[str, Callable[[Path, Scene], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every artifact of a store is spoiled in one way; the run notices, computes it again, and gives the same."""
    # Drawing takes most of the time, and is not what this is about.
    monkeypatch.setattr("harness.report.figures.render", lambda *scores: {})
    root = stored(scene, honest)
    spoil = attack[1]
    for folder in sorted(path.parent for path in root.glob("*/*/meta.json")):
        if any(p.is_dir() for p in folder.iterdir()) and "files of nonsense" in attack[0]:
            shutil.rmtree(folder / "files", ignore_errors=True)
        spoil(folder, scene)
    for arguments in (("store", "ls"), ("store", "ls", "--json")):
        said = scene.run(*arguments)
        scene.assert_unharmed(said)
        assert said.code == 0
    started = time.perf_counter()
    said = scene.run("run", scene.inside / "x.yaml", "--no-page")
    assert time.perf_counter() - started < LONGEST_S
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    assert "damaged in the store" in said.err
    for name in ("results.csv", "checks.csv", "seeds.csv"):
        new = scene.inside / "reports" / "x" / name
        assert new.read_bytes() == (honest / "reports" / "x" / name).read_bytes()


def test_housekeeping_stays_in_the_store(scene: Scene, honest: Path) -> None:
    """A kind that is a link, an artifact that is one, and a folder that is no store at all."""
    root = stored(scene, honest)
    (root / "kind").symlink_to(scene.outside)
    (root / "fit" / "0123").symlink_to(scene.outside)
    for arguments in (("prune", "--older-than", "0s"), ("prune", "--unused"), ("verify",)):
        said = scene.run("store", *arguments)
        scene.assert_unharmed(said)
        assert said.code == 0, said.err
    said = scene.run("store", "prune", "--older-than", "0s", "--store", scene.home)
    scene.assert_unharmed(said)
    assert said.code == 2
    assert "not marked as a store" in said.err
    assert scene.inside.is_dir() and root.is_dir()


def test_settings_of_matplotlib_in_the_folder_change_no_figure(scene: Scene) -> None:
    """A matplotlibrc in the folder where we stand is read when matplotlib is first imported."""
    import matplotlib as mpl

    settings = {"lines.linewidth": 9, "axes.grid": True, "font.size": 30, "svg.fonttype": "none"}
    text = scene.write("x.yaml", PLANTED)
    for out, rc in (("a", {}), ("b", settings)):
        with mpl.rc_context(rc):
            said = scene.run(
                "run", text, "--out", out, "--store", scene.inside / f"store-{out}", "--quiet", "--no-page"
            )
        assert said.code == 0
    figures = [
        {path.name: path.read_bytes() for path in (scene.inside / out / "x" / "figures").glob("*.svg")} for out in "ab"
    ]
    assert figures[0] == figures[1] != {}


def test_no_secret_is_shown_by_the_error_of_an_include(scene: Scene) -> None:
    """A file of ours with the right ending can be included; what is wrong in it is named by its keys only."""
    said = scene.run("validate", scene.write("x.yaml", "include: ../outside/secret.yaml\n"))
    assert said.code == 2
    assert SECRET not in said.err + said.out


def test_every_refusal_is_one_of_ours() -> None:
    assert issubclass(UsageError, HarnessError) and issubclass(DataError, UsageError)
