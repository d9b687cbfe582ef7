"""Text to token ids and back to places in the text, without importing torch.

The first time a tokenizer is met, transformers reads it (it knows every tokenizer's peculiarities) and its fast
backend is written to the cache as one file. From then on the `tokenizers` library alone answers, in milliseconds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from harness.errors import HarnessError, UsageError
from harness.models.identity import tokenizer_identity
from harness.store import cache_folder

if TYPE_CHECKING:
    from jinja2 import Template

    from harness.models.card import ModelCard

_PROBES = (
    "The city of Paris is in France.",
    " two  spaces\n\nünï 123",
    "Between positive and negative: ",
    "ÉCOLE e\u0301 ｆｕｌｌ 東京 ½ 🍌",
)
_FIXED_DAY = date(2024, 7, 1)


class Encoded(msgspec.Struct, frozen=True):
    """One text as tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters of the text that each token covers, end exclusive; (0, 0) for special tokens that were added."""


class About(msgspec.Struct, frozen=True):
    """What a tokenizer needs besides its vocabulary."""

    adds_bos: bool
    """Whether encoding puts a beginning-of-text token in front by itself."""
    special: dict[str, str]
    """`bos_token`, `eos_token` … as a chat template may use them."""
    chat_template: str | None


class Tokenizer:
    """A fast tokenizer. Whole strings only: parts that are encoded apart and joined are another text."""

    def __init__(self, folder: Path):
        """`folder` is what `prepare` returned."""
        from tokenizers import Tokenizer as Backend

        self.about = msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
        self._backend = Backend.from_file(str(folder / "tokenizer.json"))
        self._backend.no_padding()
        self._backend.no_truncation()

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokens of each text, the model's own special tokens included."""
        return [
            Encoded(
                ids=found.ids,
                offsets=[
                    (0, 0) if special else place
                    for place, special in zip(found.offsets, found.special_tokens_mask, strict=True)
                ],
            )
            for found in self._backend.encode_batch(list(texts), add_special_tokens=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    @property
    def has_chat(self) -> bool:
        return self.about.chat_template is not None

    def chat(self, user: str, assistant: str) -> tuple[str, int]:
        """The conversation as one text, up to the assistant's last character, and where the assistant's words begin.

        The text can be encoded as it is: a beginning-of-text token that encoding adds is left out of it.
        Raises UsageError if the model has no chat template or the template refuses.
        """
        from harness.untrusted.jinja import FAULTS, Bounded

        template = self._chat
        assert isinstance(template.environment, Bounded)
        template.environment.start()
        try:
            text = template.render(
                messages=[{"role": "user", "content": user}], add_generation_prompt=True, **self.about.special
            )
        except FAULTS as error:
            raise UsageError(f"the model's chat template cannot be used: {error}") from error
        bos = self.about.special.get("bos_token", "")
        if self.about.adds_bos and bos and text.startswith(bos):
            text = text[len(bos) :]
        return text + assistant, len(text)

    @cached_property
    def _chat(self) -> Template:
        """The chat template in Jinja's sandbox, with what transformers gives to such templates."""
        if self.about.chat_template is None:
            raise UsageError("this model has no chat template; leave out `chat: true`, or use a chat model")
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols

        from harness.untrusted.jinja import FAULTS, Bounded

        def refuse(message: str) -> None:
            raise TemplateError(message)

        def tojson(value: Any, indent: int | None = None, **_: Any) -> str:
            return json.dumps(value, ensure_ascii=False, indent=indent)

        environment = Bounded(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = tojson
        environment.globals["raise_exception"] = refuse
        # A prompt that carries today's date would be another prompt tomorrow.
        environment.globals["strftime_now"] = lambda pattern: _FIXED_DAY.strftime(pattern)
        try:
            code = environment.compiled(self.about.chat_template, "<chat template>")
        except (*FAULTS, SyntaxError) as error:
            raise UsageError(f"the model's chat template cannot be used: {error}") from error
        return environment.template_class.from_code(environment, code, environment.make_globals(None))


def load_tokenizer(card: ModelCard) -> Tokenizer:
    """The model's tokenizer, without importing torch once it has been prepared."""
    return Tokenizer(prepare(card.path, card.tokenizer_identity, card.trust_remote_code))


def prepare(folder: Path, identity: str, trust_remote_code: bool = False) -> Path:
    """The folder in the cache with this tokenizer's backend, made through transformers if it is not there yet.

    Raises HarnessError when there is no fast tokenizer, or the folder's is another than that of `identity`.
    """
    place = cache_folder() / "tokenizers" / identity
    if (place / "about.json").is_file():
        return place
    draft = place.with_name(f"{identity}~{os.getpid()}-{uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        _write(folder, draft, trust_remote_code)
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


def _write(folder: Path, draft: Path, trust_remote_code: bool) -> None:
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
    about = About(adds_bos=adds_bos, special=special, chat_template=_chat_template(found.chat_template))
    found.backend_tokenizer.save(str(draft / "tokenizer.json"))
    _check_kept(folder, found, draft)
    (draft / "about.json").write_bytes(msgspec.json.encode(about))


def _check_kept(folder: Path, found: Any, draft: Path) -> None:
    """Raises HarnessError where transformers does something to texts that its fast backend alone does not."""
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(str(draft / "tokenizer.json"))
    backend.no_padding()
    backend.no_truncation()
    special = "".join(str(token) for token in found.all_special_tokens)
    for text in (*_PROBES, *(f"{probe}{special}" for probe in _PROBES)):
        if backend.encode(text).ids != found(text).input_ids:
            raise HarnessError(
                f"{folder}: transformers makes other tokens of {text[:40]!r} than the tokenizer's file alone does, by an option of its "
                "configuration; save the tokenizer anew with the installed transformers"
            )


def _chat_template(found: str | Mapping[str, str] | None) -> str | None:
    if isinstance(found, Mapping):
        return found.get("default")
    return found
