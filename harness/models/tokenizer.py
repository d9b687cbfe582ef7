"""Text to token ids and back to places in the text, without importing torch.

The first time a tokenizer is met, transformers reads it (it knows every tokenizer's peculiarities) and its fast
backend is written to the cache as one file. From then on the `tokenizers` library alone answers, in milliseconds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from harness.code.code_version import code_of
from harness.errors import HarnessError, UsageError
from harness.models.as_text import Spelling, is_control, unknown_of
from harness.models.backend import REMEDY, Encoded, Respelling, decode, encode, limits_of, whole
from harness.models.identity import tokenizer_identity
from harness.models.model_folder import tokenizer_files
from harness.store import cache_folder, content_key
from harness.untrusted import worker
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.files import read_json

if TYPE_CHECKING:
    from harness.contracts.subject import Encoded as AnyEncoded
    from harness.models.card import ModelCard
    from harness.prompts.chat import Chat
    from harness.untrusted.chat_template import ChatTemplate

_PROBES = (
    "The city of Paris is in France.",
    " two  spaces\n\nünï 123",
    "Between positive and negative: ",
    "ÉCOLE e\u0301 ｆｕｌｌ 東京 ½ 🍌",
)
_LARGEST_TEMPLATE = 16 << 20


class About(msgspec.Struct, frozen=True):
    """What a tokenizer needs besides its vocabulary."""

    adds_bos: bool
    """Whether encoding puts a beginning-of-text token in front by itself."""
    special: dict[str, str]
    """`bos_token`, `eos_token` … as a chat template may use them."""
    chat_template: str | None
    control: dict[str, int] = {}
    """Control tokens and their numbers: see `is_control`."""
    unknown: str | None = None
    """What a word becomes that the vocabulary has not."""
    added: tuple[int, int] = (0, 0)
    """How many tokens encoding puts before and after a text by itself."""


class Read(msgspec.Struct, frozen=True):
    """A tokenizer as transformers reads it from a model's folder."""

    backend: str
    """Its fast backend, in JSON."""
    about: About


class Tokenizer:
    """A fast tokenizer. Whole strings only: parts that are encoded apart and joined are another text."""

    def __init__(self, folder: Path):
        """`folder` is what `prepare` returned."""
        self.about = msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
        self.control = tuple(self.about.control)
        self._file = folder / "tokenizer.json"
        self._named = {number: name for name, number in self.about.control.items()}
        self._tokens = ControlTokens(self.control)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokens of each text, the model's own special tokens included. What is spelled as a control token becomes one."""
        return encode(self._file, texts)

    def foreign(self, text: str, encoded: AnyEncoded, own: Sequence[tuple[int, int]]) -> list[str]:
        """The control tokens in an encoded text that are in none of the stretches `own` of it, in order."""
        if self._named.keys().isdisjoint(encoded.ids):
            return []
        return [
            name
            for start, end, name in self._control_in(text, encoded)
            if not any(first <= start and end <= last for first, last in own)
        ]

    def encode_as_text(self, texts: Sequence[str], own: Sequence[Sequence[tuple[int, int]]]) -> list[Encoded]:
        """The same as `encode`, but control tokens are only what lies in the stretches `own` of each text; elsewhere they are letters.

        Raises HarnessError where the tokenizer makes control tokens of letters nevertheless.
        """
        spelling = Spelling(self.control, texts)
        places = [
            [start for first, last in stretches for start, _ in self._tokens.found(text, first, last)]
            for text, stretches in zip(texts, own, strict=True)
        ]
        written = [spelling.written(text, at) for text, at in zip(texts, places, strict=True)]
        encoded = encode(self._file, written, Respelling(self.about.control, spelling))
        for text, one, at in zip(texts, encoded, places, strict=True):
            # An unknown word may be spelled like the token that it becomes.
            found = [
                start for start, _, name in self._control_in(text, one) if start in at or name != self.about.unknown
            ]
            if found != sorted(at):
                raise HarnessError(
                    f"the model's tokenizer does not read control tokens as text, as in {text[:60]!r}; take them out of the "
                    "data, or write `prompt.control_tokens: allowed`"
                )
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        return decode(self._file, ids)

    @property
    def begins(self) -> bool:
        """Whether encoding puts a token before the text."""
        return self.about.added[0] > 0

    @property
    def added(self) -> tuple[int, int]:
        """How many tokens encoding puts before and after every text."""
        return self.about.added

    @property
    def has_chat(self) -> bool:
        return self.about.chat_template is not None

    def chat(self, options: Mapping[str, Any]) -> Chat:
        """The model's chat template with these options.

        Raises UsageError if the model has none, if it cannot be used, or if it does not take an option.
        """
        from harness.prompts.chat import Chat

        return Chat(self._template, options, self.about.special.get("bos_token", "") if self.about.adds_bos else "")

    @cached_property
    def _template(self) -> ChatTemplate:
        from harness.untrusted.chat_template import ChatTemplate

        if self.about.chat_template is None:
            raise UsageError("this model has no chat template; leave out `chat: true`, or use a chat model")
        return ChatTemplate(self.about.chat_template, self.about.special)

    def _control_in(self, text: str, encoded: AnyEncoded) -> list[tuple[int, int, str]]:
        """First character, last and name of each control token in a text, but for those that encoding added."""
        found = []
        for number, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            name = self._named.get(number)
            if name is None or start == end:
                continue
            piece = text[start:end]
            if name in piece:
                # The token may have taken the blanks beside it.
                start += piece.index(name)
                found.append((start, start + len(name), name))
            elif name != self.about.unknown:
                found.append((start, end, name))
        return found


