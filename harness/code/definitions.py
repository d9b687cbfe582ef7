"""The definitions of a source file: what each one says, blind to layout and docstrings, and what it refers to.

A definition is a function, the head of a class, a member of a class, a field, or an assignment at the top of a module. It is
read from the syntax tree, so that nothing is imported. What it refers to stands in its text as a mark: `⟦harness.prompts.where.rows_where⟧`,
or `⟦:name⟧` for a name of the same module; so an alias, or where a name was imported, makes no difference.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

OPEN, CLOSE = "⟦", "⟧"
MARK = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")
OWN = ":"
"""Begins a mark of a name of the same module."""
_FILE = re.compile(r"[\w./-]*\.[a-z]{1,10}")
_BY_NAME = frozenset({"getattr", "hasattr", "setattr", "attrgetter", "methodcaller"})

Sort = Literal["function", "class", "member", "field", "value", "effect"]
Scope = dict[str, str | None]
"""By a bound name, what was imported under it; None for a variable."""


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """One definition."""

    name: str
    """Within the module: `rows_where`, `Fitting`, `Fitting.part`."""
    sort: Sort
    text: str
    """Its source as Python writes it, without docstrings and imports, with marks."""
    uses: list[str]
    """Marks that its expressions mention."""
    hints: list[str]
    """Marks that its annotations mention."""
    attributes: list[str]
    """Attributes that it asks of whatever object."""
    files: list[str]
    """Strings that look like the name of a file."""


class Outline(msgspec.Struct, frozen=True, array_like=True):
    """A class: where its parts are among the definitions of the file."""

    head: int
    bases: list[str]
    """Marks, or names of builtins."""
    members: dict[str, list[int]]
    """Methods and properties."""
    fields: dict[str, list[int]]


class Source(msgspec.Struct, frozen=True, array_like=True):
    """The definitions of one file."""

    definitions: list[Definition]
    names: dict[str, list[int]]
    """By a name at the top of the module, the definitions that bind it."""
    imports: dict[str, str]
    """By a name that an import at the top of the module binds, the dotted name of what it is bound to."""
    classes: dict[str, Outline]
    effects: list[int]
    """Statements that do something when the module is imported."""


def read_source(text: str) -> Source:
    """The definitions of a module. Raises SyntaxError."""
    tree = ast.parse(text)
    imports: dict[str, str] = {}
    body = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imported(node)
        elif isinstance(node, ast.If) and _is_for_types(node):
            imports |= {name: bound for one in node.body for name, bound in _imported(one).items()}
        elif not _is_text(node):
            body.append(node)
    bound: Scope = {}
    _bind(body, bound)
    imports |= {name: what for name, what in bound.items() if what is not None}
    reader = _Reader(imports, {name for name, what in bound.items() if what is None})
    for node in body:
        reader.add(node)
    return reader.source


class _Reader:
    """Collects the definitions of one file."""

    def __init__(self, imports: dict[str, str], names: set[str]):
        self.source = Source([], {}, imports, {}, [])
        self._names = names

    def add(self, node: ast.stmt) -> None:
        source = self.source
        if isinstance(node, ast.ClassDef):
            source.names.setdefault(node.name, []).append(self._class(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            source.names.setdefault(node.name, []).append(self._define(node.name, "function", node))
        else:
            bound: Scope = {}
            _bind([node], bound)
            is_value = isinstance(node, ast.Assign | ast.AnnAssign)
            number = self._define(", ".join(bound), "value" if is_value else "effect", node)
            for name in bound:
                source.names.setdefault(name, []).append(number)
            if not is_value:
                source.effects.append(number)

    def _class(self, node: ast.ClassDef) -> int:
        bound: Scope = {}
        _bind(node.body, bound)
        members: dict[str, list[int]] = {}
        fields: dict[str, list[int]] = {}
        rest = []
        for part in node.body:
            own: Scope = {}
            _bind([part], own)
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                number = self._define(f"{node.name}.{part.name}", "member", part, bound)
                # What sets or deletes an attribute is asked for by no name.
                called = [each for each in part.decorator_list if isinstance(each, ast.Attribute)]
                sets = any(each.attr in ("setter", "deleter") for each in called)
                members.setdefault("__set__" if sets else part.name, []).append(number)
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                number = self._define(f"{node.name}.{', '.join(own)}", "field", part, bound)
                for name in own:
                    fields.setdefault(name, []).append(number)
            else:
                rest.append(part)
        bases = [self._base(base) for base in node.bases]
        node.body = rest
        head = self._define(node.name, "class", node, bound)
        self.source.classes[node.name] = Outline(head, bases, members, fields)
        return head

    def _base(self, base: ast.expr) -> str:
        while isinstance(base, ast.Subscript):
            base = base.value
        writer = _Writer(self.source.imports, self._names)
        return ast.unparse(writer.visit(_copy(base)))

    def _define(self, name: str, sort: Sort, node: ast.stmt, around: Scope | None = None) -> int:
        writer = _Writer(self.source.imports, self._names, around)
        if isinstance(node, ast.ClassDef) and sort == "class":
            # A base is reached as far as the class is; everything else of the head is an expression.
            bases, node.bases = [ast.unparse(writer.visit(_copy(base))) for base in node.bases], []
            writer.uses.clear()
            text = "\n".join((ast.unparse(writer.visit(node)), *bases))
        else:
            text = ast.unparse(writer.visit(node))
        attributes = writer.attributes | (writer.words if writer.by_name else set())
        found = Definition(
            name, sort, text, *(sorted(each) for each in (writer.uses, writer.hints, attributes, writer.files))
        )
        self.source.definitions.append(found)
        return len(self.source.definitions) - 1


class _Writer(ast.NodeTransformer):
    """Puts marks into a definition, and takes out of it what means nothing."""

    def __init__(self, imports: dict[str, str], names: set[str], around: Scope | None = None):
        self._imports, self._names, self._around = imports, names, around or {}
        self._scopes: list[Scope] = []
        self._hinting = False
        self.uses: set[str] = set()
        self.hints: set[str] = set()
        self.attributes: set[str] = set()
        self.files: set[str] = set()
        self.words: set[str] = set()
        """Strings that may be the name of an attribute."""
        self.by_name = False
        """Whether attributes are asked for by such strings."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list) and not node.body:  # type: ignore[attr-defined]
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_text(node) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            if _FILE.fullmatch(node.value):
                self.files.add(node.value)
            if node.value.isidentifier():
                self.words.add(node.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and (bound := self._bound(node.id)) is not None:
            return self._mark(bound)
        if node.id in _BY_NAME:
            self.by_name = True
        if node.id in self._around:
            self.attributes.add(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        chain, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            chain.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name) and (bound := self._bound(value.id)) is not None:
            return self._mark(".".join((bound, *reversed(chain))))
        if isinstance(node.ctx, ast.Load):
            self.attributes.add(node.attr)
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.target, ast.Attribute):
            # It is read before it is set.
            self.attributes.add(node.target.attr)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and self._bound(node.func.id) == "typing.cast":
            with self._in_hint():
                node.args[0] = self.visit(node.args[0])
            node.args[1] = self.visit(node.args[1])
            return node
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        with self._in_hint():
            node.annotation = self.visit(node.annotation)
        node.target = self.visit(node.target)
        node.value = node.value and self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self._arguments(node.args)
        with self._in_hint():
            node.returns = node.returns and self.visit(node.returns)
        around, self._around = self._around, {}
        with self._scope(node.args, node.body):
            written = [self.visit(each) for each in node.body]
        self._around = around
        node.body = [each for each in written if each is not None] or [ast.Pass()]
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._arguments(node.args)
        with self._scope(node.args, []):
            node.body = self.visit(node.body)
        return node

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> ast.AST:
        first = node.generators[0]
        first.iter = self.visit(first.iter)
        scope: Scope = {}
        _bind([generator.target for generator in node.generators], scope)
        self._scopes.append(scope)
        for number, generator in enumerate(node.generators):
            generator.target = self.visit(generator.target)
            generator.iter = generator.iter if number == 0 else self.visit(generator.iter)
            generator.ifs = [self.visit(each) for each in generator.ifs]
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                setattr(node, part, self.visit(getattr(node, part)))
        self._scopes.pop()
        return node

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def _arguments(self, arguments: ast.arguments) -> None:
        """Defaults and annotations, which are read where the function is defined."""
        with self._in_hint():
            for argument in _all_arguments(arguments):
                argument.annotation = argument.annotation and self.visit(argument.annotation)
        arguments.defaults = [self.visit(each) for each in arguments.defaults]
        arguments.kw_defaults = [each and self.visit(each) for each in arguments.kw_defaults]

    @contextmanager
    def _scope(self, arguments: ast.arguments, body: list[ast.stmt]) -> Iterator[None]:
        scope: Scope = {argument.arg: None for argument in _all_arguments(arguments)}
        _bind(body, scope)
        for node in body:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    for name in inner.names:
                        scope.pop(name, None)
        self._scopes.append(scope)
        yield
        self._scopes.pop()

    @contextmanager
    def _in_hint(self) -> Iterator[None]:
        before, self._hinting = self._hinting, True
        yield
        self._hinting = before

    def _bound(self, name: str) -> str | None:
        """What a name refers to beyond the definition; None for a variable or a builtin."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in self._around:
            return None
        if name in self._imports:
            return self._imports[name]
        return f"{OWN}{name}" if name in self._names else None

    def _mark(self, bound: str) -> ast.Name:
        (self.hints if self._hinting else self.uses).add(bound)
        return ast.Name(id=f"{OPEN}{bound}{CLOSE}", ctx=ast.Load())


def _bind(nodes: Iterable[ast.AST], scope: Scope) -> None:
    """Adds the names that statements bind, less what functions and comprehensions in them bind for themselves."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.setdefault(node.name, None)
                continue
            case ast.Import() | ast.ImportFrom():
                scope.update(_imported(node))
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                for inner in ast.walk(node):
                    if isinstance(inner, ast.NamedExpr):
                        scope.setdefault(inner.target.id, None)
                continue
            case ast.Name() if not isinstance(node.ctx, ast.Load):
                scope.setdefault(node.id, None)
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                scope.setdefault(node.name, None)
            case ast.MatchMapping() if node.rest:
                scope.setdefault(node.rest, None)
        _bind(ast.iter_child_nodes(node), scope)


def _imported(node: ast.AST) -> dict[str, str]:
    """By the name that is bound, the dotted name of what it is bound to; dots at the beginning as in the import."""
    if isinstance(node, ast.Import):
        # `import a.b` binds a.
        return {
            alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom):
        start = "." * node.level + (f"{node.module}." if node.module else "")
        return {alias.asname or alias.name: start + alias.name for alias in node.names}
    return {}


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    rest = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone: a docstring of a module, class, function or field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_types(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(node.test) and all(
        isinstance(one, ast.Import | ast.ImportFrom) for one in node.body
    )


def _copy(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body
