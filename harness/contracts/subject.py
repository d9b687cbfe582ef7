"""A subject: what states come from. A language model, a formula, and whatever else answers the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec

from harness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


class Encoded(Protocol):
    """A tokenised text."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Characters of each token, end exclusive; (0, 0) for a special token that stands for none."""


class Asked(msgspec.Struct, frozen=True):
    """A chat up to the character at which the assistant's answer begins.

    It is encoded as it is: special tokens that `encode` adds are not in it.
    """

    text: str
    user: tuple[tuple[int, int], ...]
    """Characters of the user's words, end exclusive; more than one stretch where the template repeats them."""
    system: tuple[tuple[int, int], ...] = ()
    """The same of the system's words."""


Message = tuple[str, str]
"""Role and content."""


class Transcript(msgspec.Struct, frozen=True):
    """A whole conversation as a chat template writes it, as it is encoded: special tokens that `encode` adds are not in it."""

    text: str
    said: tuple[tuple[int, int, int], ...]
    """In the order of the text: the number of a message, from 0, and its characters, end exclusive."""


class Chat(Protocol):
    """A chat template with the options that a spec gives it."""

    def converse_all(self, conversations: Sequence[Sequence[Message]]) -> list[Transcript | UsageError]:
        """Each of some conversations, or an error where the template refuses, or the words do not come out."""

    def ask_all(self, users: Sequence[str]) -> list[Asked | UsageError]:
        """What a user says in each of some chats, or an error where the template refuses, or the words do not come out."""

    @property
    def unwritten(self) -> str:
        """What the template writes before an assistant's words and leaves out before the answer; empty if nothing."""

    @property
    def closes_thinking(self) -> str:
        """The option, as a spec writes it, with which no think block is open before the answer, or left out; empty if there is none."""


class Tokenizer(Protocol):
    """A tokenizer, as far as prompts need one."""

    @property
    def has_chat(self) -> bool:
        """Whether it has a chat template."""

    @property
    def begins(self) -> bool:
        """Whether encoding puts a token before the text."""

    @property
    def added(self) -> tuple[int, int]:
        """How many tokens encoding puts before and after every text."""

    @property
    def control(self) -> Sequence[str]:
        """The tokens that mark structure, such as the beginning of a turn."""

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        """Whole texts with the special tokens that the model expects. What is spelled as a control token becomes one."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""

    def foreign(self, text: str, encoded: Encoded, own: Sequence[tuple[int, int]]) -> list[str]:
        """The control tokens in an encoded text that are in none of the stretches `own` of it, in order."""

    def encode_as_text(self, texts: Sequence[str], own: Sequence[Sequence[tuple[int, int]]]) -> Sequence[Encoded]:
        """The same as `encode`, but control tokens are only what lies in the stretches `own` of each text; elsewhere they are letters."""

    def chat(self, options: Mapping[str, Any]) -> Chat:
        """Its chat template with these options (`Prompt.chat`). Raises UsageError for one that it does not take."""


class Devices(msgspec.Struct, frozen=True):
    """Devices of one machine, all alike."""

    kind: Literal["cpu", "cuda"]
    count: int
    memory_bytes: int
    """Of each."""

    def __str__(self) -> str:
        return f"{self.count} × {self.memory_bytes / 2**30:.0f} GiB" if self.kind == "cuda" else "cpu"


class Placed(msgspec.Struct, frozen=True):
    """The placement of a subject on some devices."""

    where: str
    """In words."""
    weight_bytes: tuple[int, ...] = ()
    """On each device of a replica."""
    replicas: int = 1
    at_once: int = 1
    """Devices that compute at the same time."""
    note: str = ""
    """What a time estimated from it leaves out."""


class Subject(msgspec.Struct, frozen=True):
    """A subject, as it is known before anything is loaded.

    What a subject does not have, it need not mention: the defaults are those of a formula. Layer 0 is the embedding output, or
    what stands in its place.
    """

    positions: ClassVar[tuple[str, ...]] = ("last",)
    """Tokens whose states can be read; as `activations.token` and `activations.read` name them, or `stretch` for any that they name."""

    only_layers: ClassVar[tuple[int, ...] | None] = None
    """The layers whose states there are, where some are missing; None where there are all."""
    views: ClassVar[int | None] = None
    """Views of each row of its own, 2 or 1; None where prompts make the rows."""

    @property
    def name(self) -> str:
        """The name that the spec gives it."""
        raise NotImplementedError

    @property
    def about(self) -> str:
        """A description in words, for the report."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """A content hash. Two subjects with the same one give the same states, if they are read in the same way."""
        raise NotImplementedError

    @property
    def layers(self) -> int:
        """Layers whose states can be read, layer 0 included."""
        raise NotImplementedError

    @property
    def d_model(self) -> int:
        """The width of the residual stream, or of what stands in its place."""
        raise NotImplementedError

    @property
    def dtype(self) -> str:
        """The number format that states are computed in."""
        return "float32"

    @property
    def read_as(self) -> tuple[str, ...]:
        """All else that states depend on besides the identity: the number format, the stack that is read …"""
        return (self.dtype,)

    @property
    def tokenizer(self) -> str | None:
        """Content hash of its tokenizer; None where prompts are token ids or rows of a table, and no text."""
        return None

    @property
    def context(self) -> int | None:
        """The most tokens that it reads; None if there is no limit."""
        return None

    @property
    def vocab(self) -> int | None:
        """Tokens that it has a row of an embedding for, from 0 on; None where it has none."""
        return None

    def load_tokenizer(self) -> Tokenizer | None:
        """Its tokenizer; None where prompts are no text."""
        return None

    @property
    def says(self) -> bool:
        """Whether it gives probabilities of answers by itself."""
        return False

    @property
    def alterable(self) -> bool:
        """Whether states of it can be altered, so that what it says afterwards comes from them."""
        return False

    @property
    def untrainable(self) -> str:
        """Why it cannot be trained to answer; empty where it can."""
        return "its states are given, so that nothing can be trained"

    def ingredients(self) -> dict[str, str]:
        """The ingredients of the key of its states, each under a name that a person understands; our code aside."""
        raise NotImplementedError

    @property
    def code(self) -> tuple[type, ...]:
        """Kinds whose own code makes its states, besides what reads any subject."""
        return ()

    def provenance(self) -> Mapping[str, Any]:
        """The lines about it in the manifest."""
        raise NotImplementedError

    def placed(self, devices: Devices, working_bytes: int, split: bool) -> Placed:
        """The placement on some devices, with so many bytes for a pass beside it; `split` cuts every matrix. Raises UsageError where it does
        not fit."""
        return Placed("in the memory of the processor")

    def check_split(self, processes: int) -> None:
        """Raises UsageError where its weights cannot be split over so many processes of a machine."""

    def states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
        """States at the last token of each prompt, float32, (layer, row, d_model).

        Those of a language model are read by `harness.activations`, which forwards once what many prompts begin with.
        """
        raise NotImplementedError
