"""Sparse autoencoders that somebody published, in the form of the library SAELens: a folder with `cfg.json` and `sae_weights.safetensors`.

Nothing is run and nothing unpickled: the configuration is read as JSON, the weights as safetensors, of which all sizes are checked against it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.models.fingerprint import file_sha256
from harness.untrusted.files import is_irregular, read_json
from harness.untrusted.paths import own_path

if TYPE_CHECKING:
    from torch import Tensor

CONFIGURATION = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
LARGEST_CONFIGURATION = 2**20
FORMATS = ("F64", "F32", "F16", "BF16")
"""Number formats of weights, as safetensors names them; all are read as float32."""

_ARCHITECTURES = ("standard", "gated", "jumprelu", "topk")
_RELU = ("relu", "topk")
_NORMALISED = ("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm")


class PublishedAutoencoder(msgspec.Struct, frozen=True, dict=True):
    """One folder, as its configuration describes it. `encoded` reads the weights."""

    name: str
    """As the spec has it."""
    folder: Path
    architecture: str
    width: int
    """Dimensions of a state."""
    dictionary: int
    """Features."""
    k: int | None
    """Features of a state, of `topk`."""
    centres: bool
    """Whether the decoder's bias is subtracted from a state first."""
    normalises: str
    """What is done with a state before that."""
    hook: str
    """Where states are read, in the words of whoever trained it; empty if it does not say."""

    @cached_property
    def identity(self) -> str:
        """A hash of both files."""
        return f"{file_sha256(self.folder / CONFIGURATION)}-{file_sha256(self.folder / WEIGHTS)}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that its architecture has."""
        vector = (self.dictionary,)
        every = {
            "W_enc": (self.width, self.dictionary),
            "W_dec": (self.dictionary, self.width),
            "b_dec": (self.width,),
        }
        if self.architecture == "gated":
            return every | {"b_gate": vector, "b_mag": vector, "r_mag": vector}
        return every | {"b_enc": vector} | ({"threshold": vector} if self.architecture == "jumprelu" else {})

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """All tensors, float32. Raises UsageError for a file that is no safetensors, and for tensors that are missing, more, of another size or
        not finite."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / WEIGHTS
        if is_irregular(path) or not path.is_file():
            raise UsageError(f"{self.name}: there is no {WEIGHTS} in it; pickled weights are not read")
        try:
            with safe_open(path, framework="pt") as opened:
                sizes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
                formats = {name: opened.get_slice(name).get_dtype() for name in sizes}
                if sizes != self.shapes:
                    wrong = sorted(name for name in {*sizes, *self.shapes} if sizes.get(name) != self.shapes.get(name))
                    said = "; ".join(
                        f"{name} is {sizes.get(name, 'missing')}, {self.shapes.get(name, 'none')} is due"
                        for name in wrong[:4]
                    )
                    raise UsageError(
                        f"{self.name}/{WEIGHTS}: not the weights that {CONFIGURATION} describes ({self.architecture}): {said}"
                    )
                if other := sorted({one for one in formats.values() if one not in FORMATS}):
                    raise UsageError(f"{self.name}/{WEIGHTS}: numbers in {', '.join(other)}; save them in float32")
                found = {name: opened.get_tensor(name).float() for name in sizes}
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{self.name}/{WEIGHTS}: not a readable safetensors file: {error}") from error
        for name, tensor in found.items():
            if not bool(tensor.isfinite().all()):
                raise UsageError(f"{self.name}/{WEIGHTS}: {name} has numbers that are not finite")
        return found

    def encoded(self, states: Tensor) -> Tensor:
        """What each feature is at states (row, d_model), float32, (row, feature)."""
        own = self.weights
        if self.normalises == "constant_norm_rescale":
            states = states * (self.width**0.5 / states.norm(dim=1, keepdim=True))
        elif self.normalises == "layer_norm":
            states = states - states.mean(dim=1, keepdim=True)
            states = states / (states.std(dim=1, keepdim=True) + 1e-5)
        if self.centres:
            states = states - own["b_dec"]
        products = states @ own["W_enc"]
        if self.architecture == "gated":
            magnitudes = states @ (own["W_enc"] * own["r_mag"].exp()) + own["b_mag"]
            return (products + own["b_gate"] > 0) * magnitudes.relu()
        products = products + own["b_enc"]
        if self.architecture == "jumprelu":
            return products.relu() * (products > own["threshold"])
        if self.k is None:
            return products.relu()
        largest = products.topk(self.k, dim=1)
        return products.new_zeros(products.shape).scatter_(1, largest.indices, largest.values.relu())


def describe_autoencoder(name: str, base: Path) -> PublishedAutoencoder:
    """The autoencoder in a folder; a relative name starts at `base`. No weights are read. Raises UsageError for what is none, or is done in a way that
    this program does not know."""
    folder = own_path(name)
    folder = folder if folder.is_absolute() else base / folder
    try:
        raw = read_json(folder / CONFIGURATION, LARGEST_CONFIGURATION)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{name}: there is no {CONFIGURATION} in it; name a folder with {CONFIGURATION} and {WEIGHTS}, as SAELens saves it"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}/{CONFIGURATION}: not readable: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{name}/{CONFIGURATION}: not a mapping of options")
    return PublishedAutoencoder(name=name, folder=folder, **_understood(raw, f"{name}/{CONFIGURATION}"))


def _understood(raw: dict[str, Any], title: str) -> dict[str, Any]:
    """The fields of the configuration, of either age of the form; whatever else would change what features are is refused."""
    architecture = raw.get("architecture", "standard")
    options = raw.get("activation_fn_kwargs") or {}
    function = raw.get("activation_fn", raw.get("activation_fn_str", "relu"))
    if architecture == "standard" and function == "topk":
        architecture = "topk"
    meta = raw.get("metadata", raw.get("meta")) or {}
    k = raw.get("k", options.get("k") if isinstance(options, dict) else None) if architecture == "topk" else None
    known = {
        "architecture": (architecture, _ARCHITECTURES),
        "activation_fn": (function, _RELU if architecture == "topk" else ("relu",)),
        "normalize_activations": (raw.get("normalize_activations", "none"), _NORMALISED),
        "reshape_activations": (raw.get("reshape_activations", "none"), ("none",)),
        "finetuning_scaling_factor": (raw.get("finetuning_scaling_factor") or False, (False,)),
        "rescale_acts_by_decoder_norm": (raw.get("rescale_acts_by_decoder_norm") or False, (False,)),
    }
    for option, (value, values) in known.items():
        if value not in values:
            said = ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
            raise UsageError(f"{title}: `{option}` is {str(value)[:60]!r}, and this program knows {said}")
    sizes = {"d_in": raw.get("d_in"), "d_sae": raw.get("d_sae")} | ({"k": k} if architecture == "topk" else {})
    for option, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 2**24:
            raise UsageError(f"{title}: `{option}` is {str(size)[:60]!r}, which is no size")
    if k is not None and k > sizes["d_sae"]:
        raise UsageError(f"{title}: `k` is {k}, more than the {sizes['d_sae']} features there are")
    hook = raw.get("hook_name", meta.get("hook_name", "") if isinstance(meta, dict) else "")
    return {
        "architecture": architecture,
        "width": sizes["d_in"],
        "dictionary": sizes["d_sae"],
        "k": k,
        "centres": bool(raw.get("apply_b_dec_to_input", True)),
        "normalises": raw.get("normalize_activations", "none"),
        "hook": str(hook or "")[:200],
    }
