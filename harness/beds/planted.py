"""Synthetic states with a known truth, a known distractor and a known XOR of both, and a class, a number and a vector if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import Meta

from harness.contracts import Bed, Factor

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

Strength = Annotated[float, Meta(ge=0)]

WORDS = ("banana", "shed")
COLOURS = ("red", "yellow", "green", "blue", "violet")
AXES = ("x", "y", "z")

_OF_EXAMPLES = 1_000_001
"""A layer that no bed has: what is drawn for an example is no noise of any."""


class Planted(Bed, frozen=True, kw_only=True):
    """States of no network: Gaussian noise with planted features, so that what a probe can find is known exactly.

    A pair-level factor h stands in the states of its members as h ⊕ c, where c tells x⁺ from x⁻: the form in which a
    method without labels can see it (Farquhar et al. 2023, theorem 1). Each feature is its own direction, ± strength,
    and grows with depth from nothing at layer 0. Strengths are in standard deviations of the noise.

    A prompt is five tokens: seed, example, truth, word, and which member it is. The noise is a hash of them, so that a
    row's state depends on nothing but its prompt. A class of five, a number and a vector of three are drawn for every example, too, and
    stand in the states as far as their strengths say, the same in both members. With `statements` a row is one member by itself: what x⁺
    would be.
    """

    layers: Annotated[int, Meta(ge=1, le=200)] = 4
    """Layers including layer 0, which holds the answer and no other feature."""
    d_model: Annotated[int, Meta(ge=4, le=16384)] = 64
    """Width of the states. With more dimensions than training rows, noise can be fitted perfectly."""
    truth: Strength = 4.0
    """Strength of truth ⊕ member at the last layer: which of both members is right."""
    distractor: Strength = 0.0
    """Strength of word ⊕ member: stronger than `truth`, it is what methods without labels find."""
    xor: Strength = 0.0
    """Strength of truth ⊕ word ⊕ member. With `truth: 0`, the truth is there but no linear probe can read it."""
    answer: Strength = 4.0
    """Strength of the member itself (has-yes), at all layers. Normalisation takes it away."""
    common: Strength = 0.0
    """Strength of the word by itself, the same in both members (has-banana): x⁺ − x⁻ does not have it, the pairs' midpoints
    do, so that rows can be clustered by it."""
    noise: Annotated[float, Meta(gt=0)] = 1.0
    """Standard deviation of each dimension's noise, drawn for every row and layer."""
    context: Strength = 1.0
    """Standard deviation of noise that both members of a pair share, as real pairs share a question."""
    world: Annotated[int, Meta(ge=0)] = 0
    """Seed of the directions."""
    statements: bool = False
    """Whether rows are statements, and no pairs."""
    colour: Strength = 0.0
    """Strength of a class of five, each of which has a direction of its own."""
    size: Strength = 0.0
    """Strength of a number, standard normal, along one direction."""
    place: Strength = 0.0
    """Strength of a vector of three standard normal numbers, each along a direction of its own."""
    only_at: Annotated[int, Meta(ge=0)] | None = None
    """The one layer that has the truth, the class, the number and the vector; by default they grow with depth."""

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), theorem 1"

    def __post_init__(self) -> None:
        if self.only_at is not None and self.only_at >= self.layers:
            raise ValueError(f"only_at: no layer {self.only_at}; this bed has layers 0 to {self.layers - 1}")

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The word, and what else has a strength."""
        others = (Factor("colour", COLOURS), Factor("size", kind="number"), Factor("place", AXES, "vector"))
        return (Factor("word", WORDS), *(one for one in others if getattr(self, one.name)))

    @property
    def views(self) -> int:  # type: ignore[override]
        return 1 if self.statements else 2

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.layers, self.d_model

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Balanced in truth and, within each truth, in the word. `count` rows in an order drawn from the seed; a larger
        count keeps the rows of a smaller one."""
        import polars as pl

        random = np.random.default_rng([0x91A7, seed])
        blocks = np.stack([random.permutation(4) for _ in range(-(-count // 4))]).ravel()[:count]
        truth, word = blocks // 2, blocks % 2
        names = [f"planted-{seed}-{number:06d}" for number in range(count)]
        # A statement is what x⁺ would be.
        tokens = {
            f"tokens_{view}": pl.Series(
                [[seed, number, int(t), int(w), member] for number, (t, w) in enumerate(zip(truth, word, strict=True))],
                dtype=pl.List(pl.UInt32),
            )
            for view, member in enumerate((1,) if self.statements else (0, 1))
        }
        drawn = _drawn(np.array([[seed, number] for number in range(count)], dtype=np.uint64).reshape(count, 2))
        known = {factor.name: drawn[factor.name].tolist() for factor in self.factors[1:]}
        return pl.DataFrame({"example": names, "group": names, "label": truth, "word": word, **known, **tokens})

    def states(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        import torch

        prompts = np.asarray(tokens, dtype=np.uint64).reshape(len(tokens), 5)
        truth, word, member = (prompts[:, column].astype(np.int64) for column in (2, 3, 4))
        features = np.stack([_side(truth ^ member ^ 1), _side(word ^ member ^ 1), _side(truth ^ word ^ member ^ 1)])
        strengths = np.array([self.truth, self.distractor, self.xor])
        directions = self.directions()
        planted = (features * strengths[:, None]).T @ directions[:3]
        answer = self.answer * np.outer(_side(member), directions[3])
        result = np.empty((self.layers, len(prompts), self.d_model), dtype=np.float32)
        others = self._others(prompts)
        for layer in range(self.layers):
            growth = layer / (self.layers - 1) if self.layers > 1 else 1.0
            if self.only_at is not None:
                growth = float(layer == self.only_at)
            own = self.noise * _normal(prompts, layer, self.d_model)
            shared = self.context * _normal(prompts[:, :2], layer, self.d_model) if self.context else 0.0
            result[layer] = growth * planted + answer + own + shared
            if others is not None:
                result[layer] += growth * others
            if self.common:
                result[layer] += growth * self.common * np.outer(_side(word), self.common_direction())
        return torch.from_numpy(result)

    def directions(self) -> np.ndarray:
        """Orthonormal directions of truth, distractor, XOR and answer, (4, d_model)."""
        random = np.random.default_rng([0xD1EC, self.world])
        return np.linalg.qr(random.standard_normal((self.d_model, 4)))[0].T

    def _others(self, prompts: np.ndarray) -> np.ndarray | None:
        """What class, number and vector add to the states where they stand in full, (row, d_model); None where nothing is asked for."""
        if not (self.colour or self.size or self.place):
            return None
        drawn, directions = _drawn(prompts[:, :2]), self.other_directions()
        colour = np.eye(len(COLOURS))[drawn["colour"]] * self.colour
        sizes = np.column_stack([colour, self.size * drawn["size"], self.place * drawn["place"]])
        found: np.ndarray = sizes @ directions
        return found

    def other_directions(self) -> np.ndarray:
        """Directions of the five classes, the number and the three components, orthonormal and orthogonal to `directions` as far as there are
        dimensions, (9, d_model)."""
        random = np.random.default_rng([0x07E2, self.world])
        own, taken = random.standard_normal((9, self.d_model)), self.directions()
        own -= own @ taken.T @ taken
        if self.d_model < 13:
            scaled: np.ndarray = own / np.linalg.norm(own, axis=1, keepdims=True)
            return scaled
        return np.linalg.qr(own.T)[0].T

    def common_direction(self) -> np.ndarray:
        """The unit direction of `common`, orthogonal to the others, (d_model,)."""
        random = np.random.default_rng([0xC0, self.world])
        own, others = random.standard_normal(self.d_model), self.directions()
        own -= own @ others.T @ others
        return own / np.linalg.norm(own)


def _drawn(keys: np.ndarray) -> dict[str, np.ndarray]:
    """By factor, what is drawn for each example: class (row,), number (row,), vector (row, 3). `keys` are seed and number, (row, 2)."""
    normal = _normal(keys, _OF_EXAMPLES, 6)
    # Five equally likely parts of a normal number.
    colour = np.searchsorted([-0.8416212, -0.2533471, 0.2533471, 0.8416212], normal[:, 0])
    return {"colour": colour.astype(np.int64), "size": normal[:, 1], "place": normal[:, 2:5]}


def _side(bit: np.ndarray) -> np.ndarray:
    """0 and 1 as −1.0 and 1.0."""
    return 2.0 * bit - 1.0


def _normal(keys: np.ndarray, layer: int, width: int) -> np.ndarray:
    """Standard normal numbers, (row, d_model), each a function of the row's key, the layer and the dimension only."""
    state = np.full(len(keys), layer + 1, dtype=np.uint64)
    for column in keys.T:
        state = _mix(state ^ column)
    half = -(-width // 2)
    counter = np.arange(2 * half, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mix(state[:, None] + counter)
    # Box and Muller: two uniform numbers, the first never 0, give two normal ones.
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2 * np.log(uniform[:, :half]))
    angle = 2 * np.pi * uniform[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :width]


def _mix(state: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit numbers in which every input bit moves every output bit (splitmix64's finaliser)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
