"""Why two reports differ, as far as their manifests tell: what was asked, what was read, the code, the versions, the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from harness.report.asked import EVERYWHERE, as_now, model_as_now
from harness.report.wording import listed
from harness.untrusted import text as plain

T = TypeVar("T")

_SHOWN = 6
"""Changed entries of the spec that are named; of more, the rest are counted."""


NOTHING_KNOWN = "nothing that the manifests know of"
NOT_SAID = "one of the two does not say how it was made"


class Outlined(msgspec.Struct, frozen=True):
    """What the outline in a manifest says of the spec, and `asked` does not."""

    about: str = ""


class Made(msgspec.Struct, frozen=True):
    """What a manifest says of how a report was made; empty where an earlier version does not say it."""

    spec_hash: str = ""
    asked: Mapping[str, str] = {}
    conditions: Sequence[str] = ()
    models: Mapping[str, Mapping[str, Any]] = {}
    """By condition; so are the data."""
    data: Mapping[str, str] = {}
    code: Mapping[str, str] = {}
    """By the kind of stage."""
    runs: Sequence[Mapping[str, Any]] = ()
    report: Outlined = Outlined()


def made_of(manifest: Mapping[str, Any]) -> Made:
    """As far as it is what this program writes; a stranger may have written it."""
    try:
        made = msgspec.convert({name: manifest[name] for name in Made.__struct_fields__ if name in manifest}, Made)
    except msgspec.ValidationError:
        return Made()
    models = {name: model_as_now(one) for name, one in _of_each(made.models).items()}
    # A former version wrote a line for each condition, in their order.
    conditions = made.conditions or tuple(models)
    asked = as_now(made.asked)
    return msgspec.structs.replace(made, asked=asked, models=models, data=_of_each(made.data), conditions=conditions)


def _of_each(said: Mapping[str, T]) -> dict[str, T]:
    """What is said of several conditions, by each."""
    return {name: one for names, one in said.items() for name in names.split(", ")}


def causes(old: Made, new: Made) -> list[str]:
    """What differs, one phrase each, what was asked first. Nothing known is said where either does not say how it was made."""
    if not (old.code and new.code):
        return [NOT_SAID]
    found = [*_models(old, new), *_asked(old, new), *_data(old, new)]
    code = [
        kind
        for kind in {**old.code, **new.code}
        if kind in old.code and kind in new.code and old.code[kind] != new.code[kind]
    ]
    if code:
        only = "nothing but " if not found else ""
        found.append(f"{only}the code of {listed([plain.line(kind, 40) for kind in code])}")
    found += _machines(old, new)
    return found or [NOTHING_KNOWN]


def _models(old: Made, new: Made) -> Iterator[str]:
    said: dict[str, list[str]] = {}
    for condition in old.models:
        was, is_now = old.models[condition], new.models.get(condition, {})
        # What is asked is compared by itself.
        for name, word in (("revision", "the model's revision"), ("identity", "the model's weights")):
            if is_now and was.get(name) != is_now.get(name) and was.get("id") == is_now.get("id"):
                said.setdefault(f"{word} ({_cut(was.get(name))} → {_cut(is_now.get(name))})", []).append(condition)
                break
        # With `precision: fast` the machine chooses it.
        if "dtype" in was and "dtype" in is_now and was["dtype"] != is_now["dtype"]:
            words = f"products in {_cut(is_now['dtype'])}, not {_cut(was['dtype'])},"
            said.setdefault(words, []).append(condition)
    for words, conditions in said.items():
        every = len(conditions) == len(old.models)
        yield words if every else f"{words} in {listed([plain.line(one, 40) for one in conditions[:3]])}"


def _asked(old: Made, new: Made) -> Iterator[str]:
    # A renamed condition of which all is asked everywhere stands in no path.
    if list(old.conditions) != list(new.conditions) and old.conditions and new.conditions:
        yield f"conditions ({_cut(', '.join(old.conditions))} → {_cut(', '.join(new.conditions))})"
    paths = dict.fromkeys([*old.asked, *new.asked])
    changed = [path for path in paths if old.asked.get(path) != new.asked.get(path)]
    # Conditions that come or go are one change each, not one for each of their entries.
    for path in changed[:_SHOWN]:
        was, is_now = old.asked.get(path), new.asked.get(path)
        shown = plain.line(path.removeprefix(f"{EVERYWHERE}."), 60)
        yield f"{shown} ({_cut(was)} → {_cut(is_now)})"
    if len(changed) > _SHOWN:
        yield f"{len(changed) - _SHOWN} more entries of the spec"
    if old.report.about != new.report.about:
        yield f"about ({_cut(old.report.about)} → {_cut(new.report.about)})"
    elif old.asked and not changed and list(old.conditions) == list(new.conditions) and old.spec_hash != new.spec_hash:
        yield "the order of entries of the spec, or their type"


def _data(old: Made, new: Made) -> Iterator[str]:
    changed = [name for name in old.data if name in new.data and old.data[name] != new.data[name]]
    if changed:
        every = len(changed) == len(old.data)
        yield "the data themselves" + ("" if every else f" of {listed([plain.line(one, 40) for one in changed[:3]])}")


def _machines(old: Made, new: Made) -> Iterator[str]:
    """Of the newest run on either side: versions of packages, the processor, threads."""
    if not (old.runs and new.runs):
        return
    was, is_now = old.runs[-1], new.runs[-1]
    for name, parts in (("versions", None), ("hardware", ("processor", "machine", "torch_threads", "gpus"))):
        before, after = was.get(name), is_now.get(name)
        if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
            continue
        for part in {**before, **after} if parts is None else parts:
            # What a run did not look up, as one that loads no torch, is unknown; a package that it lacks is known.
            if before.get(part) != after.get(part) and (parts is None or (part in before and part in after)):
                word = plain.line(str(part), 40).replace("torch_", "")
                yield f"{word} ({_cut(before.get(part))} → {_cut(after.get(part))})"


def _cut(value: object) -> str:
    return "nothing" if value is None or value == "" else plain.line(str(value), 40)
