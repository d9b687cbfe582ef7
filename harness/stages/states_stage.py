"""The states of conditions that read the same of the same subject, forwarded together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.activations.extract import (
    Extracted,
    assist,
    bank_key,
    extract,
    plan_extraction,
    reading,
    said_of,
    stored_rows,
)
from harness.activations.layers import resolve
from harness.activations.read_in_place import Imported
from harness.activations.references import REFERENCES, reference_key
from harness.activations.rows import row_table
from harness.code.code_version import code_of
from harness.code.entries import PARTS
from harness.contracts import PromptTable
from harness.contracts.subject import Subject
from harness.errors import DataError, KeyFault
from harness.execution.network_stage import Networks
from harness.models.precision import device
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.prompts.building import views_of
from harness.spec import Activations, Condition
from harness.spec.plain import plain
from harness.stages.prompt_stage import Prompts
from harness.stages.training_stage import Training
from harness.store import Store, content_key
from harness.subjects.imported import ImportedStates
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.machine.jobs import Job
    from harness.machine.team import SharedJob


class States(Stage[Extracted], frozen=True, kw_only=True):
    """The states of some prompt tables. They lie in a bank of rows, apart from the stage, which keeps how they were got."""

    kind: ClassVar[str] = "activations"
    unit: ClassVar[str] = "tokens"

    conditions: tuple[Condition, ...]
    subject: Subject
    """As it is read; of a network that is still to be trained, all but what the training will make of it."""
    prompts: tuple[Prompts, ...]
    training: Training | None
    network: Networks | None = None
    """What trains the networks of a test bed."""

    @property
    def place(self) -> tuple[str, ...]:
        return tuple(condition.name for condition in self.conditions)

    def condition(self, name: str) -> Condition:
        """One of its conditions."""
        return next(one for one in self.conditions if one.name == name)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.prompts, *(one for one in (self.training, self.network) if one is not None))

    def made_from(self) -> Mapping[str, str]:
        prompts = {f"prompts of {one.condition.name}": one.key for one in self.prompts}
        first = read_from(self.conditions[0], self.subject, self.training)
        others: dict[str, str] = {}
        for condition in self.conditions[1:]:
            own = read_from(condition, self.subject, self.training)
            others |= {f"{name} of {condition.name}": value for name, value in own.items() if value != first[name]}
        return first | others | prompts

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        own = type(self)
        imported = (Imported,) if isinstance(self.subject, ImportedStates) else ()
        return (own.make, own.save, Extracted, assist, *imported, *self.subject.code)

    @property
    def uses(self) -> Sequence[str]:
        key = bank_key(self.subject)
        return (f"states/{key}-", f"{REFERENCES}/{reference_key(key)}-")

    def key_of(self, name: str) -> str:
        """A key of one condition's states, with what is planted in them: what a fit on them depends on."""
        place = self.place.index(name)
        plant = self.conditions[place].plant
        shared = read_from(self.conditions[place], self.subject, self.training)
        key = content_key(shared, code_of(*self.runs), self.prompts[place].key)
        if plant is None or not plant.strength:
            return key
        return content_key(key, plain(plant), code_of(*PARTS["planting"]))

    def recall(self, store: Store) -> Extracted | None:
        """Nothing: the states lie row by row in the bank, which is asked where they are needed."""
        return None

    def before(self, run: Run) -> None:
        self._read(run)

    def already(self, run: Run) -> str:
        # Nothing is looked up where no shard of this network lies.
        kind, _, prefix = self.uses[0].partition("/")
        if not run.leads or not run.store.keys(kind, prefix):
            return ""
        subject, activations, tables = self._read(run)
        stored, rows = stored_rows(subject, tables, activations, run.store)
        return said_of(stored, rows) if 0 < stored < rows else ""

    def make(self, run: Run, work: Work) -> Extracted:
        subject, wanted, tables = self._read(run)
        if isinstance(subject, ImportedStates):
            return Imported(subject, tables)
        if not run.leads:
            return reading(subject, tables, wanted, run.store)

        def tell(done: int, total: int) -> None:
            work.total(total)
            work.to(done)

        def begin(orders: dict[str, Any]) -> Job:
            return run.share(self, orders)

        try:
            extracted = extract(
                subject, tables, wanted, run.store, tell, resources=run.resources,
                begin=None if run.team is None else begin,
            )  # fmt: skip
        except DataError as error:
            error.within = next(filter(None, map(_without_rows, self.conditions, tables)), self.place[0])
            raise
        work.counts |= {
            "rows": sum(table.frame.height for table in tables),
            "tokens": extracted.done.tokens,
            "tokens_unshared": extracted.done.tokens_unshared,
        }
        work.again = bool(extracted.done.rows)
        for remark in extracted.remarks:
            run.reporter.say(remark)
        return extracted

    def _read(self, run: Run) -> tuple[Subject, list[Activations], list[PromptTable]]:
        subjects = [run.conditions.subject(name) for name in self.place]
        # Trained for all of them, and known of each to be tested on nothing that it was taught.
        return subjects[0], self.wanted, [run.get(one) for one in self.prompts]

    @property
    def wanted(self) -> list[Activations]:
        """What is read of each condition's prompts."""
        return [condition.activations for condition in self.conditions]

    def save(self, made: Extracted, folder: Path) -> Mapping[str, Any]:
        return {"notes": list(made.notes)}

    def notes(self, run: Run) -> list[str]:
        """How the states were got: packed or not, and the self-check."""
        meta = run.store.meta(self.kind, self.key)
        notes = meta.get("notes") if meta else None
        return notes if isinstance(notes, list) else list(run.get(self).notes)

    @property
    def at_first(self) -> str:
        return "loading the network, checking how to forward" if isinstance(self.subject, LanguageModel) else ""

    def assist(self, run: Run, job: SharedJob) -> None:
        subject, wanted, tables = self._read(run)
        assist(subject, tables, wanted, run.store, job, job.about["orders"], run.resources)

    def cost(self, run: Run) -> Cost:
        tables = [run.get(one) for one in self.prompts]
        rows = sum(table.frame.height for table in tables)
        subject = self.subject
        if isinstance(subject, ImportedStates):
            layers = resolve(self.wanted[0].layers, subject.layers, only=subject.only_layers)
            size = rows * len(layers) * subject.d_model * 4 / 2**20
            return Cost(
                rows=rows,
                where="cpu",
                note=f"{size:,.1f} MiB of states are read from {subject.name}, a layer at a time",
            )
        found = plan_extraction(subject, tables, self.wanted, run.store)
        todo = found.todo
        if todo is None or found.whole is None:
            return Cost(rows=rows, where="cpu", note="states given by the test bed")
        return Cost(
            rows=found.rows,
            rows_to_do=todo.rows,
            tokens=todo.tokens,
            tokens_unshared=todo.tokens_unshared,
            passes=todo.passes,
            tflops=None if todo.flops is None else round(todo.flops / 1e12, 3),
            stored_mib=round(found.whole.stored_bytes / 2**20, 1),
            peak_mib=None if todo.peak_bytes is None else round(todo.peak_bytes / 2**20, 1),
            where=device(),
            note=f"{subject.name}, {subject.dtype}{_unknown(todo.unknown)}",
        )


