"""Python started by us, for what this process does not do itself: it takes no module from the folder that it stands in.

That folder may be a stranger's, and a `torch.py` in it his.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]

_INHERITED = (
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
)
"""What is seen of the environment by who reads what strangers wrote: no tokens, no passwords, no addresses."""
_BOUNDED = {
    "HF_HUB_OFFLINE": "1",
    # More threads would reserve address space, of which there is a limit, and use up the processor's time sooner.
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    # It can write no files.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "RAYON_NUM_THREADS": "1",
    "RUST_BACKTRACE": "0",
    "TOKENIZERS_PARALLELISM": "false",
    # torch._dynamo, which some versions of transformers import, makes its cache's folder at once: one that is there already.
    "TORCHINDUCTOR_CACHE_DIR": os.sep,
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def command(module: str, *arguments: str) -> list[str]:
    """Runs a module. -P: nothing is imported from the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def path() -> str:
    """PYTHONPATH: where this package lies, and what the user says, but for the folder that we stand in.

    An empty entry, or `.`, means that folder, whichever it is.
    """
    said = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = os.path.realpath(os.curdir)
    return os.pathsep.join([str(_ROOT), *(place for place in said if os.path.realpath(place) != here)])


def bounded_environment() -> dict[str, str]:
    """The environment of a process that reads what strangers wrote."""
    kept = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("LC_")}
    return kept | _BOUNDED | {"PYTHONPATH": path()}


def leave_folder() -> None:
    """Takes the folder that the program stands in off `sys.path`, where `python -m harness` put it; not where this package lies in it."""
    if sys.flags.safe_path or not sys.path:
        return
    here = os.path.realpath(os.curdir)
    if os.path.realpath(sys.path[0] or os.curdir) == here != os.path.realpath(_ROOT):
        del sys.path[0]