def load_tokenizer(card: ModelCard) -> Tokenizer:
    """The model's tokenizer, without importing torch once it has been prepared."""
    return Tokenizer(prepare(card.path, card.tokenizer_identity, card.trust_remote_code))


def prepare(folder: Path, identity: str, trust_remote_code: bool = False) -> Path:
    """The folder in the cache with this tokenizer's backend, made through transformers if it is not there yet.

    Raises HarnessError when there is no fast tokenizer, or the folder's is another than that of `identity`.
    """
    made_by = (version("transformers"), code_of(read, About))
    place = cache_folder() / "tokenizers" / content_key(identity, *made_by)
    if (place / "about.json").is_file():
        return place
    draft = place.with_name(f"{place.name}~{os.getpid()}-{uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        made = read(folder, trust_remote_code) if trust_remote_code else _read_in_worker(folder)
        (draft / "tokenizer.json").write_text(made.backend, encoding="utf-8")
        (draft / "about.json").write_bytes(msgspec.json.encode(made.about))
        if tokenizer_identity(folder) != identity:
            raise HarnessError(f"{folder}: its tokenizer was changed while it was read; run again")
        try:
            draft.rename(place)
        except OSError:
            # Another process was faster, and made the same.
            if not (place / "about.json").is_file():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def _read_in_worker(folder: Path) -> Read:
    return worker.call(
        Read,
        read,
        folder.resolve(),
        what=f"{folder}: its tokenizer",
        remedy=REMEDY,
        error=HarnessError,
        limits=limits_of(tokenizer_files(folder), reads=True),
        needs=("transformers.models.auto.tokenization_auto",),
    )


def read(folder: Path, trust_remote_code: bool = False) -> Read:
    """The tokenizer in a folder, read by transformers in this process. Raises HarnessError."""
    from transformers import AutoTokenizer

    from harness.models.quiet import quiet_transformers

    with quiet_transformers():
        try:
            found = AutoTokenizer.from_pretrained(
                folder, use_fast=True, local_files_only=True, trust_remote_code=trust_remote_code
            )
        # A stranger's files can make the library stumble anywhere, and its Rust part raises plain `Exception`.
        except Exception as error:
            raise HarnessError(f"{folder}: its tokenizer cannot be loaded: {type(error).__name__}: {error}") from error
    if not getattr(found, "is_fast", False):
        raise HarnessError(
            f"{folder}: it has no fast tokenizer (tokenizer.json), and only those know which characters a token covers; "
            "convert it with transformers and save the result beside the model"
        )
    special = {name: str(value) for name, value in found.special_tokens_map.items() if isinstance(value, str)}
    # Encoding nothing shows which special tokens are added, whatever the configuration claims.
    added = found("").input_ids
    adds_bos = bool(added) and found.bos_token_id is not None and added[0] == found.bos_token_id
    template = _chat_template(found.chat_template) or _template_of_processor(folder)
    control = {
        str(token.content): number
        for number, token in found.added_tokens_decoder.items()
        if is_control(str(token.content), token.special, template or "")
    }
    backend = found.backend_tokenizer.to_str()
    about = About(
        adds_bos,
        special,
        template,
        control,
        unknown_of(backend),
        _added(whole(backend).encode("a").special_tokens_mask),
    )
    _check_kept(folder, found, backend)
    return Read(backend, about)


def _added(mask: Sequence[int]) -> tuple[int, int]:
    """How many of a text's tokens are special from its beginning, and from its end; `mask` has 1 for each."""
    before = next((number for number, special in enumerate(mask) if not special), len(mask))
    return before, next((number for number, special in enumerate(reversed(mask[before:])) if not special), 0)


def _check_kept(folder: Path, found: Any, content: str) -> None:
    """Raises HarnessError where transformers does something to texts that its fast backend alone does not."""
    backend = whole(content)
    special = "".join(str(token) for token in found.all_special_tokens)
    for text in (*_PROBES, *(f"{probe}{special}" for probe in _PROBES)):
        if backend.encode(text).ids != found(text).input_ids:
            raise HarnessError(
                f"{folder}: transformers makes other tokens of {text[:40]!r} than the tokenizer's file alone does, by an option of its "
                "configuration; save the tokenizer anew with the installed transformers"
            )


def _chat_template(found: Any) -> str | None:
    if isinstance(found, Mapping):
        return found.get("default")
    return found if isinstance(found, str) else None


def _template_of_processor(folder: Path) -> str | None:
    """The chat template in a file beside the tokenizer, where models that read images as well used to keep it."""
    file = folder / "chat_template.json"
    if not file.exists():
        return None
    try:
        content = read_json(file, _LARGEST_TEMPLATE)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{file}: its chat template cannot be read: {error}") from error
    return _chat_template(content.get("chat_template") if isinstance(content, dict) else None)
