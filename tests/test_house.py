"""The house: every import runs down, in no circle, and a file is found where its name says.

Each test collects all breaches and says what to do about them.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import harness

ROOT = Path(harness.__file__).parent
KINDS = ("data", "distractors", "beds", "normalisations", "probes", "metrics", "measurements", "checks")
ROOMS = (
    "cli",
    "api",
    "commands",
    "training",
    "pipeline",
    "page",
    "stages",
    "analyses",
    "report",
    "execution",
    "plan",
    "fitting",
    "activations",
    "subjects",
    "models",
    "language",
    "scoring",
    "prompts",
    "imported",
    "kinds",
    "readouts",
    "networks",
    "worlds",
    "assets",
    "machine",
    "spec",
    "code",
    "store",
    "contracts",
    "maths",
    "untrusted",
    "errors",
)
"""From the top of the house to the bottom; the folders of kinds are one floor, on which no folder sees another."""

LOOSE = 6
LINES = 400
METHODS = 20
"""Most public methods of a class."""


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def module(path: Path) -> str:
    """A file as a dotted name below the package; a folder's `__init__.py` is the folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in files()}


def imported(path: Path, *, running: bool = False) -> list[tuple[int, str, str]]:
    """Line, module and name of every import of ours, also inside functions; with `running`, not those for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for part in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if running and node in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import; write it from `harness`"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                # `from harness.store import reading` imports a module, `from harness.store.reading import read` a name.
                is_module = whole.removeprefix("harness.") in MODULES
                found.append((node.lineno, whole, "") if is_module else (node.lineno, str(node.module), alias.name))
    return [
        (line, name.removeprefix("harness."), what)
        for line, name, what in found
        if name.startswith("harness.") and name.removeprefix("harness.") in MODULES
    ]


def room(name: str) -> str:
    first = name.split(".")[0]
    return "kinds" if first in KINDS else first


def breaches(found: list[str], remedy: str) -> str:
    return f"\n{remedy}:\n" + "\n".join(f"  {line}" for line in found)


def where(path: Path, line: int) -> str:
    return f"harness/{path.relative_to(ROOT).as_posix()}:{line}"


def test_the_walk_sees_imports_in_functions_and_those_for_types(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.errors import DataError\n"
        "def f():\n    from harness import cli\n"
    )
    assert imported(file) == [(3, "errors", "DataError"), (5, "cli", "")]
    assert imported(file, running=True) == [(5, "cli", "")]


def test_every_file_is_in_a_room() -> None:
    unknown = {room(name) for name in MODULES} - set(ROOMS) - {"", "__main__"}
    assert not unknown, breaches(sorted(unknown), "No floor for these; move them, or give them a place in ROOMS")


def test_imports_run_down() -> None:
    """Imports for types alone may name what stands above: a contract names what it is handed."""
    floor = {name: at for at, name in enumerate(ROOMS)}
    found = []
    for name, path in MODULES.items():
        if name in ("", "__main__"):
            continue
        running = imported(path, running=True)
        for line, other, what in imported(path):
            up = (line, other, what) in running and floor[room(other)] < floor[room(name)]
            across = room(name) == room(other) == "kinds" and name.split(".")[0] != other.split(".")[0]
            if up or across:
                found.append(f"{where(path, line)} imports {other}, which is {'above' if up else 'another kind'}")
    assert not found, breaches(found, "Move what is needed to a floor that both stand on, or hand it in as an argument")


def test_no_circle_among_files() -> None:
    """A package's `__init__` and the files that it hands on are one matter: whoever imports it imports them."""
    arrows = {name: sorted({other for _, other, _ in imported(path, running=True)}) for name, path in MODULES.items()}
    circles = [circle for circle in _circles(arrows) if len(circle) > 1]
    found = [" ↔ ".join(sorted(circle)) for circle in circles]
    assert not found, breaches(found, "Take out what both need into a file below them")


