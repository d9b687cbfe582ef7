"""The output of `harness list`: every kind in one line, or one kind with its options, as its struct declares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from harness.commands.error_rates import error_rates
from harness.contracts import Analysis, Claim, Metric, Probe, Source, kind
from harness.contracts.network_bed import NetworkBed, Recipe
from harness.errors import UsageError, did_you_mean
from harness.language.schema import words
from harness.language.schema.json_schema import option_schema
from harness.spec import Model

if TYPE_CHECKING:
    from rich.console import RenderableType

MODELS = "models"
LISTS = (*kind.FOLDERS, MODELS)

# A value for an option that must be given, so that the example is one that could stand in a spec.
_FOR_EXAMPLE: dict[str, Any] = {
    "probe": "logistic_regression",
    "over": "word",
    "hub": "stanfordnlp/imdb",
    "file": "my.csv",
    "coefficients": ["llc", "llc_by_smaller_steps"],
    "memorising": ["few", "many"],
    "parts": ["one", "other"],
    "sizes": ["few", "some", "many"],
    "to": ["other"],
    "paraphrased": "reworded",
}


def listing(folder: str | None = None, name: str | None = None) -> RenderableType:
    """All kinds in a folder (in all folders, without one), or one kind in full. Raises UsageError."""
    if folder is None:
        return _everything()
    folder = kind.canonical(folder)
    if folder not in LISTS:
        raise UsageError(f'there is no list "{folder}"{did_you_mean(folder, LISTS)}')
    if folder == MODELS:
        return _models() if name is None else _model(name)
    if name is None:
        return _table(("", ""), [(each, _line(folder, each)) for each in kind.names(folder)])
    aliases = kind.aliases(folder)
    own, _ = aliases.get(kind.canonical(name), (kind.canonical(name), {}))
    if own not in kind.names(folder):
        raise UsageError(f'no {kind.FOLDERS[folder]} "{name}"{did_you_mean(name, [*kind.names(folder), *aliases])}')
    return _kind(folder, kind.find(folder, own))


def example(folder: str, cls: type[kind.Kind]) -> str:
    """A line or two of a spec that use the kind with what must be given and one option of its own."""
    name = cls.kind()
    options = kind.options(cls)
    required = {
        option.name: _FOR_EXAMPLE.get(option.name, option.name.upper()) for option in options if option.required
    }
    shared = {option.name for base in cls.__bases__ if "folder" in vars(base) for option in kind.options(base)}
    own = [option for option in options if option.name not in shared and option.default not in (None, (), "")]
    given = required | {option.name: option.default for option in own[:1]}
    body = {"kind": name, **given}
    if issubclass(cls, Analysis) and cls.asked_by:
        return cls.asked_by
    if folder == "beds":
        return f"model: {_flow({'bed': name, **given})}"
    if folder == "normalisations":
        return f"probes:\n  - {{kind: ccs, normalise: {name}}}"
    if folder == "data":
        body = given if name in given else body
        return f"data:\n  source: {name if not given else _flow(body)}"
    if folder == "distractors":
        return f"distractors:\n  word: {_flow(body)}"
    if folder == "checks":
        body = {"kind": name, **required, "condition": "main", "expect": "pass"}
    return f"{folder}:\n  - {name if len(body) == 1 else _flow(body)}"


def _everything() -> RenderableType:
    rows = [(folder, ", ".join(kind.loadable(folder))) for folder in kind.FOLDERS]
    refused = [("cannot be used", reason) for reason in kind.refusals()]
    return _table(("list", "what there is"), [*rows, (MODELS, ", ".join(_catalog("model"))), *refused])


def _line(folder: str, name: str) -> str:
    if name not in kind.loadable(folder):
        return kind.refusal(folder, name)
    cls = kind.find(folder, name)
    summary = words.first_sentence(kind.summary(cls))
    return f"{summary} [{cls.source}]" if cls.source else summary


def _kind(folder: str, cls: type[kind.Kind]) -> RenderableType:
    import inspect

    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{kind.FOLDERS[folder]} {cls.kind()}", style="bold"), ""]
    for paragraph in inspect.cleandoc(cls.__doc__ or "").split("\n\n"):
        parts += [Text(" ".join(paragraph.split())), ""]
    entry = kind.entry_of(folder, cls.kind())
    facts = [] if entry is None else [f"It comes from the package {entry.package}."]
    facts = [*facts, *_facts(cls), *([f"Source: {cls.source}."] if cls.source else [])]
    if facts:
        parts += [*map(Text, facts), ""]
    if kind.options(cls):
        parts += [_options(cls), ""]
    return Group(*parts, Text(example(folder, cls)))


def _facts(cls: type[kind.Kind]) -> list[str]:
    """What a kind says about itself besides its options."""
    facts = []
    if issubclass(cls, Probe):
        facts.append(f"It is {'' if cls.supervised else 'not '}handed labels.")
        facts.append("It draws random numbers: one fit per seed." if cls.seeded else "One fit, whatever the seeds.")
    if cls.aliases:
        meant = "; ".join(f"{name} for {_flow({'kind': cls.kind(), **given})}" for name, given in cls.aliases.items())
        facts.append(f"Other names: {meant}.")
    if issubclass(cls, Metric) and (beside := cls().beside):
        facts.append(f"Always reported together with {', '.join(beside)}.")
    if issubclass(cls, Claim) and cls.claim:
        facts += [f"Claim: {cls.claim}.", *error_rates(cls.kind())]
    if issubclass(cls, NetworkBed):
        facts += _of_network(cls())
    if issubclass(cls, Source) and cls.columns:
        text = "" if "text" in cls.columns else f"; `text` is its {cls.text_from}"
        facts.append(f"Fields for a template: {', '.join(cls.columns)}{text}.")
    for what in ("answers", "template"):
        value = getattr(cls, what, None)
        if isinstance(value, (str, tuple)) and value:
            facts.append(f"Its {what}: {_flow(value)}.")
    return facts


def _of_network(bed: NetworkBed) -> list[str]:
    """What a network bed brings, claims and costs, with its default options."""
    brought, recipe, claims = bed.brought(), bed.recipe(), bed.claims()["checks"]
    names = ", ".join(check.get("name", check["kind"]) for check in claims)
    base = recipe.base if isinstance(recipe, Recipe) else "nothing"
    return [
        f"In a spec it stands for model: {_flow(brought.model)}, data: {_flow(brought.data)}, prompt: {_flow(brought.prompt)}.",
        f"It claims: {names}; `harness bed verify {bed.kind()}` tries them.",
        f"`harness bed train {bed.kind()}` trains it from {base}: {recipe.steps} steps, about {recipe.minutes} minutes on "
        "two cores.",
    ]


def _options(cls: type[msgspec.Struct]) -> RenderableType:
    """A table of all options: type and range stand above what an option does, which needs the width."""
    return _table(("option", "default", "type and range; what it does"), list(_option_rows(cls)))


def _option_rows(cls: type[msgspec.Struct], of: str = "") -> Iterator[tuple[str, str, str]]:
    """A row for each option, those of one that is a mapping of its own behind it, under both names."""
    for option in kind.options(cls):
        inner = [
            one
            for one in (option.type, *get_args(option.type))
            if isinstance(one, type) and issubclass(one, msgspec.Struct)
        ]
        default = "as below" if inner and option.default is not None else _default(option)
        yield f"{of}{option.name}", default, f"{type_words(option.type)}\n{' '.join(option.doc.split())}"
        for one in inner:
            yield from _option_rows(one, f"{of}{option.name}.")


def type_words(hint: Any) -> str:
    """An option's type and range in plain words."""
    schema = option_schema(hint)
    wanted, allowed = words.wanted(schema), words.allowed(schema)
    return f"{wanted}; {allowed}" if allowed else wanted


