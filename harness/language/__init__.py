"""The YAML language: documents with places, merging, validation, decoding, schema.

file → nodes (syntax/) → includes and --set merged (including, settings) → one form, and faults against the JSON Schema (schema/)
     → conditions and kinds (condition_reader, decoding, resolving) → what is missing or contradicts itself (problems/)
     → Spec (assembling)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, KeyFault, PlacedDataError, SpecError, UsageError

if TYPE_CHECKING:
    from harness.language.schema.json_schema import Of
    from harness.spec import Spec

__all__ = ["json_schema", "placing", "read", "starter"]


def read(path: Path, sets: Sequence[str] = (), *, text: str | None = None, look: bool = False) -> Spec:
    """The spec in a YAML file, with `--set` overrides (`model.dtype=float32`) laid over it.

    `text` is what stands in the file, where it is not on the disk; relative paths start at its folder all the same. With `look`, the
    heads of data files are read, and columns, labels and fields of templates are looked over, too.

    Raises SpecError with every problem of the file, its includes and the overrides, each with its place.
    """
    from harness.language.spec_reader import read_spec

    return read_spec(Path(path), sets, text=text, look=look)


@contextmanager
def placing(path: Path, sets: Sequence[str] = (), *, text: str | None = None) -> Iterator[None]:
    """A stretch in which something is made of a spec, read as `read` reads it: an error that a look at files can place, or that names a key of
    the spec, becomes a SpecError with its line."""
    from harness.language.data_places import place_of
    from harness.language.spec_reader import placed

    try:
        yield
    except SpecError:
        raise
    except UsageError as error:
        read(path, sets, text=text, look=True)
        if isinstance(error, KeyFault):
            raise SpecError([placed(error, Path(path), sets, text=text)]) from error
        problem = place_of(error, Path(path), sets, text) if isinstance(error, DataError) else None
        if problem is not None:
            raise PlacedDataError(problem, error.about) from error  # type: ignore[attr-defined]
        raise


def json_schema(of: Of = "spec") -> dict[str, Any]:
    """JSON Schema (2020-12) of the whole language, or of a bed's card. The result is shared: do not change it."""
    from harness.language.schema.json_schema import schema

    return schema(of)


def starter(name: str) -> str:
    """A commented spec that runs as it is. Raises UsageError if the name is no slug."""
    from harness.language.starter_spec import starter_spec

    return starter_spec(name)
