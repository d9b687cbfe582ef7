"""What `harness init --ci` writes: a workflow for pull requests, a hook, attributes, and the schema that editors read."""

from __future__ import annotations

import codecs
import json
import os
import shlex
import tomllib
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.language.including import MAX_BYTES
from harness.untrusted.files import read_ordinary, write_whole
from harness.untrusted.paths import real

WORKFLOW = ".github/workflows/harness.yaml"
HOOK = ".githooks/pre-commit"
ATTRIBUTES = ".gitattributes"
SCHEMA = "spec.schema.json"

_LARGEST_BYTES = 4 << 20
"""Of a file that is there already; ours have the hundredth part."""

_HOOK = """\
#!/bin/sh
# Written by `harness init --ci`: the specs that are about to be committed are validated. Switched on by
#   git config core.hooksPath .githooks
git diff --cached --name-only -z --diff-filter=ACMR -- '*.yaml' '*.yml' |
  xargs -0 grep -lE --null -e '^harness: *1' -- /dev/null |
  xargs -0 -r harness validate --
"""

_ATTRIBUTES = """\
# Reports are the same bytes on every machine, and no merge mixes the lines of two runs: run the spec again instead.
reports/** -text -merge
reports/*/figures/** linguist-generated
reports/*/manifest.json linguist-generated
"""


class Files(msgspec.Struct, frozen=True):
    """What was written, as paths below the repository's top folder."""

    written: tuple[str, ...]
    marked: tuple[str, ...]
    """Specs that got a line with their schema."""


def modeline(spec: Path, schema: Path) -> str:
    """The comment by which an editor finds the schema of a spec."""
    return f"# yaml-language-server: $schema={Path(os.path.relpath(schema, spec.parent)).as_posix()}\n"


def write_all(top: Path, install: str) -> Files:
    """Writes all files below `top`, the top folder of a git repository, and the modeline into its specs. What is there already and is the
    same is left alone, and attributes are added to.

    `install` is what pip installs in the workflow. Raises UsageError, before anything is written, where `top` is no repository, nothing
    can be installed by `install`, or another file is in the place of one of these.
    """
    if not (top / ".git").exists():
        raise UsageError(f"{top} is not the top folder of a git repository; run `git init` there, or name it with --in")
    now = {name: _now(top, name) for name in (WORKFLOW, HOOK, SCHEMA, ATTRIBUTES)}
    before = now[ATTRIBUTES] or ""
    contents = {
        WORKFLOW: workflow(top, install),
        HOOK: _HOOK,
        SCHEMA: _schema(),
        ATTRIBUTES: before
        if _ATTRIBUTES in before
        else f"{before}{'' if before[-1:] in ('', chr(10)) else chr(10)}{_ATTRIBUTES}",
    }
    taken = [name for name, text in now.items() if text not in (None, contents[name]) and name != ATTRIBUTES]
    if taken:
        raise UsageError(f"{', '.join(taken)}: there already, with other content; remove or rename it first")
    for name, text in contents.items():
        if now[name] != text:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(top / name, text.encode())
    (top / HOOK).chmod(0o755)
    written = tuple(name for name, text in contents.items() if now[name] != text)
    return Files(written, tuple(str(spec.relative_to(top)) for spec in _specs(top) if _mark(spec, top / SCHEMA)))


def _now(top: Path, name: str) -> str | None:
    """What a file holds so far; None where there is none. Raises UsageError for what is no text, or could be elsewhere by a link."""
    path = top / name
    if not _is_itself(top, name):
        raise UsageError(f"{path} is a link or lies behind one, which could lead elsewhere; put the file itself there")
    try:
        return read_ordinary(path, _LARGEST_BYTES, links=False).decode().replace("\r\n", "\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}; remove or rename it first") from error


def workflow(top: Path, install: str) -> str:
    """The workflow, with what pip installs. Raises UsageError where that is the folder itself and it is not this program's."""
    if install == "." and not _is_ours(top):
        raise UsageError(
            f"{top} has no pyproject.toml of elk-harness, so `pip install .` would not install it on a fresh machine; say with --install what "
            "does, such as a wheel or git+https://…@COMMIT"
        )
    text = Path(__file__).with_name("workflow.yaml").read_text("utf-8")
    return text.replace("INSTALL", shlex.quote(install))


def _is_ours(top: Path) -> bool:
    try:
        about = tomllib.loads(read_ordinary(top / "pyproject.toml", _LARGEST_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return False
    project = about.get("project")
    return isinstance(project, dict) and project.get("name") == "elk-harness"


def _schema() -> str:
    from harness import language

    return json.dumps(language.json_schema(), indent=2) + "\n"


def _specs(top: Path) -> list[Path]:
    """The specs that are tracked, or could be: YAML files with the version of the language on a line of its own."""
    from harness.untrusted import git

    listed = git.ask(
        "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.yaml", "*.yml", folder=top
    ).stdout
    # A stranger's index may name what lies behind a link, or above.
    names = sorted({os.fsdecode(name) for name in listed.split(b"\0") if name})
    return [top / name for name in names if _is_itself(top, name) and _is_spec(top / name)]


def _is_itself(top: Path, name: str) -> bool:
    """Whether a file is where its name says: it is no link, and lies behind none."""
    return real(top / name) == real(top) / name


def _is_spec(path: Path) -> bool:
    try:
        content = read_ordinary(path, MAX_BYTES, links=False)
    except OSError:
        return False
    return any(
        line.replace(b" ", b"").startswith(b"harness:1") for line in content.removeprefix(codecs.BOM_UTF8).splitlines()
    )


def _mark(spec: Path, schema: Path) -> bool:
    text = spec.read_bytes()
    if b"yaml-language-server:" in text:
        return False
    # A byte order mark stays at the beginning.
    bom = codecs.BOM_UTF8 if text.startswith(codecs.BOM_UTF8) else b""
    write_whole(spec, bom + modeline(spec, schema).encode() + text.removeprefix(bom))
    return True