def _default(option: kind.Option) -> str:
    if option.required:
        return "must be given"
    return "none" if option.default is None else _flow(msgspec.to_builtins(option.default))


def _flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.replace("_", "").replace("-", "").replace("/", "").replace(".", "").isalnum():
        return value
    return msgspec.json.encode(value).decode()


def _models() -> RenderableType:
    rows = [
        (name, f"{asset.about} [{asset.license}, {asset.size_mb:g} MB]") for name, asset in _catalog("model").items()
    ]
    rows.append(("…", "any Hub id, local folder or .gguf file; a test bed is `{bed: NAME}` (harness list beds)"))
    return _table(("", ""), rows)


def _model(name: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    models = _catalog("model")
    if name not in models:
        raise UsageError(f'no model "{name}" comes with the harness{did_you_mean(name, list(models))}')
    asset = models[name]
    pinned = f"{asset.distribution} {asset.version}, {asset.filename}, SHA-256 {asset.sha256}"
    lines = [asset.about, f"Licence: {asset.license}. Size: {asset.size_mb:g} MB.", f"Source: {pinned}."]
    table = _options(Model)
    return Group(Text(f"model {name}", style="bold"), "", *map(Text, lines), "", table, "", Text(f"model: {name}"))


def _catalog(what: str) -> dict[str, Any]:
    from harness.assets.catalog import CATALOG

    return {name: asset for name, asset in CATALOG.items() if asset.kind == what}


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if any(head) else None, show_header=any(head), pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(Text(row[0], style="bold"), *map(Text, row[1:]))
    return table
