"""The forms that a fitted normalisation can take, and how each is kept as tensors.

A normalisation's `fit` returns one of these; fitting and storing know nothing of the method that made it. Statistics
are those of training rows; applying them looks at nothing but the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from harness.contracts import Normaliser, Pairs
from harness.errors import DataError, StoreError

if TYPE_CHECKING:
    from torch import Tensor


class ShiftScale(Normaliser, frozen=True):
    """x ↦ (x − shift) · scale, one for all templates."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "shift": ("layer", "1", "view", "d_model"),
        "scale": ("layer", "1", "view", "d_model"),
    }

    shift: Tensor
    """(layer, 1, view, d_model)."""
    scale: Tensor
    """(layer, 1, view, d_model)."""

    def __call__(self, pairs: Pairs) -> Pairs:
        return replace(pairs, states=(pairs.states - self.shift) * self.scale)


class ShiftScaleByTemplate(Normaliser, frozen=True):
    """x ↦ (x − shift) · scale, by template. Refuses templates without training rows, whose statistics are NaN."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "shift": ("layer", "template", "view", "d_model"),
        "scale": ("layer", "template", "view", "d_model"),
    }

    shift: Tensor
    """(layer, template, view, d_model)."""
    scale: Tensor
    """(layer, template, view, d_model)."""

    def __call__(self, pairs: Pairs) -> Pairs:
        known = self.shift[0, :, 0, 0].isfinite()
        refuse_unseen(pairs, [number for number, seen in enumerate(known.tolist()) if seen])
        # Indexing by template broadcasts without a copy of the statistics when there is one template only.
        if len(known) == 1:
            shift, scale = self.shift, self.scale
        else:
            shift, scale = self.shift[:, pairs.template], self.scale[:, pairs.template]
        # In place on the new tensor: states are the largest thing in memory.
        return replace(pairs, states=(pairs.states - shift).mul_(scale))


class ShiftByCluster(Normaliser, frozen=True):
    """x ↦ x − the mean of a cluster of training rows: the one that the nearest training row of its template is in.

    Rows are near when the midpoints of their pairs are, ½ (x⁺ + x⁻).
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "midpoint": ("layer", "training_row", "d_model"),
        "template": ("training_row",),
        "cluster": ("layer", "training_row"),
        "shift": ("layer", "cluster", "view", "d_model"),
    }

    midpoint: Tensor
    """Midpoints of the training pairs, (layer, pair, d_model)."""
    template: Tensor
    """Their templates, int64, (pair,)."""
    cluster: Tensor
    """The row of `shift` that each belongs to, int64, (layer, pair). Outliers of a template have one of their own."""
    shift: Tensor
    """(layer, cluster, view, d_model); layers with fewer clusters have zeros at the end."""

    def __call__(self, pairs: Pairs) -> Pairs:
        import torch

        refuse_unseen(pairs, self.template.unique().tolist())
        states = pairs.states.clone()
        for layer in range(len(states)):
            own = states[layer]
            middle = own.mean(dim=1)
            for template in pairs.template.unique().tolist():
                rows = (pairs.template == template).nonzero()[:, 0]
                known = (self.template == template).nonzero()[:, 0]
                # Not by products: a training row must be at distance zero from itself, to be in its own cluster.
                far = torch.cdist(
                    middle[rows], self.midpoint[layer, known], compute_mode="donot_use_mm_for_euclid_dist"
                )
                own[rows] -= self.shift[layer, self.cluster[layer, known[far.argmin(dim=1)]]]
        return replace(pairs, states=states)


