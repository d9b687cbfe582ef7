"""The JSON Schema of the language, made from the structs; editors complete with it and `validation` validates with it.

A kind is chosen by if/then on its name, not by anyOf as in msgspec's schema of a tagged union: the errors then talk about the kind
that was meant. For a slip in one option the union says "not valid under any of the given schemas", with 41 errors below it, and takes
1.5 to 4 times as long; it also lacks the docstrings, the bare name and the second spelling of a kind.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from harness.code.code_version import made_once
from harness.contracts import Source, kind, outside
from harness.contracts.analysis import asked_by
from harness.language.schema.card_grammar import Card, OwnBed, Setting
from harness.language.schema.grammar import Override, SpecKeys
from harness.language.schema.shorthand import own_option
from harness.spec import Autopsy, Data, Intervention, Model, StatesFolder

Schema = dict[str, Any]

_OVERRIDE = "_override"
_OWN_BED = {"type": "string", "pattern": r"^[.~]|[/\\]"}
"""The name of a folder or of a repository: see `harness.assets.bed_folder.is_own`."""

Of = Literal["spec", "bed"]
"""A spec, or the card of a bed."""


@cache
def schema(of: Of = "spec") -> Schema:
    """The whole language as JSON Schema (2020-12). The result is shared: do not change it.

    It is kept in the user's cache folder, for making it imports every kind. With kinds of other packages it is made anew.
    """
    if outside.entries():
        return built(of)
    kept = made_once(
        f"schema of a {of}, msgspec {msgspec.__version__}", lambda: msgspec.json.encode(built(of)).decode()
    )
    found: Schema = msgspec.json.decode(kept)
    return found


def built(of: Of) -> Schema:
    """The same, made now."""
    return _Builder().whole() if of == "spec" else _Builder().card()


def option_schema(hint: Any) -> Schema:
    """The schema of one option's type, for explaining it."""
    return _Builder().of(hint)


def spellings(name: str) -> list[str]:
    """How a kind's name may be written: `movie_reviews` and `movie-reviews` are one."""
    return list(dict.fromkeys([name, name.replace("_", "-")]))


