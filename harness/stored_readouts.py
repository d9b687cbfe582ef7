"""How fitted probes are kept: the tensors of each form, their axes, and how they are cut and joined along layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import normalisers
from harness.contracts import Normaliser, Readout
from harness.detections import GaussianReadout, IsolationReadout, JointGaussianReadout, NeighbourReadout
from harness.errors import StoreError
from harness.readouts import (
    ConsistentReadout,
    ContrastReadout,
    EnsembleReadout,
    HiddenReadout,
    LinearReadout,
    ThresholdReadout,
)
from harness.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor

_FORMS: dict[str, type] = {
    "linear": LinearReadout,
    "consistent": ConsistentReadout,
    "contrast": ContrastReadout,
    "hidden": HiddenReadout,
    "threshold": ThresholdReadout,
    "ensemble": EnsembleReadout,
    "gaussian": GaussianReadout,
    "joint_gaussian": JointGaussianReadout,
    "neighbours": NeighbourReadout,
    "isolation": IsolationReadout,
}
_RESTARTS: dict[str, tuple[str, ...]] = {
    "restart_direction": ("seed", "restart", "layer", "d_model"),
    "restart_bias": ("seed", "restart", "layer"),
    "restart_loss": ("seed", "restart", "layer"),
    "chosen": ("seed", "layer"),
}
_SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
    "linear": {"weight": ("seed", "layer", "2", "d_model"), "bias": ("seed", "layer"), "calibrated": ("1",)},
    "consistent": _RESTARTS,
    "contrast": _RESTARTS,
    "hidden": {
        "weight": ("seed", "layer", "hidden", "2", "d_model"),
        "hidden_bias": ("seed", "layer", "hidden"),
        "second": ("seed", "layer", "hidden"),
        "bias": ("seed", "layer"),
    },
    "threshold": {"threshold": ("seed", "1")},
    "ensemble": {"threshold": ("seed", "template"), "template": ("template",), "votes": ("1",)},
    "gaussian": {
        "sides": ("side", "2"),
        "mean": ("seed", "layer", "gaussian", "feature"),
        "axes": ("seed", "layer", "gaussian", "rank", "feature"),
        "precision": ("seed", "layer", "gaussian", "rank"),
        "rest": ("seed", "layer", "gaussian"),
        "bias": ("seed", "layer"),
    },
    "joint_gaussian": {
        "weight": ("seed", "layer", "2", "d_model"),
        "mean": ("seed", "layer"),
        "whiten": ("seed", "layer", "layer"),
        "bias": ("seed", "layer"),
    },
    "neighbours": {
        "sides": ("side", "2"),
        "rows": ("layer", "row", "feature"),
        "reach": ("layer", "row"),
        "density": ("layer", "row"),
        "neighbours": ("1",),
        "bias": ("seed", "layer"),
    },
    "isolation": {
        "sides": ("side", "2"),
        "feature": ("seed", "layer", "tree", "node"),
        "threshold": ("seed", "layer", "tree", "node"),
        "depth": ("seed", "layer", "tree", "node"),
        "usual": ("1",),
        "bias": ("seed", "layer"),
    },
}
_DTYPES = {
    "calibrated": "uint8",
    "chosen": "int64",
    "neighbours": "int64",
    "feature": "int32",
    "template": "int64",
    "votes": "uint8",
}
"""Those that are not float32."""


def joined(parts: Sequence[Readout]) -> Readout:
    """One readout of all layers from those of some, in order. What has no layers is that of the first."""
    import torch

    form = form_of(parts[0])
    tensors = [part.tensors() for part in parts]
    whole = {
        name: torch.cat([own[name] for own in tensors], dim=axes.index("layer"))
        if "layer" in axes
        else tensors[0][name]
        for name, axes in _SHAPES[form].items()
    }
    return restore(form, whole)


def at_layers(readout: Readout, places: Sequence[int]) -> Readout:
    """The same at some layers, given by their places on the layer axis."""
    import torch

    form = form_of(readout)
    index = torch.tensor(list(places))
    some = {
        name: tensor.index_select(_SHAPES[form][name].index("layer"), index)
        if "layer" in _SHAPES[form][name]
        else tensor
        for name, tensor in readout.tensors().items()
    }
    return restore(form, some)


def form_of(readout: Readout) -> str:
    """The name under which `restore` knows this form."""
    return next(name for name, form in _FORMS.items() if type(readout) is form)


def restore(form: str, tensors: Mapping[str, Tensor]) -> Readout:
    """The readout whose `tensors()` these are. Raises StoreError when one is missing, too many, or not as it should be."""
    if form not in _FORMS:
        raise StoreError(f'a stored probe has the unknown form "{form}"; known: {", ".join(_FORMS)}')
    shapes = _SHAPES[form]
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
    readout: Readout = _FORMS[form](**tensors)
    return readout


def _check_tensor(form: str, name: str, tensor: Tensor, axes: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Checks dtype, axes and finiteness; `sizes` collects the length of each named axis, which must agree."""
    dtype = _DTYPES.get(name, "float32")
    fits = (
        str(tensor.dtype) == f"torch.{dtype}"
        and tensor.ndim == len(axes)
        and all(sizes.setdefault(axis, size) == size > 0 for axis, size in zip(axes, tensor.shape, strict=True))
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
    from safetensors.torch import load_file

    tensors = load_file(artifact / "fit.safetensors")
    own = {name.removeprefix("readout."): tensor for name, tensor in tensors.items() if name.startswith("readout.")}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("readout.")}
    form = artifact.meta["normaliser"]
    normaliser = None if form is None else normalisers.restore(form, rest)
    return restore(artifact.meta["form"], own), normaliser
