"""Sites: where in a block a state can be read, found by structure and by one pass of tokens without values.

| site | what is read of block i |
| --- | --- |
| `residual` | the residual stream after it |
| `before_block` | the residual stream before it |
| `after_attention` | the residual stream between attention and MLP: where they work one after the other, and each adds to the stream |
| `attention` | what the attention's last linear map gives, before a norm that may follow |
| `mlp` | what the MLP's last linear map gives, before a norm that may follow; of a mixture of experts, what all of them give |
| `neurons` | what goes into the MLP's last linear map, (token, d_mlp) |
| `head` | what goes into the attention's last linear map, heads one after the other, (token, heads × d_head): one head is a part of it |

The block's own attention is meant: what looks at another stack or at images is left aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from torch import nn

Side = Literal["in", "out"]
"""Whether what goes into a module is read, or what comes out of it."""

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_ELSEWHERE = re.compile(r"cross|enc_?dec|encoder_attn|encdec", re.IGNORECASE)
_NORM = re.compile(r"norm|(^|\.)ln_?\w{0,3}$", re.IGNORECASE)
_EXPERTS = re.compile(r"expert|moe|router", re.IGNORECASE)

_FEW = 4
"""Tokens of the pass."""


class Tap(msgspec.Struct, frozen=True):
    """The place of a site in every block."""

    module: str
    """Name within the block; empty for the block itself."""
    side: Side
    width: int
    """Numbers of a state."""


class _Parts(msgspec.Struct, frozen=True):
    """Linear maps of a block, by name; empty where there is none."""

    attention: str
    mlp: str
    first_of_mlp: str
    experts: str
    """The part that has a mixture of experts."""


def sites_of(blocks: Sequence[nn.Module], body: nn.Module, d_model: int) -> dict[str, Tap]:
    """The sites that every block has which has any, besides the residual stream after it. The network may be on `meta`."""
    with_parts = [(block, parts) for block in blocks if any(msgspec.structs.astuple(parts := _parts(block, d_model)))]
    found = {"before_block": Tap("", "in", d_model)}
    if not with_parts or len({parts for _, parts in with_parts}) > 1:
        return found
    block, parts = with_parts[0]
    if parts.attention:
        found["attention"] = Tap(parts.attention, "out", d_model)
        found["head"] = Tap(parts.attention, "in", _width_into(block.get_submodule(parts.attention)))
    if parts.mlp:
        found["mlp"] = Tap(parts.mlp, "out", d_model)
        found["neurons"] = Tap(parts.mlp, "in", _width_into(block.get_submodule(parts.mlp)))
    elif parts.experts:
        found["mlp"] = Tap(parts.experts, "out", d_model)
    if parts.attention and (parts.first_of_mlp or parts.experts):
        between = _between(block, parts, body)
        if between is not None:
            found["after_attention"] = Tap(between[0], between[1], d_model)
    return found


def _parts(block: nn.Module, d_model: int) -> _Parts:
    attention, others, experts = "", [], ""
    for name, module in block.named_modules():
        weight = getattr(module, "weight", None)
        if not experts and name and (_EXPERTS.search(name) or _EXPERTS.search(type(module).__name__)):
            # The part of the block that has them: with them, what is shared by all tokens.
            experts = name.split(".")[0]
        if getattr(weight, "ndim", 0) != 2 or any(True for _ in module.children()) or _looks_up(module):
            continue
        own = _is_attention(block, name)
        if _ELSEWHERE.search(name):
            continue
        if own and _width_out(module) == d_model:
            attention = name
        elif not own:
            others.append(name)
    inside = [name for name in others if experts and name.split(".")[0] == experts]
    others = [name for name in others if name not in inside]
    last = next((name for name in reversed(others) if _width_out(block.get_submodule(name)) == d_model), "")
    if experts:
        return _Parts(attention, "", "", experts)
    return _Parts(attention, last, others[0] if last else "", "")


def _is_attention(block: nn.Module, name: str) -> bool:
    """Whether a module is in a part of the block that is called attention, by its name or its class's."""
    steps = name.split(".")
    for end in range(1, len(steps)):
        part = block.get_submodule(".".join(steps[:end]))
        if _ATTENTION.search(steps[end - 1]) or _ATTENTION.search(type(part).__name__):
            return True
    return False


def _looks_up(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Embedding)


def _width_out(module: nn.Module) -> int:
    return int(getattr(module, "out_features", getattr(module, "nf", 0)))


def _width_into(module: nn.Module) -> int:
    return int(getattr(module, "in_features", getattr(module, "nx", 0)))


def _between(block: nn.Module, parts: _Parts, body: nn.Module) -> tuple[str, Side] | None:
    """Where the stream between attention and MLP passes: into the last norm before the MLP, or out of it where norms follow
    the sums. None where the MLP does not work on what the attention has changed, and where nobody can say.
    """
    import torch

    calls: list[tuple[str, Any, Any]] = []
    entered: list[Any] = []

    def called(name: str) -> Any:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            calls.append((name, args[0] if args else next(iter(kwargs.values()), None), output))

        return note

    def enters(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[0] if args else kwargs.get("hidden_states"))

    hooks = [block.register_forward_pre_hook(enters, with_kwargs=True)]
    hooks += [module.register_forward_hook(called(name), with_kwargs=True) for name, module in block.named_modules()]
    try:
        if not _passed(body, calls, entered):
            return None
    finally:
        for hook in hooks:
            hook.remove()
    # Of a block that is passed several times, the first time.
    end = next((number for number, (name, _, _) in enumerate(calls) if not name), None)
    if end is None:
        return None
    names = [name for name, _, _ in calls[: end + 1]]
    begins = next(
        (name for name in names if name == parts.first_of_mlp or name.split(".")[0] == parts.experts != ""), ""
    )
    if parts.attention not in names or not begins or names.index(begins) < names.index(parts.attention):
        return None
    norms = [
        call
        for call in calls[names.index(parts.attention) + 1 : names.index(begins)]
        if _NORM.search(call[0]) and isinstance(call[2], torch.Tensor)
    ]
    if not norms:
        return None
    name, into, _ = norms[-1]
    if into is entered[0]:
        return None
    whole = calls[end][2]
    passed_on = whole if isinstance(whole, torch.Tensor) else whole[0]
    follow = any(_NORM.search(name) and output is passed_on for name, _, output in calls[:end])
    return name, "out" if follow else "in"


def _passed(body: nn.Module, *noted: list[Any]) -> bool:
    """Whether a few tokens pass, in one of the forms in which networks take them without looking at values. `noted` is of the last try."""
    import inspect

    import torch

    device = next(body.parameters()).device
    tokens = torch.zeros(1, _FEW, dtype=torch.int64, device=device)
    taken = inspect.signature(body.forward).parameters
    inputs: dict[str, Any] = {"input_ids": tokens} | ({"use_cache": False} if "use_cache" in taken else {})
    inputs |= {"decoder_input_ids": tokens} if "decoder_input_ids" in taken else {}
    everything = torch.ones(1, 1, _FEW, _FEW, dtype=torch.bool, device=device)
    for mask in (everything, everything[0, 0, :1], None):
        try:
            for notes in noted:
                notes.clear()
            body(**inputs, **({} if mask is None else {"attention_mask": mask}))
            return True
        # What looks at values cannot be passed without them.
        except Exception:
            continue
    return False
