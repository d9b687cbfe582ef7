"""Parameters of networks at chosen steps of their training, in a folder, and the state from which training goes on.

Every file is written beside its place and then moved there, so that a process that is killed leaves whole files only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import StoreError, UsageError
from harness.networks.stacked import Stacked

if TYPE_CHECKING:
    from torch import Tensor

_STATE = "state.safetensors"


class Checkpoints(msgspec.Struct, frozen=True):
    """The checkpoints of one training."""

    folder: Path
    training: str
    """Content hash of the recipes. Files of another training are refused."""

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are stored."""
        return tuple(sorted(int(file.stem) for file in self.folder.glob("[0-9]*.safetensors")))

    def parameters(self, step: int) -> Tensor:
        """Parameters of all networks after `step` steps, float32, (network, size).

        Raises UsageError for a step that was not stored, and for a file of another training.
        """
        return self._read(self._stored(step))["parameters"]

    def digest(self, step: int) -> str:
        """SHA-256 of the file of a step. Raises UsageError for one that was not stored."""
        return hashlib.sha256(self._stored(step).read_bytes()).hexdigest()

    def copy(self, folder: Path) -> None:
        """Copies the parameters of all steps into a folder, without the state."""
        for step in self.steps:
            shutil.copyfile(self._file(step), folder / self._file(step).name)

    def state(self) -> Stacked | None:
        """The networks as they were when training was left; None before the first checkpoint."""
        if not (file := self.folder / _STATE).exists():
            return None
        held = self._read(file)
        return Stacked(held["parameters"], held["mean"], held["square"], int(held["step"]))

    def keep(self, networks: Stacked, *, checkpoint: bool) -> None:
        """Stores the state and, with `checkpoint`, the parameters under their step, which is there before the state says so."""
        import torch

        self.folder.mkdir(parents=True, exist_ok=True)
        if checkpoint:
            self._write(self._file(networks.step), {"parameters": networks.parameters})
        step = torch.tensor(networks.step)
        state = {"parameters": networks.parameters, "mean": networks.mean, "square": networks.square, "step": step}
        self._write(self.folder / _STATE, state)

    def _stored(self, step: int) -> Path:
        if step not in self.steps:
            stored = ", ".join(map(str, self.steps)) or "none"
            raise UsageError(f"step: {step} was not stored; stored are {stored}")
        return self._file(step)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:08}.safetensors"

    def _write(self, file: Path, tensors: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        beside = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, beside, {"training": self.training}
            )
            beside.replace(file)
        except OSError as error:
            raise StoreError(f"{file} cannot be written: {error}; make room, or choose another folder") from error

    def _read(self, file: Path) -> dict[str, Tensor]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "pt") as opened:
                own = (opened.metadata() or {}).get("training")
                # Copied: what lies in a file begins at places where products sum in another order.
                held = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{file} cannot be read: {error}; remove it, and the training is made again") from error
        if own != self.training:
            raise UsageError(f"{file} is a checkpoint of another recipe; choose another folder, or remove this one")
        return held


def checked(steps: Sequence[int]) -> tuple[int, ...]:
    """Steps to be stored, in order and without repetition. Raises UsageError for none, and for one before the beginning."""
    if not steps or min(steps) < 0:
        raise UsageError(f"steps: {list(steps)} are no steps of a training; give at least one, none below 0")
    return tuple(sorted(set(steps)))