def _without_rows(condition: Condition, table: PromptTable) -> str:
    """The name of a condition in whose prompts there is not what is to be read; empty for any other."""
    try:
        row_table([table], condition.activations)
    except DataError:
        return condition.name
    return ""


def _unknown(sizes: Sequence[str]) -> str:
    """What is unknown of a cost, in a line of its own."""
    if not sizes:
        return ""
    return f"\ncost unknown: the network's configuration does not say its {' and its '.join(sizes)}"


def read_from(condition: Condition, subject: Subject, training: Training | None) -> dict[str, str]:
    """The ingredients of states besides prompts and code. Conditions for which it is the same but for token and site are forwarded together."""
    position = condition.activations.position
    own = subject.ingredients() if training is None else training.base.ingredients() | {"elicited": training.key}
    return {
        **own,
        "layers": content_key(condition.activations.layers),
        "token": position if isinstance(position, str) else content_key(plain(position)),
        "site": condition.activations.site_name,
    }


def states_read(
    plan: Plan, prompts: Mapping[str, Prompts], taught: Mapping[str, Training], networks: Mapping[str, Networks]
) -> Iterator[States]:
    """One stage for all conditions that read the same layers of the same subject: whatever is read of a prompt, it is forwarded once."""
    groups: dict[str, list[Condition]] = {}
    for condition in plan.spec.conditions:
        subject = plan.subjects[condition.name]
        same = read_from(condition, subject, taught.get(condition.name))
        same = {name: value for name, value in same.items() if name not in ("token", "site")}
        # What a network says is asked of pairs only.
        views = subject.views or views_of(condition, plan.folder)
        same |= {"views": str(views)}
        if (
            views == 1
            and isinstance(subject, LanguageModel)
            and subject.says
            and subject.card.stacks == "encoder-decoder"
        ):
            raise KeyFault(
                f"conditions.{condition.name}.model.side",
                f"{subject.name} reads a question with its encoder and an answer with its decoder, and a statement is neither; write model.side: "
                "encoder, or let {{ answer }} stand in the template",
            )
        groups.setdefault(content_key(same), []).append(condition)
    for together in groups.values():
        names = [condition.name for condition in together]
        yield States(
            conditions=tuple(together),
            subject=plan.subjects[names[0]],
            prompts=tuple(prompts[name] for name in names),
            training=taught.get(names[0]),
            network=networks.get(names[0]),
        )
