"""Jinja for templates that strangers wrote: they reach nothing of Python's.

How long a template runs and how much it makes is seen to by the worker that renders it (`harness.untrusted.worker`). It is compiled in
other processes as well, to say early what cannot be read. So nothing of it is evaluated then, as Jinja would do with what is constant,
such as a text of a thousand million characters; and the source is short enough to be compiled soon.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from types import CodeType
from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.untrusted.bounded import Limits
from harness.untrusted.worker import Budget

MAX_CHARACTERS = 1_000_000
"""Longest rendering."""

MAX_SOURCE = 200_000
"""Characters of a template."""

MAX_NODES = 10_000
"""Parts of a template. Compiling takes a second for so many."""

LIMITS = Limits(seconds=4, mebibytes=512, answer_bytes=256 << 20)
"""Of some renderings at once."""

_SECONDS_EACH = 0.003
"""Seconds of the processor that a rendering may take on average, besides those of `LIMITS`: of ordinary ones, each takes a tenth."""

AT_ONCE = 64
"""Pairs, or conversations, that are rendered in one call of the worker."""


def budget_of(renderings: int) -> Budget:
    """What so many renderings may take together."""
    return Budget(LIMITS.seconds + _SECONDS_EACH * renderings)


_PLACE = re.compile(r" at 0x[0-9a-f]{6,16}\b")

FAULTS = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can raise while it is compiled or rendered: Jinja's own errors, and those of the filters' arguments."""


class Compiled(NamedTuple):
    """A template's code."""

    code: CodeType
    takes: frozenset[str]
    """Variables that it is to be given, and the names of what is in its environment."""


def too_long() -> SecurityError:
    return SecurityError(f"the text grows beyond {MAX_CHARACTERS:,} characters; shorten it")


def check_same_tomorrow(text: str, given: Sequence[object]) -> None:
    """Raises SecurityError for a text that has a place in memory in it, as Python prints of methods and generators, but for one that
    came with what was given."""
    if (found := _PLACE.search(text)) and not any(found[0] in str(value) for value in given):
        raise SecurityError(
            "it prints a place in memory, which is another one every time; call what it prints, or list it"
        )


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox. A template is compiled without evaluating anything of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(optimized=False, **options)

    def compiled(self, source: str, filename: str) -> Compiled:
        """Raises one of FAULTS, or SyntaxError."""
        if len(source) > MAX_SOURCE:
            raise SecurityError(f"it has more than {MAX_SOURCE:,} characters; put text into the data")
        tree = self.parse(source)
        size = sum(1 for _ in tree.find_all(nodes.Node))
        if size > MAX_NODES:
            raise SecurityError(f"it has {size:,} parts, and {MAX_NODES:,} are allowed; put text into the data")
        compiler = _Compiler(self, None, filename, optimized=False)
        try:
            compiler.visit(tree)
        except TemplateSyntaxError:
            self.handle_exception(source=source)
        with warnings.catch_warnings():
            # Python's advice on the code that Jinja makes of it is none to the template's author.
            warnings.simplefilter("ignore", SyntaxWarning)
            code = compile(compiler.stream.getvalue(), filename, "exec")  # type: ignore[attr-defined]
        return Compiled(code, frozenset(compiler.takes))

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        return super().is_safe_callable(obj)


class _Compiler(CodeGenerator):
    """Jinja's own compiler, which evaluates nothing, and notes which variables are asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.takes: set[str] = set()

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        self.takes |= {name for action, name in frame.symbols.loads.values() if action == "resolve" and name}

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:
        if not all(isinstance(option.value, nodes.Const) for option in node.options):
            self.fail("autoescape is either true or false", node.lineno)
        super().visit_EvalContextModifier(node, frame)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)
