"""The number format that products are computed in: float32 unless a spec says `precision: fast`.

Weights are held as their checkpoint stores them, and the residual stream is float32, whatever the products are computed in
(`harness.models.widening`). `fast` takes the format that the spec names, or bfloat16 where that is fast: on GPUs with bfloat16 tensor
cores and on processors with AVX512-BF16 or AMX. Elsewhere a processor emulates it, a hundred times slower than float32. It is no
default, because the same spec must give the same numbers on every machine, and because the methods live on small differences of
large states, which eight bits do not hold.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Dtype = Literal["float32", "bfloat16", "float16"]

BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


def choose(precision: Literal["exact", "fast"], asked: Dtype | None) -> Dtype:
    """The format of products. Where they are to be fast and no format is named, it depends on this machine."""
    if asked is not None or precision == "exact":
        return asked or "float32"
    return "bfloat16" if bfloat16_is_fast() else "float32"


@cache
def bfloat16_is_fast() -> bool:
    """Whether this machine multiplies bfloat16 matrices faster than float32, found without importing torch."""
    capability = cuda_capability()
    if capability is not None:
        return capability >= (8, 0)
    return processor_has_bfloat16()


@cache
def processor_has_bfloat16() -> bool:
    """AVX512-BF16 or AMX-BF16 among the processor's flags (Linux); False where that cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


@cache
def cuda_capability() -> tuple[int, int] | None:
    """Compute capability of the first GPU that torch would use; None without one."""
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        return torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    if not _torch_has_cuda() or os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return None
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def device() -> str:
    """Where networks run here, without importing torch: `cpu` or `cuda`."""
    return "cpu" if cuda_capability() is None else "cuda"


def _torch_has_cuda() -> bool:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE) is not None
