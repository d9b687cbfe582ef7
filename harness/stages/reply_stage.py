"""Replies: what a model is asked, what it writes, and the table of prompts that comes of both.

Replies are written in items of some prompts, which the processes of a run share. What a run that was stopped has written lies beside the
store's artifact, and the next run goes on from there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.contracts import PromptTable
from harness.data.unanswered import Unanswered
from harness.errors import DataError, KeyFault, UsageError
from harness.machine import stopping
from harness.maths.draws import draw
from harness.models.asking import ROWS, Asking, Continued
from harness.models.precision import device
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.prompts import replied
from harness.spec import Condition, Stretch
from harness.spec.plain import home_of, plain
from harness.spec.reply import Reply
from harness.stages.prompt_stage import Prompts
from harness.store import Artifact, Store, content_key
from harness.store.reading import load_frame, save_frame
from harness.subjects.language_model import LanguageModel
from harness.untrusted import worker

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.machine.jobs import Job
    from harness.machine.team import SharedJob
    from harness.models.generation import Writer

_NO_REPLY = "these conversations have no reply, about which a label could be; let the model answer with data.reply, or write kind: file where they have one"

AWAITED = "known once the replies are written"
"""What is said of the cost of what depends on replies that are not there yet."""


class Asked(Prompts, frozen=True, kw_only=True):
    """The table of what a condition's model is asked. `condition` is the one with its replies."""

    kind: ClassVar[str] = "asked"

    def made_from(self) -> Mapping[str, str]:
        reply = _reply_of(self.condition)
        plain_one = msgspec.structs.replace(self, condition=replied.asked_of(self.condition))
        return {**Prompts.made_from(plain_one), "instructions": content_key(list(reply.instructions.items()))}

    def make(self, run: Run, work: Work) -> PromptTable:
        worker.ready("harness.untrusted.template", "harness.models.backend", "tokenizers")
        with _placed(self.condition):
            table = replied.asked(
                self.condition,
                self.spec.distractors_of(self.condition),
                self.home,
                self.subject.load_tokenizer(),
                self.subject.context,
            )
        work.counts["rows"] = table.frame.height
        return table


class Written(msgspec.Struct, frozen=True):
    """The replies to a table of prompts, in its order."""

    frame: pl.DataFrame
    """`tokens`, without the one that ends it, and `ended`."""
    note: str = ""
    """How they were written, where that is not the usual way."""


