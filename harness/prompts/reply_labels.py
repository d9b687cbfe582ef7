"""What is true of replies, read from their words by the rule of a spec; and which of them are no answers."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from harness.errors import DataError, did_you_mean
from harness.spec.reply import Reply, ReplyLabel
from harness.untrusted.patterns import found_in

_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d{1,3})?(?!\w)", re.IGNORECASE)
_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")
_LEADING = " \t\n\"'*_#>-"
"""What may stand before the first word of a refusal."""

EMPTY, REFUSED = "empty", "refusals"
"""Reasons for which a reply is no answer."""


class Labelled(msgspec.Struct, frozen=True):
    """What a rule says of one reply."""

    reason: str = ""
    """Why it is left out; empty for one that is an answer."""
    value: float | None = None
    """Its label: an index of the rule's values, or a number; None where no rule was given."""
    said: int | None = None
    """Of choices, which it names."""


def labelled(reply: Reply, texts: Sequence[str], fields: Sequence[Mapping[str, Any]]) -> list[Labelled]:
    """Each reply's label. `fields` are those of its example, with `label`, the index of its right answer, and that answer as `answer`.

    Raises DataError for a key that the data have not, and for an expression that takes too long.
    """
    plain = [plain_text(text) for text in texts]
    refused = _beginnings(reply.refusals)
    reasons = [EMPTY if not text else REFUSED if refused(text) else "" for text in plain]
    rule = reply.label
    if rule is None:
        return [Labelled(reason) for reason in reasons]
    answers = _answers(rule, texts, plain, fields)
    return [Labelled(reason) if reason else one for reason, one in zip(reasons, answers, strict=True)]


def plain_text(text: str) -> str:
    """A text without what makes no difference to what it says: case, invisible characters, forms of letters, blanks, apostrophes."""
    shown = "".join(
        one
        for one in unicodedata.normalize("NFKC", text)
        if unicodedata.category(one) not in ("Cf", "Cc") or one.isspace()
    )
    return " ".join(shown.translate(_APOSTROPHES).casefold().split())


def numbers_in(text: str) -> list[float]:
    """The numbers in a text, in order. 1,000 is a thousand; what is glued to letters is none."""
    return [float(found.replace(",", "").replace("−", "-")) for found in _NUMBER.findall(text)]


def _beginnings(words: Sequence[str]) -> Callable[[str], bool]:
    known = tuple(filter(None, map(plain_text, words)))
    return lambda text: text.lstrip(_LEADING).startswith(known)


def _answers(
    rule: ReplyLabel, texts: Sequence[str], plain: Sequence[str], fields: Sequence[Mapping[str, Any]]
) -> list[Labelled]:
    if rule.expression is not None:
        found = found_in(rule.expression, texts, "data.reply.label.expression")
        return [Labelled(value=float(one)) for one in found]
    if rule.contains:
        wanted = _whole(rule.contains)
        return [Labelled(value=float(wanted.search(text) is not None)) for text in plain]
    keys = [None] * len(plain) if rule.key is None else [_key(rule.key, one) for one in fields]
    if rule.choice:
        return [_choice(rule, text, key) for text, key in zip(plain, keys, strict=True)]
    if rule.number is not None:
        return [_number(rule, text, key) for text, key in zip(plain, keys, strict=True)]
    return [_contradicts(text, key) for text, key in zip(plain, keys, strict=True)]


def _whole(words: Sequence[str]) -> re.Pattern[str]:
    """Any of some phrases as whole words."""
    known = sorted({plain_text(one) for one in words} - {""}, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in known) or r"(?!)")


def _key(name: str, fields: Mapping[str, Any]) -> str:
    """The answer key of an example as text. Raises DataError where it has none."""
    if name == "label":
        return str(fields.get("answer", fields["label"]))
    if name not in fields:
        offered = sorted(one for one in fields if one.isidentifier())
        raise DataError(
            f'data.reply.label.key: the data have no "{name}"{did_you_mean(name, offered)}',
            about="data.reply.label.key",
        )
    return str(fields[name])


def _choice(rule: ReplyLabel, text: str, key: str | None) -> Labelled:
    found = [_whole(words).search(text) for words in rule.choice.values()]
    # The first that is named; of those that begin there, the longest: "not bad" is not "not".
    ranks = [(one.start(), -one.end()) if one else (math.inf, 0.0) for one in found]
    first = min(ranks)
    if first[0] == math.inf or ranks.count(first) > 1:
        return Labelled("that name none of the choices")
    said = ranks.index(first)
    if key is None:
        return Labelled(value=float(said), said=said)
    right = _named(rule, key)
    return Labelled(value=float(said != right), said=said)


def _named(rule: ReplyLabel, key: str) -> int:
    """The choice that an answer key names, by its name or by one of its words. Raises DataError where it names none."""
    written = plain_text(key)
    for index, (name, words) in enumerate(rule.choice.items()):
        if written in {plain_text(name), *map(plain_text, words)}:
            return index
    raise DataError(
        f'data.reply.label.choice: the answer key "{key[:60]}" is none of the choices ({", ".join(rule.choice)}); add it to the words of one',
        about="data.reply.label.choice",
    )


def _number(rule: ReplyLabel, text: str, key: str | None) -> Labelled:
    found = [one for one in numbers_in(text) if math.isfinite(one)]
    if not found:
        return Labelled("without a number")
    said = found[0 if rule.number == "first" else -1]
    if key is None:
        return Labelled(value=said)
    right = numbers_in(plain_text(key))
    if len(right) != 1:
        raise DataError(
            f'data.reply.label.key: "{key[:60]}" is no number; name another field, or take `number` out',
            about="data.reply.label.key",
        )
    return Labelled(value=float(not math.isclose(said, right[0], rel_tol=1e-9)))


def _contradicts(text: str, key: str | None) -> Labelled:
    assert key is not None
    if not (written := plain_text(key)):
        raise DataError("data.reply.label.key: an example has an empty answer key; leave it out with data.where")
    return Labelled(value=float(_whole((written,)).search(text) is None))


def no_answers(texts: Sequence[str], reasons: Sequence[str]) -> str:
    """How many replies are no answers, and the first of them; empty where all are."""
    out = [text for text, reason in zip(texts, reasons, strict=True) if reason]
    if not out:
        return ""
    first = " ".join(out[0].split())[:60]
    return f' ({len(out):,} of {len(texts):,} replies are no answers, the first: "{first}")'