class _Builder:
    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}

    def whole(self) -> Schema:
        root = self.struct(SpecKeys, partial=True)
        root["required"] = [key for key in root["required"] if key != "model"]
        # With conditions, model and data may be partial above them: each condition is then validated whole.
        root["if"] = {"required": ["conditions"]}
        whole = {
            option.name: self.option(option) for option in kind.options(SpecKeys) if option.name in ("model", "data")
        }
        root["else"] = {"properties": whole, "required": ["model"]}
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "harness spec"}
        return {**head, **root, "$defs": dict(sorted(self.defs.items()))}

    def card(self) -> Schema:
        root = self.struct(Card)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "bed card"}
        return {**head, **root, "$defs": dict(sorted(self.defs.items()))}

    def of(self, hint: Any, partial: bool = False) -> Schema:
        """The schema of a type. `partial` is for overrides, where what is required may stand elsewhere."""
        origin, arguments = get_origin(hint), get_args(hint)
        if not _holds_struct(hint):
            if origin in (Union, types.UnionType) and any(get_origin(argument) is dict for argument in arguments):
                return {"anyOf": [self.of(argument) for argument in arguments]}
            return self.fixed_keys(*arguments) if _has_fixed_keys(hint) else msgspec.json.schema(hint)
        if origin is Annotated:
            return {**self.of(arguments[0], partial), **_limits(hint)}
        if origin in (Union, types.UnionType):
            if Model in arguments:
                return self.network(partial)
            some = [argument for argument in arguments if argument is not type(None)]
            return self.of(some[0], partial) if len(some) == 1 else {"anyOf": [self.of(one, partial) for one in some]}
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0], partial)}
        if origin is dict:
            names = msgspec.json.schema(arguments[0])
            return {"type": "object", "propertyNames": names, "additionalProperties": self.of(arguments[1], partial)}
        if issubclass(hint, kind.Kind):
            return self.any_source() if partial and hint is Source else self.any_kind(hint.folder)
        partial = partial and hint not in (Override, Setting) and _holds_kind(hint)
        return self.named(hint.__name__ + (_OVERRIDE if partial else ""), hint, partial)

    def fixed_keys(self, keys: Any, values: Any) -> Schema:
        """A mapping whose keys are known. msgspec's own schema leaves them open."""
        properties = {key: self.of(values) for key in get_args(keys)}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def named(self, name: str, struct: type[Struct], partial: bool) -> Schema:
        if name not in self.defs:
            self.defs[name] = {}
            made = self.struct(struct, partial)
            if struct is Data:
                made = {**made, "type": ["string", "object"], "if": {"type": "string"}, "then": self.any_kind("data")}
            if struct in (Autopsy, Intervention):
                made = {**made, "type": ["string", "object"]}
            self.defs[name] = made
        return {"$ref": f"#/$defs/{name}"}

    def struct(self, struct: type[Struct], partial: bool = False) -> Schema:
        """An object with the struct's fields as properties."""
        # What a condition overrides stands elsewhere, so nothing in it is required.
        inside = partial or struct in (Override, Setting)
        options = kind.options(struct)
        required = [option.name for option in options if option.required]
        return {
            "description": kind.summary(struct),
            "type": "object",
            "properties": {option.name: self.option(option, inside) for option in options},
            "required": [] if struct in (Override, Setting) else required,
            "additionalProperties": False,
        }

    def option(self, option: kind.Option, partial: bool = False) -> Schema:
        made = {**self.of(option.type, partial), "description": option.doc}
        if option.default not in (None, "", (), {}) and not isinstance(option.default, Struct):
            made["default"] = msgspec.json.decode(msgspec.json.encode(option.default))
        return made

    def network(self, partial: bool) -> Schema:
        """`model`: a name, a model's options, or a test bed."""
        name = "model" + (_OVERRIDE if partial else "")
        if name in self.defs:
            return {"$ref": f"#/$defs/{name}"}
        model = self.struct(Model)
        beds = {"title": "test bed", "enum": _spelled(kind.names("beds"))}
        made: Schema = {"title": "model", "description": model["description"], "type": ["string", "object"]}
        if partial:
            # What is called the same in a bed can be known only of the whole: whether it is one.
            of_beds = {option.name for bed in kind.loadable("beds") for option in kind.options(kind.find("beds", bed))}
            of_beds |= {option.name for option in kind.options(OwnBed)}
            own = {key: {} if key in of_beds else one for key, one in model["properties"].items()}
            named = {"title": beds["title"], "anyOf": [{"enum": beds["enum"]}, _OWN_BED]}
            states = self.struct(StatesFolder)["properties"]
            made["properties"] = {**own, **states, "bed": {**named, "description": "A test bed's name."}}
        else:
            self.defs["Model"] = model
            self.defs["own_bed"] = {**self.struct(OwnBed), "title": "test bed with a card"}
            theirs = {"if": {"properties": {"bed": _OWN_BED}}, "then": {"$ref": "#/$defs/own_bed"}}
            made["if"] = {"type": "object", "required": ["bed"]}
            made["then"] = {**theirs, "else": self.any_kind("beds", "bed")}
            self.defs["StatesFolder"] = self.struct(StatesFolder)
            imported = {"if": {"type": "object", "required": ["states"]}, "then": {"$ref": "#/$defs/StatesFolder"}}
            made["else"] = {**imported, "else": {"if": {"type": "object"}, "then": {"$ref": "#/$defs/Model"}}}
        self.defs[name] = made
        return {"$ref": f"#/$defs/{name}"}

    def any_source(self) -> Schema:
        """A data set's options, whose kind may be known elsewhere."""
        names = {"title": "data set", "enum": _spelled(kind.names("data"))}
        return {"title": "data set", "type": ["string", "object"], "properties": {"kind": names}}

    def any_kind(self, folder: str, key: str = "kind") -> Schema:
        """Anything in a folder: its name, or a mapping with its name under `key` and its options."""
        if folder not in self.defs:
            self.defs[folder] = {}
            self.defs[folder] = self.choice(folder, key)
        return {"$ref": f"#/$defs/{folder}"}

    def choice(self, folder: str, key: str) -> Schema:
        # An analysis that has a key of its own is asked for there.
        keyed = [name for name in kind.names(folder) if folder == "analyses" and asked_by(name)]
        names = [*(name for name in kind.names(folder) if name not in keyed), *kind.aliases(folder)]
        title = kind.FOLDERS[folder]
        each = {name: self.one_kind(folder, name, key) for name in names}
        bare = [name for name in names if each[name]["required"] in ([], [key])]
        by_option = [name for name in kind.loadable(folder) if key == "kind" and own_option(folder, name)]
        unnamed = {"not": {"anyOf": [{"required": [name]} for name in by_option]}} if by_option else {}
        chosen: Schema = {"title": title, "enum": _spelled(names)}
        branches: list[Schema] = [
            {"if": {"type": "string"}, "then": {"title": title, "enum": _spelled(bare)}},
            {"if": {"type": "object", **unnamed}, "then": {"required": [key]}},
            {"if": {"type": "object"}, "then": {"properties": {key: chosen}}},
        ]
        for name in names:
            self.defs[f"{folder}.{name}"] = each[name]
            says_so: Schema = {"required": [key], "properties": {key: {"enum": spellings(name)}}}
            if name in by_option:
                says_so = {"anyOf": [says_so, {"required": [name], "not": {"required": [key]}}]}
            branches.append({"if": {"type": "object", **says_so}, "then": {"$ref": f"#/$defs/{folder}.{name}"}})
        return {"title": title, "type": ["string", "object"], "allOf": branches}

    def one_kind(self, folder: str, name: str, key: str) -> Schema:
        own, stands_for = kind.aliases(folder).get(name, (name, {}))
        if own not in kind.loadable(folder):
            # Whoever names it is told why it cannot be used, and not that its options are wrong.
            return {"description": kind.refusal(folder, name), "type": ["string", "object"], "required": []}
        made = self.struct(kind.find(folder, own))
        made["properties"] = {key: one for key, one in made["properties"].items() if key not in stands_for}
        made["required"] = [key for key in made["required"] if key not in stands_for]
        if folder == "probes":
            normalisations = {"title": "normalisation", "enum": _spelled(kind.names("normalisations"))}
            made["properties"]["normalise"] = {**made["properties"]["normalise"], **normalisations}
        if key == "bed":
            made["required"] = [key, *made["required"]]
        chosen = {"enum": spellings(name), "description": f"The {kind.FOLDERS[folder]}'s name."}
        return {**made, "title": f"{kind.FOLDERS[folder]} {name}", "properties": {key: chosen, **made["properties"]}}


def _spelled(names: tuple[str, ...] | list[str]) -> list[str]:
    return [spelling for name in names for spelling in spellings(name)]


def _holds_struct(hint: Any, of: type[Struct] = Struct) -> bool:
    if isinstance(hint, type) and issubclass(hint, of):
        return True
    return any(_holds_struct(argument, of) for argument in get_args(hint))


def _has_fixed_keys(hint: Any) -> bool:
    return get_origin(hint) is dict and get_origin(get_args(hint)[0]) is Literal


def _holds_kind(struct: type[Struct]) -> bool:
    return any(_holds_struct(option.type, kind.Kind) for option in kind.options(struct))


def _limits(hint: Any) -> Schema:
    """Bounds on a list's length, as its annotation gives them."""
    made: Schema = {}
    for meta in hint.__metadata__:
        if meta.min_length is not None:
            made["minItems"] = meta.min_length
        if meta.max_length is not None:
            made["maxItems"] = meta.max_length
    return made
