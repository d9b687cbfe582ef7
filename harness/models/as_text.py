"""Control tokens as text: which tokens of a tokenizer they are, and a copy of the tokenizer that does not know how they are spelled.

transformers' `split_special_tokens` takes all of a text's control tokens for text. Here the prompt's own must stay tokens while those
of the data become letters, in one string: parts that are encoded apart and joined are another text. So in the copy each control token
has another first character, from a private-use plane, and in a prompt each control token of its own is written so. The numbers of
tokens and of characters stay the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.errors import DataError
from harness.untrusted.control_tokens import LONGEST

_PLANE = range(0xF0000, 0xFFF00, 0x400)
_SHAPE = re.compile(r"<[|｜].+[|｜]>")
"""How control tokens are written that a tokenizer does not call special."""


def is_control(content: str, special: bool, template: str) -> bool:
    """Whether a token that was added to a tokenizer's vocabulary marks structure.

    Those that the tokenizer calls special do, those in the form `<|…|>`, and those that its chat template writes; but no single
    character, no blanks and no plain word, which every text may have, and nothing as long as a sentence.
    """
    if not 2 <= len(content) <= LONGEST or content.isspace() or content.isalnum():
        return False
    return special or bool(_SHAPE.fullmatch(content)) or content in template


def unknown_of(backend: str) -> str | None:
    """The token, in the JSON of a tokenizer, that a word becomes which the vocabulary has not."""
    model = json.loads(backend)["model"]
    if model.get("unk_id") is not None:
        return str(model["vocab"][model["unk_id"]][0])
    return model.get("unk_token")


class Spelling:
    """Another spelling of control tokens: their first characters replaced by some that no text has. Raises DataError if all are used."""

    def __init__(self, control: Collection[str], texts: Sequence[str]):
        firsts = sorted({name[0] for name in control})
        used = {ord(character) for text in texts for character in text if ord(character) >= _PLANE[0]}
        free = (base for base in _PLANE if used.isdisjoint(range(base, base + len(firsts))))
        base = next(free, None)
        if base is None:
            raise DataError("the texts use up the private-use characters of Unicode; take them out of the data")
        self.start = base
        self._first = {first: chr(base + number) for number, first in enumerate(firsts)}

    def __call__(self, name: str) -> str:
        return self._first[name[0]] + name[1:]

    def written(self, text: str, at: Sequence[int]) -> str:
        """The text with the control tokens that begin at some characters written so."""
        letters = list(text)
        for place in at:
            letters[place] = self._first[letters[place]]
        return "".join(letters)


def respelled(backend: str, control: Collection[str], spelling: Spelling) -> str:
    """The JSON of a tokenizer whose control tokens are spelled otherwise, with the same numbers."""
    content: dict[str, Any] = json.loads(backend)
    names: Mapping[str, str] = {name: spelling(name) for name in control}
    for token in content["added_tokens"]:
        if token["content"] in names:
            # A normaliser may drop the private-use character.
            token |= {"content": names[token["content"]], "normalized": False}
    model = content["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("merges"):
        # Letters that would merge into a control token stay apart.
        model["merges"] = [merge for merge in model["merges"] if _merged(merge) not in names]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    return json.dumps(content, ensure_ascii=False)


def _merged(merge: str | Sequence[str]) -> str:
    return merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