class Erased(Normaliser, frozen=True):
    """x ↦ x − shift − Σ left · (right · (x − centre)): what some functionals read is taken out along some directions."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "left": ("layer", "rank", "d_model"),
        "right": ("layer", "rank", "d_model"),
        "centre": ("layer", "view", "d_model"),
        "shift": ("layer", "view", "d_model"),
        "templates": ("template",),
    }

    left: Tensor
    """Float64, (layer, rank, d_model)."""
    right: Tensor
    """Float64, (layer, rank, d_model)."""
    centre: Tensor
    """(layer, view, d_model)."""
    shift: Tensor
    """(layer, view, d_model)."""
    templates: Tensor
    """Templates that it was fitted on, int64, (template,)."""

    def __call__(self, pairs: Pairs) -> Pairs:
        import torch

        refuse_unseen(pairs, self.templates.tolist())
        states = torch.empty_like(pairs.states)
        for layer, own in enumerate(pairs.states):
            # In float64: a supervised probe would find what rounding leaves along `left`, small as it is, as all that
            # tells the classes apart.
            rows = own.double() - self.centre[layer]
            rows -= rows @ self.right[layer].T @ self.left[layer]
            states[layer] = rows + (self.centre[layer] - self.shift[layer])
        return replace(pairs, states=states)


class LayersTogether(Normaliser, frozen=True):
    """Rows of several layers as those of one: x ↦ x(layer) · scale(layer), side by side or their mean. States are those of all layers that
    are kept, or of the chosen ones alone."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "chosen": ("several",),
        "scale": ("several",),
        "averaged": ("1",),
    }

    chosen: Tensor
    """Places on the layer axis, ascending, int64, (several,)."""
    scale: Tensor
    """Float32, (several,)."""
    averaged: Tensor
    """1 where a row is the mean, uint8, (1,)."""

    def __call__(self, pairs: Pairs) -> Pairs:
        states = pairs.states if len(pairs.states) == len(self.chosen) else pairs.states[self.chosen]
        states = states * self.scale[:, None, None, None]
        one = states.mean(dim=0) if bool(self.averaged) else states.permute(1, 2, 0, 3).flatten(2)
        return replace(pairs, states=one[None], grain=None)


class Chain(Normaliser, frozen=True):
    """Several maps, one after another."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"parts": ("layer",)}

    parts: tuple[Normaliser, ...]

    @classmethod
    def of(cls, *maps: Normaliser) -> Chain:
        """The maps one after another; a chain among them is taken apart."""
        return cls(tuple(part for one in maps for part in (one.parts if isinstance(one, Chain) else (one,))))

    def __call__(self, pairs: Pairs) -> Pairs:
        for part in self.parts:
            pairs = part(pairs)
        return pairs

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": tensor
            for number, part in enumerate(self.parts)
            for name, tensor in part.tensors().items()
        }


_FORMS: dict[str, type[Normaliser]] = {
    "shift_scale": ShiftScale,
    "shift_scale_by_template": ShiftScaleByTemplate,
    "shift_by_cluster": ShiftByCluster,
    "erased": Erased,
    "together": LayersTogether,
}


def form_of(normaliser: Normaliser) -> str:
    """The name under which `restore` knows this form; those of a chain are joined by `+`."""
    if isinstance(normaliser, Chain):
        return "+".join(form_of(part) for part in normaliser.parts)
    return next(name for name, form in _FORMS.items() if type(normaliser) is form)


def restore(form: str, tensors: Mapping[str, Tensor]) -> Normaliser:
    """The normaliser whose `tensors()` these are. Raises StoreError when one is missing or too many."""
    names = form.split("+")
    if len(names) > 1:
        parts = [
            {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")}
            for number in range(len(names))
        ]
        return Chain(tuple(restore(name, part) for name, part in zip(names, parts, strict=True)))
    if form not in _FORMS:
        raise StoreError(f'a stored normalisation has the unknown form "{form}"; known: {", ".join(_FORMS)}')
    needed = _FORMS[form].__struct_fields__
    if set(tensors) != set(needed):
        raise StoreError(
            f"a stored {form} normalisation has the tensors {', '.join(sorted(tensors)) or 'none'} but needs "
            f"{', '.join(needed)}; delete it with `harness store prune` and run again"
        )
    return _FORMS[form](**tensors)


def refuse_unseen(pairs: Pairs, known: list[int]) -> None:
    """Raises DataError where a template has no training rows."""
    for template in pairs.template.unique().tolist():
        if template not in known:
            raise DataError(
                f"template {template} has no training rows, so its states cannot be normalised; use the same "
                "templates in all splits, or `normalise: none`"
            )
