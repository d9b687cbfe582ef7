"""A .gguf file made into a plain model folder, once.

The weights are dequantised and kept as float32: a 4-bit weight is scale × number + offset with two half-precision
factors, and neither bfloat16 nor float16 holds that product exactly. A smaller dtype is a matter of loading.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from harness.code.code_version import code_of
from harness.code.entries import PARTS
from harness.errors import HarnessError
from harness.models.fingerprint import file_sha256
from harness.models.gguf_worker import limits
from harness.store import cache_folder
from harness.untrusted import own_python, worker

ORIGIN = "harness-origin.json"
"""Says which .gguf file a converted folder was made from, and which files were made."""


def converted_folder(file: Path) -> Path:
    """The folder in which the converted model lies, or would lie."""
    return (
        cache_folder()
        / "models"
        / f"{file.stem}-{file_sha256(file)[:12]}-{code_of(*PARTS['weights read from gguf'])[:6]}"
    )


def is_converted(file: Path) -> bool:
    """Whether the file was converted before."""
    return (converted_folder(file) / ORIGIN).is_file()


def is_ours(folder: Path) -> bool:
    """Whether a model's folder is one that `convert` made, in the user's own cache."""
    return folder.resolve().parent == (cache_folder() / "models").resolve()


def convert(file: Path, progress: Callable[[str, int, int | None], None] | None = None) -> Path:
    """The folder with config.json, model.safetensors and the tokenizer. Takes seconds to minutes, once.

    Raises HarnessError when transformers cannot read this file.
    """
    folder = converted_folder(file)
    if is_converted(file):
        return folder
    if progress:
        progress(f"converting {file.name}", 0, None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f"{folder.name}~{os.getpid()}-{uuid4().hex[:8]}")
    try:
        draft.mkdir()
        _write(file, draft)
        made = {path.name: file_sha256(path) for path in sorted(draft.iterdir())}
        (draft / ORIGIN).write_text(json.dumps({"gguf_sha256": file_sha256(file), "file": file.name, "files": made}))
        try:
            draft.rename(folder)
        except OSError:
            # Another process was faster, and made the same.
            if not is_converted(file):
                raise
    except OSError as error:
        raise HarnessError(f"{file}: the converted model cannot be written to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(file: Path, folder: Path) -> None:
    """Convert in a process of its own, within limits: see `gguf_worker`."""
    multiplied = worker.factor()
    most = limits(file).times(multiplied)
    waits_s = worker.patience_s(most)
    try:
        done = subprocess.run(
            own_python.command("harness.models.gguf_worker", str(file.resolve()), str(folder), str(multiplied)),
            env=own_python.bounded_environment(),
            capture_output=True,
            check=False,
            timeout=waits_s,
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{file}: it takes more than {waits_s:,.0f} s by the clock; {worker.MORE}") from error
    if not done.returncode:
        return
    complaints = worker.Remote(done.stderr.decode(errors="replace"))
    last = (str(complaints).strip().splitlines() or [f"the conversion ended with code {done.returncode}"])[-1]
    if done.returncode == HarnessError.exit_code:
        raise HarnessError(last)
    if reason := worker.exceeded(done.returncode, done.stderr, most):
        raise HarnessError(
            f"{file}: {reason}; convert it elsewhere and name the folder, or {worker.MORE}"
        ) from complaints
    raise HarnessError(f"{file}: {worker.crashed(done.returncode) if done.returncode < 0 else last}") from complaints
