"""Names from strangers stay in their folder, and no path is made of one in another way than `below`."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
import typer.testing
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.cli import app
from harness.untrusted.paths import LeadsOut, below, is_plain, leads_out, own_path

ROOT = Path(harness.__file__).parent

OUT = [
    "/x",
    "//x",
    "~",
    "~/x",
    "~root/x",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "\\x",
    "..\\x",
    "a\\..\\x",
    "C:/x",
    "c:\\x",
    "a\0b",
]


@pytest.mark.parametrize("name", OUT)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    assert leads_out(name) and not is_plain(name)
    with pytest.raises(LeadsOut):
        below(tmp_path, name)


@pytest.mark.parametrize("name", ["", ".", "./x", "x/", "x//y", "files//abs/path", "x/./y"])
def test_names_that_no_program_writes(name: str, tmp_path: Path) -> None:
    assert not is_plain(name)
    assert below(tmp_path, name).is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("name", ["x", "x/y.csv", "mail[s]/*.csv", "a b/ü.csv", "..x", "x..", "-x"])
def test_ordinary_names(name: str, tmp_path: Path) -> None:
    assert is_plain(name)
    assert below(tmp_path, name) == tmp_path.resolve() / name


def test_links_may_stay_inside_and_not_lead_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").touch()
    (inside / "near").symlink_to(inside / "file")
    (inside / "far").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    assert below(inside, "near") == inside.resolve() / "file"
    below(inside, "loop")
    for name in ("far", "far/file", "far/new"):
        with pytest.raises(LeadsOut):
            below(inside, name)


@given(st.text(alphabet="ab./\\~:\0 *[", max_size=12))
def test_whatever_is_joined_stays_below(name: str) -> None:
    folder = Path("/nowhere/folder")
    try:
        path = below(folder, name)
    except LeadsOut:
        assert not is_plain(name)
        return
    assert os.path.commonpath([path, folder]) == str(folder)
    if is_plain(name):
        assert path == folder / name


OURS = {
    "analyses/patching/patching_stage: artifact / f'{name}.npy'",
    "analyses/patching/patching_stage: folder / f'{name}.npy'",
    "api/report_folder: folder / name",
    "api/running: Path(folder) / spec.file",
    "api/written_spec: Path(folder) / self.file",
    "assets/bed_folder: Path(place) / name",
    "assets/bed_folder: base / place",
    "assets/bed_folder: cache_folder() / 'beds' / name.replace('/', '--') / snapshot.name",
    "assets/bed_folder: cache_folder() / 'beds' / name.replace('/', '--')",
    "assets/bed_folder: target / path.relative_to(snapshot)",
    "assets/bring: cache_folder() / 'assets' / f'{asset.name}-{asset.sha256[:12]}'",
    "assets/bring: draft / asset.filename",
    "assets/bring: folder / asset.filename",
    "assets/bring: own_path(named) / asset.filename",
    "assets/model_names: folder / place",
    "assets/unpack: folder / _safe_name(member, name)",
    "code/index: cache / f'{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.msgpack'",
    "code/index: root / place",
    "code/index: self._root / place",
    "commands/beds: Path('beds') / bed.pinned",
    "commands/runs: outcome.folder / name",
    "commands/specs: folder / f'{name}.yaml'",
    "contracts/kind: ROOT / folder",
    "data/_first_lines: Path(folder) / os.path.normpath(name).lstrip(os.sep)",
    "data/_local_folder: folder / card",
    "imported/states_card: base / folder",
    "imported/states_folder: folder / name",
    "language/changed: path.parent / text",
    "language/including: parent.parent / name",
    "metrics/auroc: placed[..., positive].sum(axis=-1, dtype=np.float64) / (ones * zeros)",
    "models/adapter: folder / place",
    "models/adapter: place / file",
    "models/architecture: cache_folder() / 'architectures' / f'{key}.json'",
    "models/fingerprint: cache_folder() / 'hashes' / f'{hashlib.sha256(str(real).encode()).hexdigest()[:24]}.json'",
    "models/gguf: cache_folder() / 'models' / f\"{file.stem}-{file_sha256(file)[:12]}-{code_of(*PARTS['weights read from gguf'])[:6]}\"",
    "models/identity: folder / name",
    "models/model_folder: folder / name",
    "models/tokenizer: cache_folder() / 'tokenizers' / content_key(identity, *made_by)",
    "models/published_autoencoder: base / folder",
    "models/training/elicit: folder / file.relative_to(card.path)",
    "networks/checkpoints: folder / self._file(step).name",
    "networks/checkpoints: self.folder / f'{step:08}.safetensors'",
    "networks/training_autoencoders: folder / name",
    "page/from_folder: folder / name",
    "page/html: files('harness.page').joinpath(name)",
    "report/compare/source: folder / name",
    "report/compare/source: place / name",
    "report/folder: folder / name",
    "report/stored_reports: artifact / name",
    "stages/figure_stage: artifact / name",
    "stages/figure_stage: folder / name",
    "stages/fits_by_layer: folder / str(number)",
    "stages/fits_by_layer: part.folder / str(number)",
    "stages/states_stage: found.whole.stored_bytes / 2 ** 20",
    "store/bucket: cache_folder() / 'buckets' / content_key(self.url)",
    "store/bucket: place / name",
    "store/housekeeping: store.root / kind",
    "store/last_runs: store.folder(FOLDER) / f'{name}.json'",
    "store/last_runs: store.folder(FOLDER) / f'{run.name}.json'",
    "store/leases: store.folder(FOLDER) / name",
    "store/reading: artifact / f'{name}{ENDING}'",
    "store/reading: folder / f'{name}{ENDING}'",
    "store/store: folder.joinpath(*parts)",
    "store/store: folder.joinpath(*parts[:depth])",
    "store/store: self.folder / name",
    "store/store: self.folder(kind) / key",
    "store/store: self.root / kind",
    "subjects/described: folder / model.id",
    "subjects/elicited: folder / file.name",
    "training/note: folder / file",
    "training/note: folder / weights_file(bed)",
    "untrusted/paths: folder / name",
}
"""Joins whose name nobody else chose: the program's own names, keys that it computed, entries of a folder that it listed, or
what a user names on the command line or in a spec as a place of his own (a model's folder, an adapter, an output)."""

_PATHS = (
    "folder",
    "place",
    "root",
    "path",
    "drawer",
    "draft",
    "parent",
    "home",
    "cache",
    "artifact",
    "target",
    "base",
    "store",
)
_JOINING = ("joinpath", "os.path.join")


def joins() -> set[str]:
    """Every join of a path with a name that does not stand there as a constant."""
    found = set()
    for file in sorted(ROOT.rglob("*.py")):
        module = file.relative_to(ROOT).with_suffix("").as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                left = ast.unparse(node.left)
                named = left.split("(")[0].split("[")[0].split(".")[-1].split(" ")[-1].lower()
                joins = any(word in named for word in _PATHS) or "Path(" in left
                names = [node.right]
            elif isinstance(node, ast.Call):
                joins, names = ast.unparse(node.func).endswith(_JOINING), node.args
            else:
                continue
            if joins and not all(map(_constant, names)):
                found.add(f"{module}: {ast.unparse(node)}")
    return found


def _constant(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return isinstance(node, ast.Constant) or name.isupper()


def test_every_other_join_is_of_a_name_of_ours() -> None:
    assert joins() - OURS == set(), "join names from strangers by `harness.untrusted.paths.below`, and list others here"
    assert OURS - joins() == set(), "these are gone"


def test_the_users_own_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_path("~/x") == own_path(Path("~/x")) == tmp_path / "x"
    for name in ("~nobody-of-that-name/x", "x/~", ""):
        assert own_path(name) == Path(name)


def test_homes_are_written_out_in_one_place() -> None:
    """Path.expanduser raises for a user that there is not."""
    named = {
        file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py") if "expanduser" in file.read_text("utf-8")
    }
    assert named == {"untrusted/paths.py"}


def options_that_are_paths() -> list[str]:
    """Every `Annotated[Path, typer.Option(…)]` of the command line."""
    return [
        ast.unparse(node.slice)
        for file in (ROOT / "cli.py", *sorted((ROOT / "commands").glob("*.py")))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value) == "Annotated"
        and "Path" in ast.unparse(node.slice)
    ]


def test_a_home_in_a_path_is_written_out_where_no_shell_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out=~/x` reaches us as it stands there."""
    found = options_that_are_paths()
    assert len(found) >= 7
    assert [option for option in found if "parser=own_path" not in option] == []
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typer.testing.CliRunner().invoke(app, ["init", "x", "--in=~"]).exit_code == 0
    assert (tmp_path / "x.yaml").is_file()


def test_the_walk_sees_joins() -> None:
    assert "untrusted/paths: folder / name" in joins()