class Replies(Stage[Written], frozen=True, kw_only=True):
    """What a model answers."""

    kind: ClassVar[str] = "replies"
    unit: ClassVar[str] = "replies"

    condition: Condition
    subject: LanguageModel
    asked: Asked

    @property
    def place(self) -> tuple[str, ...]:
        return (self.condition.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.asked,)

    def made_from(self) -> Mapping[str, str]:
        reply, card = self.reply, self.subject.card
        sampled = [reply.temperature, reply.seed] if reply.temperature else []
        return {
            "model": card.identity,
            "dtype": card.dtype,
            "writing": content_key(reply.tokens, *sampled),
            "asked": self.asked.key,
        }

    @property
    def reply(self) -> Reply:
        return _reply_of(self.condition)

    @property
    def at_first(self) -> str:
        return "loading the network"

    def already(self, run: Run) -> str:
        parts = len(list(self._underway(run.store).glob("*.msgpack")))
        return f"{parts * ROWS:,} replies are written, at most," if parts and run.leads else ""

    def make(self, run: Run, work: Work) -> Written:
        if run.resources.tensor_parallel:
            raise UsageError(
                "a network that is split over processes writes no replies; run once without --tensor-parallel, which keeps them"
            )
        asked = self._asking(run)
        work.total(len(asked))
        self._underway(run.store).mkdir(parents=True, exist_ok=True)
        said = self._do(run, run.share(self, {}), asked, work.to)
        written = [one for number in range(len(_items(asked))) for one in self._read(run.store, number)]
        made: list[Continued] = [Continued((), False)] * len(asked)
        for number, one in zip((number for item in _items(asked) for number in item), written, strict=True):
            made[number] = one
        work.counts |= {"rows": len(made), "tokens": sum(len(one.tokens) for one in made)}
        work.counts["tokens_unshared"] = work.counts["tokens"]
        notes = sorted({str(one["note"]) for one in said} - {""})
        return Written(_frame(made), "; ".join(notes))

    def assist(self, run: Run, job: SharedJob) -> None:
        self._do(run, job, self._asking(run), lambda done: None)

    def _do(self, run: Run, job: Job, asked: Sequence[Asking], tell: Callable[[int], None]) -> list[dict[str, Any]]:
        """This process's share."""
        items, writer, done = _items(asked), None, 0
        for number in stopping.whole(job.claims(len(items))):
            item = items[number]
            if self._stored(run.store, number) is None:
                writer = writer or self._writer(run)

                def written(count: int, before: int = done) -> None:
                    tell(job.progress(before + count))

                made = writer.write([asked[place] for place in item], written)
                self._keep(run.store, number, made)
            done += len(item)
            tell(job.progress(done))
        note = "" if writer is None else writer.said
        del writer
        # What reads states loads the network in its own way.
        run.networks.drop()
        return job.end({"done": done, "note": note}, tell)

    def _writer(self, run: Run) -> Writer:
        from harness.models.generation import Writer, own_stops

        network = run.networks.load(self.subject.card)
        tokenizer = self.subject.load_tokenizer()
        return Writer(network, [*own_stops(network), *turn_ends(tokenizer, self.condition)], self.reply.temperature)

    def _asking(self, run: Run) -> list[Asking]:
        frame, reply, context = run.get(self.asked).frame, self.reply, self.subject.context
        found = []
        for tokens, example, template in frame.select("tokens", "example", "template").iter_rows():
            room = reply.tokens if context is None else min(reply.tokens, context - len(tokens))
            # The first 63 bits: torch takes no more.
            found.append(Asking(tuple(tokens), room, draw(reply.seed, "reply", example, template) >> 1))
        return found

    def _underway(self, store: Store) -> Path:
        return store.place(self.kind, f"{self.key}~underway")

    def _keep(self, store: Store, number: int, made: Sequence[Continued]) -> None:
        place = self._underway(store) / f"{number}.msgpack"
        beside = place.with_suffix(f".{os.getpid()}")
        beside.write_bytes(msgspec.msgpack.encode(made))
        beside.replace(place)

    def _stored(self, store: Store, number: int) -> list[Continued] | None:
        """An item that was written; None where it was not, or not whole."""
        try:
            content = (self._underway(store) / f"{number}.msgpack").read_bytes()
            return msgspec.msgpack.decode(content, type=list[Continued])
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _read(self, store: Store, number: int) -> list[Continued]:
        found = self._stored(store, number)
        if found is None:
            raise UsageError(
                f"the replies that were just written are not in {self._underway(store)}; does every process see the same store?"
            )
        return found

    def save(self, made: Written, folder: Path) -> Mapping[str, Any]:
        save_frame(made.frame, folder, "replies")
        return {"note": made.note}

    def load(self, artifact: Artifact) -> Written:
        frame = load_frame(artifact, "replies")
        return Written(frame.select("tokens", "ended"), msgspec.convert(artifact.meta["note"], str))

    def cost(self, run: Run) -> Cost:
        frame, card, most = run.get(self.asked).frame, self.subject.card, self.reply.tokens
        cached = run.store.has(self.kind, self.key)
        prompts = int(frame["tokens"].list.len().sum())
        tokens = prompts + frame.height * most
        stored = (
            ""
            if cached
            else f": {prompts:,} tokens are read and at most {frame.height * most:,} written, {2 * card.body_parameters * tokens / 1e12:,.1f} TFLOP at most on {device()}"
        )
        return Cost(
            rows=frame.height,
            rows_to_do=0 if cached else frame.height,
            where=device(),
            note=f"{card.name}, {card.dtype}{stored}",
        )


