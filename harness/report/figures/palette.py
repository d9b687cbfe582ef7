"""One colour and one mark for each factor, the same in every figure and on the page, on light paper and on dark."""

from __future__ import annotations

from collections.abc import Mapping

INK: tuple[str, str] = ("#1f2328", "#e6edf3")
"""On light paper and on dark, as all colours here."""
QUIET: tuple[str, str] = ("#59636e", "#9198a1")
GRID: tuple[str, str] = ("#d8dee4", "#30363d")

# Okabe and Ito's hues, which colour-blind readers can tell apart, darker on light paper and lighter on dark; truth is always blue.
FACTORS: tuple[tuple[str, str], ...] = (
    ("#0072b2", "#4aa8e8"),
    ("#c8500a", "#f08a4b"),
    ("#00805c", "#3ecf9c"),
    ("#b0508a", "#e59cc6"),
    ("#8f6a00", "#e3b341"),
    ("#2a8fc9", "#7fd0ff"),
    ("#6f4fb5", "#b79cf0"),
    ("#7a5a3c", "#c9a27e"),
)
MARKS: tuple[str, ...] = (
    "m0 6a6 6 0 1 1 .1 0z",
    "m-5-5h10v10h-10z",
    "m-6 5h12l-6-11z",
    "m0-7l7 7l-7 7l-7-7z",
    "m-6-5h12l-6 11z",
    "m-2-7h4v5h5v4h-5v5h-4v-5h-5v-4h5z",
    "m-7-4l3-3l4 4l4-4l3 3l-4 4l4 4l-3 3l-4-4l-4 4l-3-3l4-4z",
    "m-7-1l7-6l7 6l-3 7h-8z",
)
"""Path data of each factor's mark around the place where it stands; disc, square, triangle and so on, twelve units wide."""


def variables(dark: bool) -> Mapping[str, str]:
    """CSS variables of all colours."""
    named = {"ink": INK, "quiet": QUIET, "grid": GRID, **{f"k{k}": pair for k, pair in enumerate(FACTORS)}}
    return {f"--{name}": pair[dark] for name, pair in named.items()}
