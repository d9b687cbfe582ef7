"""A spec built in code: the keys of the YAML language with plain values or structs, and the YAML that they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness import spec

VERSION = {"harness": 1}


class Spec:
    """A spec: the keys of the language, as `Spec(name="mine", model=…, data=…, probes=["ccs"])`.

    A value is what would stand in YAML (text, numbers, lists, dicts), or a struct of `harness.spec` or a kind. Raises SpecError for
    whatever is wrong, with its line in `to_yaml()`; what only the data can tell, `harness.validate` says.
    """

    def __init__(self, **keys: Any):
        self._keys: dict[str, Any] = {**VERSION, **{name: _plain(value, name) for name, value in keys.items()}}
        self._read = self._resolved()

    @classmethod
    def from_yaml(cls, source: str | Path) -> Spec:
        """The spec in a file, or in a text of several lines; what it includes is merged into it. Raises SpecError."""
        from harness.language.spec_reader import keys_of

        if isinstance(source, str) and "\n" in source:
            keys = keys_of(source)
        else:
            keys = keys_of(Path(source).read_text(encoding="utf-8"), Path(source))
        return cls(**{name: value for name, value in keys.items() if name not in VERSION})

    def to_yaml(self) -> str:
        """The spec as YAML, which reads as the same spec."""
        from harness.language.syntax.writing_yaml import as_yaml

        return as_yaml(self._keys)

    def save(self, folder: str | Path = ".") -> Path:
        """Writes NAME.yaml into a folder, unless it is there already; returns where. Raises UsageError where it is."""
        place = Path(folder) / self.file
        try:
            with place.open("x", encoding="utf-8") as file:
                file.write(self.to_yaml())
        except FileExistsError as error:
            raise UsageError(f"{place} is there already; remove it first, or give the spec another name") from error
        return place

    def replace(self, **keys: Any) -> Spec:
        """The same with other values of some keys; None takes a key out."""
        kept = {name: value for name, value in {**self._keys, **keys}.items() if value is not None}
        return Spec(**{name: value for name, value in kept.items() if name not in VERSION})

    @property
    def name(self) -> str:
        return self._read.name

    @property
    def file(self) -> str:
        """Name of the file that it would be saved in, as error messages have it."""
        name = self._keys.get("name")
        return f"{name if isinstance(name, str) and name.isprintable() and '/' not in name else 'spec'}.yaml"

    @property
    def resolved(self) -> spec.Spec:
        """The experiment with conditions, defaults and baselines filled in."""
        return self._read

    def __getitem__(self, key: str) -> Any:
        return self._keys[key]

    def __eq__(self, other: object) -> bool:
        from harness.spec.plain import spec_content

        return isinstance(other, Spec) and spec_content(self._read) == spec_content(other._read)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spec({', '.join(f'{name}={value!r}' for name, value in self._keys.items() if name not in VERSION)})"

    def _repr_markdown_(self) -> str:
        from harness.untrusted.text import fenced

        return fenced(self.to_yaml(), "yaml")

    def _resolved(self) -> spec.Spec:
        from harness import language

        return language.read(Path(self.file), text=self.to_yaml())


def _plain(value: Any, place: str) -> Any:
    """A value as YAML has it. Raises UsageError for one that YAML has no form for."""
    from harness.contracts.kind import Kind

    if isinstance(value, msgspec.Struct):
        changed = {
            field.encode_name: _plain(getattr(value, field.name), f"{place}.{field.encode_name}")
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name) != _default(field)
        }
        if not isinstance(value, Kind):
            return changed
        return {"bed" if value.folder == "beds" else "kind": value.kind(), **changed}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Path):
        return value.as_posix()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise UsageError(
        f"{place}: a {type(value).__name__} has no form in YAML; give text, a number, a list, a dict or a struct"
    )


def _default(field: Any) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default
