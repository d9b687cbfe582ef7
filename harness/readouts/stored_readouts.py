"""The stored form of fitted probes: the name of each readout's class, and what its tensors must be like to be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contracts import Normaliser, Readout
from harness.errors import StoreError
from harness.readouts import normalisers
from harness.readouts.attention import AttentionReadout
from harness.readouts.detectors import GaussianReadout, IsolationReadout, JointGaussianReadout, NeighbourReadout
from harness.readouts.fitted_probes import (
    ConsistentReadout,
    ContrastReadout,
    EnsembleReadout,
    HiddenReadout,
    LinearReadout,
    ThresholdReadout,
)
from harness.readouts.outputs import HiddenOutputs, LinearOutputs
from harness.readouts.rolling import RollingReadout
from harness.readouts.weighted_answers import LogOddsReadout
from harness.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor

_FORMS: dict[str, type[Readout]] = {
    "linear": LinearReadout,
    "consistent": ConsistentReadout,
    "contrast": ContrastReadout,
    "hidden": HiddenReadout,
    "linear_outputs": LinearOutputs,
    "hidden_outputs": HiddenOutputs,
    "threshold": ThresholdReadout,
    "ensemble": EnsembleReadout,
    "gaussian": GaussianReadout,
    "joint_gaussian": JointGaussianReadout,
    "neighbours": NeighbourReadout,
    "isolation": IsolationReadout,
    "attention": AttentionReadout,
    "rolling": RollingReadout,
    "log_odds": LogOddsReadout,
}
_DTYPES = {
    "calibrated": "uint8",
    "classes": "uint8",
    "chosen": "int64",
    "neighbours": "int64",
    "feature": "int32",
    "template": "int64",
    "votes": "uint8",
    "window": "int64",
}
"""Those that are not float32."""


MOST_VIEWS = 2
"""A row is a statement, or a contrast pair."""


def form_of(readout: Readout) -> str:
    """The name under which `restore` knows this form."""
    return next(name for name, form in _FORMS.items() if type(readout) is form)


def restore(form: str, tensors: Mapping[str, Tensor]) -> Readout:
    """The readout whose `tensors()` these are. Raises StoreError when one is missing, too many, or not as it should be."""
    if form not in _FORMS:
        raise StoreError(f'a stored probe has the unknown form "{form}"; known: {", ".join(_FORMS)}')
    shapes = _FORMS[form].shapes
    if set(tensors) != set(shapes):
        raise StoreError(
            f"a stored {form} probe has the tensors {', '.join(sorted(tensors)) or 'none'} but needs {', '.join(shapes)}; "
            "delete it with `harness store prune` and run again"
        )
    sizes: dict[str, int] = {"1": 1, "2": 2}
    for name, axes in shapes.items():
        _check_tensor(form, name, tensors[name], axes, sizes)
    if form == "linear":
        return LinearReadout(tensors["weight"], tensors["bias"], bool(tensors["calibrated"].item()))
    if "chosen" in shapes and not 0 <= int(tensors["chosen"].min()) <= int(tensors["chosen"].max()) < sizes["restart"]:
        raise StoreError(f"a stored {form} probe names a restart that it does not have; run again with a new store")
    return _FORMS[form](**tensors)


def _check_tensor(form: str, name: str, tensor: Tensor, axes: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Checks dtype, axes and finiteness; `sizes` collects the length of each named axis, which must agree."""
    dtype = _DTYPES.get(name, "float32")
    fits = (
        str(tensor.dtype) == f"torch.{dtype}"
        and tensor.ndim == len(axes)
        and all(sizes.setdefault(axis, size) == size > 0 for axis, size in zip(axes, tensor.shape, strict=True))
        and sizes.get("view", 1) <= MOST_VIEWS
    )
    if not fits:
        raise StoreError(
            f"a stored {form} probe's {name} is {tensor.dtype} {tuple(tensor.shape)} but should be {dtype} "
            f"({', '.join(axes)}); delete it with `harness store prune` and run again"
        )
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise StoreError(f"a stored {form} probe's {name} is not finite; delete it with `harness store prune`")


def save_fit(readout: Readout, normaliser: Normaliser | None, folder: Path) -> None:
    """A fitted probe with the normalisation that its states need."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {f"readout.{name}": tensor for name, tensor in readout.tensors().items()}
    if normaliser is not None:
        tensors |= normaliser.tensors()
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, folder / "fit.safetensors")


def fit_about(readout: Readout, normaliser: Normaliser | None) -> dict[str, Any]:
    """What the store keeps beside a fitted probe: the forms of its parts."""
    return {
        "form": form_of(readout),
        "normaliser": None if normaliser is None else normalisers.form_of(normaliser),
    }


def load_fit(artifact: Artifact) -> tuple[Readout, Normaliser | None]:
    """A fitted probe as it was saved, with the normalisation of its states."""
    from safetensors.torch import load_file

    # Copied, for a file's tensors begin anywhere: products sum in another order where an operand does not begin at a multiple of 16
    # bytes, and a fit that was stored would give other last digits than one that was just made.
    tensors = {name: tensor.clone() for name, tensor in load_file(artifact / "fit.safetensors").items()}
    own = {name.removeprefix("readout."): tensor for name, tensor in tensors.items() if name.startswith("readout.")}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("readout.")}
    form = artifact.meta["normaliser"]
    normaliser = None if form is None else normalisers.restore(form, rest)
    return restore(artifact.meta["form"], own), normaliser
