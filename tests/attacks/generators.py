"""Attacks by kind, made at random: any filter with any size, any type of column in any nesting, any part of a tokenizer grown, any name in
any place. Each is a function of a source of chance and of a scene; what comes back is a command line, or a call of what reads it.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2.defaults

from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED

Attack = Sequence[str | Path] | Callable[[], object]

SIZES = (0, 1, -1, 2, 7, 999, 65_536, 99_999, 2**31, 3_000_000_000, -3_000_000_000, 2**63, 10**18, 10**400)
STRANGE = (
    *("", " ", "x", "\0", "\x1b[2J", "\u202e", "\ufeff", "½", "🍌" * 99, "x" * 99_999, "(" * 9_999, "<a>" * 9_999, "http://" * 9_999),
    *("{{ 7 * 7 }}", "%s%n", "=1+1", "nan", "inf", "1e999", "-0", "true", "null"),
)  # fmt: skip
PATHS = (
    *("../secret.csv", "../../outside/secret.csv", "/etc/passwd", "/dev/zero", "~/x", "~root", "//etc/passwd", ".", "..", "", "/", "a//b"),
    *("*.csv", "[a-z]*", "?", "{a,b}", "x" * 300, "a/" * 300 + "b", "a\nb", "\x1b]0;x\x07", "con", "C:\\x", "\\\\host\\x", "file:///etc/passwd"),
    *("https://example.invalid/x", "s3://b/x", "zip://a::https://example.invalid/b", "-rf", "--help", "$(touch canary)", "`touch canary`"),
    *("x;touch canary", "a:b", "@{-1}", "..%2f..%2fx", "\udcff", "\ud800", "😀"),
)  # fmt: skip


# Templates.

_INPUTS = (
    *("messages", "messages[0].content", "'x'", "('x' * 99999)", "range(99999)", "[[[]]]", "{'a': 1}", "1", "1.5", "none", "true"),
    *("('<a> http://x.y ' * 9999)", "namespace(a=1)", "'x'.encode()", "([1] * 9999)", "('%s' * 999)", "'{0}'", "dict", "cycler(1, 2)"),
)  # fmt: skip
_METHODS = sorted(
    {name for of in (str, bytes, list, dict, int, float, tuple, range) for name in dir(of) if not name.startswith("_")}
)
_OPERATORS = ("~", "+", "*", "-", "//", "%", "**", "==", "<", "in", "and", "or")


def _argument(chance: random.Random) -> str:
    value = chance.choice(
        (chance.choice(SIZES), chance.choice(STRANGE), chance.choice((None, True, [], {}, [[]], 1e308, 0.5)))
    )
    if isinstance(value, str) and len(value) > 1000:
        return f"{value[:3]!r} * 33333"
    return {None: "none", True: "true"}.get(value, repr(value)) if not isinstance(value, list | dict) else repr(value)


def expression(chance: random.Random) -> str:
    """Something that a template may evaluate."""
    said = chance.choice(_INPUTS)
    for _ in range(chance.randrange(1, 5)):
        arguments = ", ".join(_argument(chance) for _ in range(chance.randrange(3)))
        how = chance.randrange(4)
        if how < 2:
            said = f"({said} | {chance.choice(sorted(jinja2.defaults.DEFAULT_FILTERS))}({arguments}))"
        elif how == 2:
            said = f"({said}).{chance.choice(_METHODS)}({arguments})"
        else:
            said = f"({said} {chance.choice(_OPERATORS)} {chance.choice((said, _argument(chance), chance.choice(_INPUTS)))})"
    return said


def template(chance: random.Random) -> str:
    """A template that grows, runs on, or asks for something strange."""
    said = expression(chance)
    step = chance.choice(
        ("a ~ a", "[a, a]", "(a, a)", "{'x': a, 'y': a}", "a + a", f"a ~ {said}", "namespace(x=a, y=a)")
    )
    return chance.choice(
        (
            f"{{{{ {said} }}}}",
            f"{{% set a = {said} %}}" + f"{{% set a = {step} %}}" * chance.choice((3, 30, 60)) + "{{ a }}",
            f"{{% for i in range({chance.choice((9, 999, 99_999))}) %}}{{{{ {said} }}}}{{% endfor %}}",
            f"{{% for i in {said} %}}{{% for j in {said} %}}{{{{ i }}}}{{% endfor %}}{{% endfor %}}",
            f"{{% macro f(x) %}}{{{{ f({said}) }}}}{{{{ f(x) }}}}{{% endmacro %}}{{{{ f(1) }}}}",
            f"{{% filter {chance.choice(sorted(jinja2.defaults.DEFAULT_FILTERS))} %}}{{{{ {said} }}}}{{% endfilter %}}",
            f"{{% set n = namespace(a={said}) %}}{{% for i in range(60) %}}{{% set n.a = n.a + n.a %}}{{% endfor %}}{{{{ n.a }}}}",
        )
    )


def jinja(chance: random.Random, scene: Scene) -> Attack:
    from harness.untrusted.chat_template import ChatTemplate
    from harness.untrusted.template import Template

    source = template(chance)
    if chance.random() < 0.5:
        talk = [{"role": "user", "content": "hello"}]
        return lambda: ChatTemplate(source + "{{ messages[0].content }}", {"bos_token": "<s>"}).render(talk, {})
    row = {"messages": "hello", "text": "some words " * 20}
    return lambda: Template("main", source + "{{ answer }}").pair(row, ["no", "yes"], ["no", "yes"])


# Data files.


def _type(chance: random.Random, depth: int = 0) -> Any:
    import pyarrow as pa

    if depth < 6 and chance.random() < 0.35:
        inner = _type(chance, depth + 1)
        return chance.choice(
            (
                lambda: pa.list_(inner),
                lambda: pa.large_list(inner),
                lambda: pa.list_(inner, chance.choice((0, 1, 3))),
                lambda: pa.struct([("a", inner), ("b", pa.int8())]),
                lambda: pa.struct([(str(n), inner) for n in range(chance.choice((0, 1, 200)))]),
                lambda: pa.map_(pa.string(), inner),
            )
        )()
    units, zones = ("s", "ms", "us", "ns"), (None, "UTC", "Mars/Base", "+25:00", "", "Europe/Paris", "+01:00")
    return chance.choice(
        (
            *(lambda name=name: getattr(pa, name)() for name in
              ("int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool_", "string", "large_string", "binary",
               "large_binary", "date32", "date64", "null", "month_day_nano_interval")),
            lambda: pa.binary(chance.choice((1, 16, 999))),
            lambda: pa.timestamp(chance.choice(units), tz=chance.choice(zones)),
            lambda: pa.duration(chance.choice(units)),
            lambda: pa.time32("ms"),
            lambda: pa.time64("ns"),
            lambda: pa.decimal128(38, chance.choice((0, 10, 38))),
            lambda: pa.decimal256(76, chance.choice((0, 76))),
            lambda: pa.dictionary(pa.int8(), pa.string()),
        )
    )()  # fmt: skip


_MOST_MADE = 100_000
"""Values of a column that are made one by one."""


def _column(chance: random.Random, dtype: Any, rows: int) -> Any:
    """A column of a type: of few values that stand in it again and again, or of none."""
    import pyarrow as pa

    values = [
        0,
        1,
        -1,
        1.5,
        127,
        2**62,
        True,
        "x",
        "yes",
        b"\xff\xfe",
        *STRANGE[:9],
        [],
        {},
        None,
        *chance.sample(STRANGE, 2),
    ]
    chance.shuffle(values)
    found = []
    for value in values:
        try:
            found.append(pa.scalar(value, dtype))
        except (pa.ArrowException, TypeError, ValueError, OverflowError, KeyError, AttributeError):
            continue
    try:
        if rows > _MOST_MADE:
            # One piece many times over: to make millions of nested values takes as long as the attack may.
            piece = pa.repeat(found[0], _MOST_MADE) if found else pa.nulls(_MOST_MADE, dtype)
            return pa.chunked_array([piece] * (rows // _MOST_MADE))
        if len(found) < 2:
            return pa.repeat(found[0], rows) if found else pa.nulls(rows, dtype)
        two = found[:2]
        return pa.array([two[n % 2].as_py() for n in range(rows)], dtype)
    except (pa.ArrowException, NotImplementedError, TypeError, ValueError, OverflowError):
        return pa.nulls(rows, dtype)


def _parquet(chance: random.Random, scene: Scene) -> str:
    import pyarrow as pa
    import pyarrow.parquet

    rows = chance.choice((0, 1, 2, 40, 40, 40, 999, 100_000, 3_000_000))
    more = chance.choice((0, 1, 1, 5, 70))
    names = ["text", "label", *(f"more {n}" for n in range(min(more, 5) if rows > _MOST_MADE else more))]
    honest = {
        "text": pa.array([f"row {n}" for n in range(min(rows, _MOST_MADE))]),
        "label": pa.array([n % 2 for n in range(min(rows, _MOST_MADE))]),
    }
    columns = {
        name: honest[name]
        if name in honest and rows <= _MOST_MADE and chance.random() < 0.7
        else _column(chance, _type(chance), rows)
        for name in names
    }
    try:
        pyarrow.parquet.write_table(
            pa.table(columns), scene.inside / "x.parquet", compression=chance.choice(("zstd", "snappy", "none", "gzip")),
            store_schema=chance.random() < 0.5,
        )  # fmt: skip
    except (pa.ArrowException, NotImplementedError, OverflowError):
        scene.write("x.parquet", b"PAR1" + chance.randbytes(99) + b"PAR1")
    if chance.random() < 0.3:
        content = bytearray((scene.inside / "x.parquet").read_bytes())
        for _ in range(chance.choice((1, 9))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        scene.write("x.parquet", bytes(content))
    return "x.parquet"


def _value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 9 and chance.random() < 0.3:
        inner = _value(chance, depth + 1)
        return chance.choice(([inner] * chance.choice((1, 9)), {"a": inner}, {str(n): inner for n in range(9)}))
    return chance.choice((*STRANGE, *SIZES, 1.5, None, True))


def _lines(chance: random.Random, scene: Scene) -> str:
    rows = []
    for number in range(chance.choice((1, 40, 400))):
        row = {"text": f"row {number}", "label": number % 2, "more": _value(chance)}
        if chance.random() < 0.1:
            row[chance.choice(("text", "label", f"key {number}", chance.choice(STRANGE)))] = _value(chance)
        rows.append(json.dumps(row))
    depth = chance.choice((0, 0, 500, 100_000))
    rows.append('{"text": ' + "[" * depth + "]" * depth + ', "label": 1}')
    scene.write("x.jsonl", "\n".join(rows))
    return "x.jsonl"


def _records(chance: random.Random, scene: Scene) -> str:
    ending = chance.choice(("csv", "tsv"))
    separator = "," if ending == "csv" else "\t"
    head = chance.choice(
        (
            ["text", "label"],
            ["text", "label", "more"],
            ["text", "label", *(f"c{n}" for n in range(20_000))],
            ["text"] * 9,
        )
    )
    lines = [separator.join(head)]
    for number in range(chance.choice((0, 1, 40))):
        cells = [f"row {number}", str(number % 2), *[""] * (len(head) - 2)]
        if chance.random() < 0.3:
            cells[chance.randrange(len(cells))] = chance.choice(
                (*STRANGE, '"', '"' * 99_999, separator * 9, "\r", '"a\n' * 999)
            )
        lines.append(separator.join(cells))
    scene.write(f"x.{ending}", chance.choice(("\n", "\r\n", "\r", "\n\n")).join(lines))
    return f"x.{ending}"


def data(chance: random.Random, scene: Scene) -> Attack:
    import msgspec

    from harness.contracts import kind

    name = chance.choice((_parquet, _parquet, _lines, _records))(chance, scene)
    asked = {
        "file": name,
        **chance.choice(({}, {}, {"fields": ["more 0"]}, {"factors": ["more 0"]}, {"group": "more"})),
    }
    return lambda: msgspec.convert(asked, kind.find("data", "file")).load(0, scene.inside)  # type: ignore[attr-defined]


# Tokenizers and models.


def _part(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    grown = {"type": "Replace", "pattern": chance.choice(({"String": ""}, {"String": "a"}, {"Regex": "."}, {"Regex": "(a*)*b"})),
             "content": chance.choice(("aa", "a" * 99_999, ""))}  # fmt: skip
    if depth < 3 and chance.random() < 0.4:
        inner = _part(chance, depth + 1)
        return {"type": "Sequence", "normalizers": [inner] * chance.choice((1, 2, 40))}
    return chance.choice(
        (
            grown,
            grown,
            {"type": "Prepend", "prepend": "▁" * chance.choice((1, 99_999))},
            {"type": "NFKC"},
            {"type": "Evil"},
        )
    )


def _spoilt(chance: random.Random, tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    special = {"id": "<s>", "ids": [0] * chance.choice((1, 1000)), "tokens": ["<s>"] * chance.choice((1, 1000))}
    piece = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    size = chance.choice(SIZES)

    def pick(key: str, value: Any) -> Callable[[], None]:
        return lambda: tokenizer.__setitem__(key, value)

    chance.choice(
        (
            pick("normalizer", _part(chance)),
            pick("normalizer", {"type": "Sequence", "normalizers": [_part(chance) for _ in range(chance.choice((3, 30)))]}),
            pick("pre_tokenizer", {"type": "Sequence", "pretokenizers": [tokenizer["pre_tokenizer"]] * chance.choice((2, 999))}),
            pick("pre_tokenizer", {"type": "Split", "pattern": {"Regex": chance.choice(("(a|a)*$", "((.*)*)*x", "("))}, "behavior": "Isolated", "invert": False}),
            pick("post_processor", {"type": "TemplateProcessing", "single": [piece] * chance.choice((1, 1000)) + [{"Sequence": {"id": "A", "type_id": 0}}],
                                    "pair": [], "special_tokens": {"<s>": special}}),
            pick("padding", {"strategy": {"Fixed": abs(size)}, "direction": "Right", "pad_to_multiple_of": abs(size) or None, "pad_id": 0,
                             "pad_type_id": 0, "pad_token": "<s>"}),
            pick("truncation", {"direction": "Right", "max_length": abs(size), "strategy": "LongestFirst", "stride": abs(size)}),
            pick("added_tokens", [{"id": abs(size) % 2**32, "content": chance.choice(STRANGE) or "y", "single_word": False, "lstrip": True, "rstrip": True,
                                   "normalized": True, "special": chance.random() < 0.5}] * chance.choice((1, 999))),
            pick("decoder", _part(chance)),
            pick("version", chance.choice(STRANGE)),
            lambda: vocabulary.update({chance.choice(STRANGE): abs(size) % 2**32}),
            lambda: vocabulary.clear(),
            lambda: tokenizer["model"].update(merges=[["a", "a"]] * chance.choice((1, 99_999))),
            lambda: tokenizer["model"].update(unk_token=chance.choice(STRANGE), byte_fallback=True, dropout=chance.choice((0.5, 1e308, -1))),
            lambda: tokenizer["model"].update(type=chance.choice(("Unigram", "WordPiece", "WordLevel", "Evil"))),
        )
    )()  # fmt: skip


def tokenizer(chance: random.Random, scene: Scene) -> Attack:
    from harness.models.identity import tokenizer_identity
    from harness.models.tokenizer import Tokenizer, prepare

    folder = scene.inside / "model"
    shutil.copytree(honest(scene) / "model", folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    for _ in range(chance.choice((1, 1, 3))):
        _spoilt(chance, content)
    path.write_text(json.dumps(content))
    said = json.loads((folder / "tokenizer_config.json").read_text())
    if chance.random() < 0.3:
        said[
            chance.choice(
                (
                    "bos_token",
                    "model_max_length",
                    "tokenizer_class",
                    "vocab_file",
                    "extra_special_tokens",
                    "chat_template",
                )
            )
        ] = _value(chance)
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return lambda: Tokenizer(prepare(folder, tokenizer_identity(folder))).encode(["Is a warm a: " * 9, "aaa" * 99])


def model(chance: random.Random, scene: Scene) -> Attack:
    from harness.models.card import describe
    from harness.spec import Model

    folder = scene.inside / "model"
    shutil.copytree(honest(scene) / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    for _ in range(chance.choice((1, 1, 3))):
        names = (
            *config,
            "text_config",
            "auto_map",
            "quantization_config",
            "rope_scaling",
            "attn_implementation",
            "sliding_window",
            "layer_types",
        )
        config[chance.choice(names)] = chance.choice(
            (chance.choice(SIZES), _value(chance), chance.choice(PATHS), [chance.choice(SIZES)] * 9)
        )
    (folder / "config.json").write_text(json.dumps(config))
    weights = chance.choice(("random", "pretrained"))
    return lambda: describe(Model(id="./model", weights=weights), scene.inside)


# Names.


def name(chance: random.Random, scene: Scene) -> Attack:
    said = chance.choice(PATHS)
    text = json.dumps(said)
    spec = PLANTED
    places: tuple[Callable[[], list[str]], ...] = (
        lambda: ["validate", str(scene.write("x.yaml", spec.replace("name: x", f"name: {text}")))],
        lambda: ["validate", str(scene.write("x.yaml", spec.replace("bed: planted", f"bed: {text}")))],
        lambda: ["validate", str(scene.write("x.yaml", spec + f"include: {text}\n"))],
        lambda: ["plan", str(scene.write("x.yaml", spec.replace("bed: planted", f"id: {text}")))],
        lambda: ["plan", str(scene.write("x.yaml", spec.replace("bed: planted", f"bed: planted, adapter: {text}")))],
        lambda: ["run", str(scene.write("x.yaml", spec.replace("{limit: 60}", f"{{source: {{file: {text}}}}}"))), "--no-page"],
        lambda: ["run", str(scene.write("x.yaml", spec.replace("{limit: 60}", f"{{source: {{hub: {text}}}}}"))), "--no-page"],
        lambda: ["run", str(scene.write("x.yaml", spec.replace("[mean_difference]", f"[{{kind: mean_difference, name: {text}}}]"))), "-q"],
        lambda: ["run", "--set", f"name={said}", str(scene.write("x.yaml", spec)), "--no-page"],
        lambda: ["diff", "--", said, "."],
        lambda: ["compare", "--", said],
        lambda: ["report", "--", said],
        lambda: ["bed", "verify", "--", said],
        lambda: ["store", "ls", "--", said],
    )  # fmt: skip
    arguments = chance.choice(places)()
    return [part.replace("\0", "") for part in arguments]


# Reports and stores.


def report(chance: random.Random, scene: Scene) -> Attack:
    folder = scene.inside / "r"
    shutil.copytree(honest(scene) / "reports" / "x", folder)
    if chance.random() < 0.4:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        at: Any = manifest["report"]
        key = chance.choice(sorted(at))
        size = chance.choice((2, 300, 3000))
        at[key] = chance.choice((at[key] * size if isinstance(at[key], list | str) else _value(chance), _value(chance)))
        path.write_text(json.dumps(manifest))
    else:
        path = chance.choice(sorted(folder.glob("*.csv")))
        rows = list(csv.reader(path.open(newline="")))
        column = chance.randrange(len(rows[0]))
        how = chance.randrange(3)
        if how == 0:
            for row in rows[1:]:
                row[column] = chance.choice(
                    ("", "inf", "-inf", "nan", "1e308", "-1", "1e17", "x" * 9_999, chance.choice(STRANGE))
                )
        elif how == 1 and len(rows) > 1:
            rows += [
                [f"{cell}{n}" if i == column else cell for i, cell in enumerate(rows[1])]
                for n in range(chance.choice((9, 9_999)))
            ]
        else:
            rows = [row + row[column : column + 1] * 3000 for row in rows]
            rows[0] = [f"{cell}{n}" if n >= len(rows[0]) - 3000 else cell for n, cell in enumerate(rows[0])]
        with path.open("w", newline="") as opened:
            csv.writer(opened).writerows(rows)
    return chance.choice((["report", "r"], ["report", "r"], ["diff", "r", "r"], ["compare", "r"]))


def table(chance: random.Random, scene: Scene) -> Attack:
    """Any column of any table beside a report, with anything in it."""
    import polars as pl

    folder = scene.inside / "r"
    shutil.copytree(honest(scene) / "reports" / "x", folder)
    path = chance.choice((folder / "rows.parquet", *sorted(folder.glob("*.parquet"))))
    frame = pl.read_parquet(path)
    values = (
        *(None, "", 7, -1, 10**18, 0.5, 1e308, float("inf"), float("nan"), True, b"\xff", "x" * 9_999, chance.choice(STRANGE)),
        *(pl.concat_list(pl.lit(1)), pl.struct(pl.lit("x").alias("x")), pl.lit([]), pl.lit("x" * 99).cast(pl.Categorical)),
    )  # fmt: skip
    value = chance.choice(values)
    name = chance.choice((*frame.columns, *frame.columns, f"factor_{chance.choice(STRANGE)}", chance.choice(STRANGE)))
    how = chance.randrange(4)
    if how < 3:
        frame = frame.with_columns((value if isinstance(value, pl.Expr) else pl.lit(value)).alias(name))
    elif chance.random() < 0.5 and frame.height:
        frame = pl.concat([frame] * (chance.choice((2, 99_999, 1_100_000)) // frame.height + 1))
    else:
        frame = frame.with_columns(pl.lit("x").alias(f"factor_{n}") for n in range(chance.choice((99, 3_000))))
    frame.write_parquet(path)
    shown = (["rows", "r"], ["rows", "r", "--json"], ["rows", "r", "--wrong", "--sort", "score"])
    return chance.choice((*shown, ["report", "r"], ["diff", "r", "r"], ["report", "--all", "--out", "."]))


def repository(chance: random.Random, scene: Scene) -> Attack:
    """Anything in the place of a file that `init --ci` reads or writes, or that `run --since` asks git about."""
    subprocess.run(["git", "init", "-q", str(scene.inside)], check=True, capture_output=True)
    scene.write("x.yaml", PLANTED)
    names = (".gitattributes", ".github", ".githooks", ".githooks/pre-commit", "spec.schema.json", "pyproject.toml")
    path = scene.inside / chance.choice((*names, ".github/workflows", "y.yaml", "z/y.yaml", ".git/info/attributes"))
    path.parent.mkdir(parents=True, exist_ok=True)
    how = chance.randrange(5)
    if how == 0:
        path.symlink_to(
            chance.choice((scene.outside, scene.outside / "secret.yaml", scene.outside / "new", "/dev/zero"))
        )
    elif how == 1:
        os.mkfifo(path)
    elif how == 2:
        path.mkdir()
    else:
        path.write_bytes(
            chance.choice(
                (b"\xff", b"[" * 99_999, PLANTED.encode(), *(one.encode("utf-8", "replace") for one in STRANGE))
            )
        )
        if chance.random() < 0.3:
            os.truncate(path, 10**10)
    if chance.random() < 0.7:
        return ["init", "--ci", *chance.choice(([], ["--install", "elk-harness"]))]
    return ["run", f"--since={chance.choice(PATHS)}".replace("\0", ""), "x.yaml", "--no-page", "-q"]


def store(chance: random.Random, scene: Scene) -> Attack:
    import msgspec

    from tests.attacks.test_stores import ENDING, resealed, resigned

    root = scene.home / "store"
    shutil.copytree(honest(scene) / "store", root)
    shutil.copy(honest(scene) / "x.yaml", scene.inside)
    for _ in range(chance.choice((1, 5))):
        folder = chance.choice(sorted(path.parent for path in root.glob("*/*/meta.json")))
        path = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        inner = path.relative_to(folder).as_posix()
        if path.name == "meta.json":
            meta = json.loads(path.read_bytes())["about"]
            key = chance.choice(sorted(meta)) if meta else "x"
            said = _value(chance)
            resealed(folder, lambda meta, key=key, said=said: meta["about"].update({key: said}))  # type: ignore[misc]
        elif path.suffix == ENDING and chance.random() < 0.6:
            columns = msgspec.msgpack.decode(path.read_bytes())
            for column in columns:
                if chance.random() < 0.3:
                    column[chance.randrange(len(column))] = chance.choice(
                        (b"", b"\xff" * 16, "Int64", "String", ["x"] * 9, None, 7, "x", [])
                    )
            resigned(folder, inner, msgspec.msgpack.encode(columns))
        else:
            content = bytearray(path.read_bytes() or b"x")
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            resigned(folder, inner, bytes(content))
    return ["run", "x.yaml", "--no-page", "-q"]


def honest(scene: Scene) -> Path:
    """A model, a report and a store as they should be, which a run of the command made beforehand."""
    return scene.home.parent / "honest"


GENERATORS: dict[str, Callable[[random.Random, Scene], Attack]] = {
    "jinja": jinja,
    "data": data,
    "tokenizer": tokenizer,
    "model": model,
    "name": name,
    "report": report,
    "table": table,
    "repository": repository,
    "store": store,
}