class Replied(Prompts, frozen=True, kw_only=True):
    """The table of prompts of a condition whose model has answered."""

    asked: Asked
    replies: Replies

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.asked, self.replies)

    def made_from(self) -> Mapping[str, str]:
        reply = _reply_of(self.condition)
        return {
            **super().made_from(),
            "label": content_key(None if reply.label is None else plain(reply.label), reply.refusals),
            "asked": self.asked.key,
            "replies": self.replies.key,
            **({} if reply.follow_up is None else {"follow_up": content_key(plain(reply.follow_up))}),
        }

    def make(self, run: Run, work: Work) -> PromptTable:
        asked, written, tokenizer = run.get(self.asked), run.get(self.replies), self.subject.load_tokenizer()
        assert tokenizer is not None, "a language model has one"
        condition, stretches = self.condition, None
        position = condition.activations.position
        with _placed(condition):
            if isinstance(position, Stretch) and position.of != "assistant":
                # What is read stands in what is asked: the same prompts once more, with its places.
                read = replied.asked(
                    condition,
                    self.spec.distractors_of(condition),
                    self.home,
                    tokenizer,
                    self.subject.context,
                    condition.activations,
                )
                stretches = read.frame["read_at"]
            table = replied.replied(condition, asked, written.frame, self.home, tokenizer, written.note, stretches)
        shutil.rmtree(self.replies._underway(run.store), ignore_errors=True)
        work.counts["rows"] = table.frame.height
        return table


def prompts_with_replies(plan: Plan, prompts: Prompts) -> Prompts:
    """The stage of a condition's prompts: as it is, or with those before it where its model answers by itself. Raises KeyFault for a model
    that cannot."""
    condition = prompts.condition
    if condition.data.reply is None and not isinstance(condition.data.source, Unanswered):
        return prompts
    if condition.data.reply is None:
        raise KeyFault(f"conditions.{condition.name}.data.source", _NO_REPLY)
    name, subject = condition.name, plan.subjects[condition.name]
    for fault in replied.faults(condition):
        raise KeyFault(f"conditions.{name}.{fault.key}", fault.message)
    if not isinstance(subject, LanguageModel) or not subject.says or subject.card.stacks != "decoder-only":
        raise KeyFault(
            f"conditions.{name}.data.reply",
            f"{subject.name} writes no replies; use a decoder-only language model with its head, or take it out",
        )
    home = home_of(condition, plan.folder)
    asked = plan.add(Asked(spec=plan.spec, condition=condition, home=home, subject=subject))
    replies = plan.add(Replies(condition=condition, subject=subject, asked=asked))
    return Replied(spec=plan.spec, condition=condition, home=home, subject=subject, asked=asked, replies=replies)


def awaiting(plan: Plan, store: Store) -> set[str]:
    """Keys of the stages that cannot be told anything of before replies are written that are not stored."""
    waiting: set[str] = set()
    for stage in plan.stages:
        if any(
            one.key in waiting or (isinstance(one, Replies) and not store.has(one.kind, one.key))
            for one in stage.inputs
        ):
            waiting.add(stage.key)
    return waiting


def turn_ends(tokenizer: Any, condition: Condition) -> list[int]:
    """The control token that the model's chat template writes after an assistant's words; nothing where prompts stand in no chat."""
    source, chat = condition.data.source, condition.prompt.chat_options
    if chat is None and (source is None or not source.conversations):
        return []
    options = {name: value for name, value in (chat or {}).items() if name not in ("system", "opening")}
    (found,) = tokenizer.chat(options).converse_all([[("user", "Hello"), ("assistant", "Hello")]])
    if isinstance(found, UsageError):
        return []
    end = next(end for number, _, end in found.said if number == 1)
    if not (after := found.text[end:].lstrip()):
        return []
    (encoded,) = tokenizer.encode([after])
    first = [token for token, (_, last) in zip(encoded.ids, encoded.offsets, strict=True) if last]
    return [first[0]] if first and tokenizer.decode(first[:1]) in {*tokenizer.control} else []


def _items(asked: Sequence[Asking]) -> list[list[int]]:
    """The prompts that are answered together, the longest first, whatever processes there are."""
    order = sorted(range(len(asked)), key=lambda number: (-len(asked[number].tokens), number))
    return [order[start : start + ROWS] for start in range(0, len(order), ROWS)]


def _frame(made: Sequence[Continued]) -> pl.DataFrame:
    import polars as pl

    tokens = pl.Series("tokens", [list(one.tokens) for one in made], dtype=pl.List(pl.UInt32))
    return pl.DataFrame([tokens, pl.Series("ended", [one.ended for one in made], dtype=pl.Boolean)])


def _reply_of(condition: Condition) -> Reply:
    assert condition.data.reply is not None, "the stage of a condition whose model answers"
    return condition.data.reply


class _placed:
    """Says of a DataError in which condition it came up."""

    def __init__(self, condition: Condition):
        self.name = condition.name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DataError):
            error.within = self.name