def _circles(arrows: dict[str, list[str]]) -> list[set[str]]:
    """Groups of files that reach each other (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        open_.append(name)
        for other in arrows[name]:
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in open_:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            at = open_.index(name)
            found.append(set(open_[at:]))
            del open_[at:]

    for name in arrows:
        if name not in number:
            visit(name)
    return found


def test_circles_are_seen() -> None:
    arrows = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}
    assert {"b", "c"} in _circles(arrows)
    assert all(len(circle) == 1 for circle in _circles({"a": ["b", "c"], "b": ["c"], "c": []}))


def test_few_files_lie_loose() -> None:
    loose = [path.name for path in ROOT.glob("*.py") if not path.name.startswith("__")]
    assert len(loose) <= LOOSE, breaches(
        sorted(loose), f"At most {LOOSE} files lie in harness/; move some into a folder"
    )


def test_what_is_private_stays_in_its_folder() -> None:
    found = []
    for name, path in MODULES.items():
        for line, other, what in imported(path):
            at_home = path.parent == MODULES[other].parent
            private = [part for part in (*other.split("."), what) if part.startswith("_") and not part.startswith("__")]
            if private and not at_home:
                found.append(f"{where(path, line)} imports {other}{'.' * bool(what)}{what}")
            elif what.startswith("_") and not what.startswith("__") and other != name:
                found.append(f"{where(path, line)} imports the private {other}.{what}")
    assert not found, breaches(found, "Give it a public name in a file below both")


def test_files_are_short_or_say_why_not() -> None:
    found = []
    for path in files():
        lines = path.read_text(encoding="utf-8").split("\n")
        if len(lines) - 1 > LINES and not any("lines:" in line for line in lines[:20]):
            found.append(f"{where(path, 1)} has {len(lines) - 1} lines")
    assert not found, breaches(
        found,
        f"Split what is longer than {LINES} lines, or say among the first lines why it is whole (`Over 400 lines: …`)",
    )


def test_the_walk_of_a_spec_is_one_page() -> None:
    lines = (ROOT / "pipeline.py").read_text(encoding="utf-8").count("\n")
    assert lines <= 150, f"harness/pipeline.py has {lines} lines; what it says in detail belongs into a folder below it"


def test_a_module_name_occurs_once() -> None:
    """Kinds are named as a spec names them, the problems of a spec as the parts of it that they are about; each analysis has
    a section."""
    places = defaultdict(list)
    for name, path in MODULES.items():
        if name.split(".")[0] in KINDS or name.startswith("language.problems.") or path.name.startswith("__"):
            continue
        if name.startswith("analyses.") and path.stem == "section":
            continue
        places[path.stem].append(f"harness/{path.relative_to(ROOT).as_posix()}")
    counted = Counter({stem: len(paths) for stem, paths in places.items()})
    found = [", ".join(places[stem]) for stem, count in counted.items() if count > 1]
    assert not found, breaches(found, "Rename all but one, each to what it holds")


def calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    """Calls of the functions of these names."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id in names]


def asks_whether_it_is_a_bed(tree: ast.AST) -> list[int]:
    """Lines with `isinstance(…, Bed)` or `card is None`."""
    types = [call for call in calls(tree, "isinstance", "issubclass") if len(call.args) == 2]
    found = [
        call.lineno for call in types if "Bed" in {n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name)}
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            asked, against = ast.unparse(node.left), ast.unparse(node.comparators[0])
            if asked.split(".")[-1] == "card" and against == "None":
                found.append(node.lineno)
    return found


def test_nobody_asks_whether_it_is_a_bed() -> None:
    assert asks_whether_it_is_a_bed(
        ast.parse("isinstance(x, Model | Bed)\ny.card is not None\nisinstance(x, NetworkBed)")
    ) == [
        1,
        2,
    ]
    found = [
        where(path, line)
        for name, path in MODULES.items()
        if room(name) not in ("language", "spec")
        for line in asks_whether_it_is_a_bed(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, breaches(found, "Ask the subject what it can do; a bed is one subject of several")


def test_contracts_are_not_asked_by_getattr() -> None:
    contracts = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "contracts").glob("*.py")]
    fields = {
        ast.unparse(part.target) if isinstance(part, ast.AnnAssign) else part.name
        for tree in contracts
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for part in owner.body
        if isinstance(part, ast.FunctionDef | ast.AnnAssign)
    }
    assert {"condition", "probe", "factors", "title"} <= fields
    found = [
        f"{where(path, call.lineno)} {ast.unparse(call)}"
        for path in files()
        for call in calls(ast.parse(path.read_text(encoding="utf-8")), "getattr", "hasattr")
        if isinstance(call.args[1], ast.Constant) and call.args[1].value in fields
    ]
    assert not found, breaches(found, "Give the base class the field, with what it says by default")


def test_no_class_does_everything() -> None:
    found = []
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
                public = [name for name in own if not name.startswith("_")]
                if len(public) > METHODS:
                    found.append(f"{where(path, node.lineno)} {node.name} has {len(public)} public methods")
    assert not found, breaches(found, "Split it by what it is asked for")


def test_every_folder_says_what_it_is() -> None:
    found = []
    for folder in sorted({path.parent for path in files()}):
        init = folder / "__init__.py"
        said = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) if init.is_file() else None
        if not (said and said.split("\n")[0].endswith((".", ":"))):
            found.append(folder.relative_to(ROOT.parent).as_posix())
    assert not found, breaches(found, "Say what the folder is in the first line of its `__init__.py`, as a sentence")
