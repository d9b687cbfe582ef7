"""A loaded network, and what is read from it: the residual stream at chosen places, and the probability of answers.

The blocks are found by shape, not by name, so that one piece of code serves every family. Hooks take the wanted places
of each layer while the pass runs, and nothing else is kept. Layer 0 is the input of the first block and layer i the output
of block i. That is Hugging Face's `hidden_states` but for the last entry, which there comes after the final norm.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.card import ModelCard
from harness.models.unchanged import unchanged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Gather = Callable[[Tensor], Tensor]
"""Takes a layer's states, (batch, token, d_model), and gives those that are wanted, (row, d_model)."""


Past = list[tuple[Tensor, Tensor]]
"""Keys and values of tokens that were forwarded before, for each block, (text, head, token, d_head)."""


class _Deep(Exception):
    """Ends a forward pass early, once all wanted layers are read; raised in a hook, no error."""


class Read:
    """The states, and maybe logits, of one forward pass."""

    def __init__(self, layers: Sequence[int]):
        self.layers = tuple(layers)
        self.found: dict[int, Tensor] = {}
        self.logits: Tensor | None = None
        """At the places asked for, (place, vocabulary)."""

    @property
    def states(self) -> Tensor:
        """(layer, row, d_model), in the order of `layers`."""
        return torch.stack([self.found[layer] for layer in self.layers])


class Network:
    """A model in evaluation mode."""

    def __init__(self, model: PreTrainedModel, card: ModelCard):
        self.model = model
        self.card = card
        self.stack = _stack(model, card)
        self.blocks = _blocks(self.stack, card)
        self.head = model.get_output_embeddings() if card.has_head else None
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self.bidirectional = card.stacks == "encoder-only"
        self.two_stacks = card.stacks == "encoder-decoder" and card.side == "decoder"
        self.cache_argument = cache_argument(model)
        self.adds_mask = getattr(model.config, "_attn_implementation", "sdpa") == "eager"
        self.pad_token = _token(model, "pad_token_id") or 0
        self.eos_token = _token(model, "eos_token_id")
        self.decoder_start = _token(model, "decoder_start_token_id") or 0

    def read(
        self,
        inputs: dict[str, Any],
        layers: Sequence[int],
        gather: Gather,
        heads_at: Tensor | None = None,
    ) -> Read:
        """One forward pass. Stops after the deepest of `layers` unless `heads_at` asks for logits.

        `heads_at` holds places in the flattened (batch, token) grid, int64, (place,).
        """
        out = Read(layers)
        whole = heads_at is not None and self.head is not None
        deepest = None if whole else max(layers)
        with torch.inference_mode(), unchanged(self.model), self._listening(out, gather, deepest):
            try:
                if not whole:
                    body = self._body()
                    body(**inputs, **_switches(body))
                else:
                    assert heads_at is not None
                    with self.head_at(heads_at):
                        # With the head's input cut down to a few places, so is all that the model does after it.
                        out.logits = self.model(**inputs, **_switches(self.model)).logits[0]
            except _Deep:
                pass
        missing = [layer for layer in layers if layer not in out.found]
        if missing:
            raise HarnessError(f"{self.card.name}: the forward pass never reached layer {missing[0]}")
        return out

    def remember(self, inputs: dict[str, Any], layers: Sequence[int] = ()) -> tuple[Past, Read]:
        """Keys and values of every block for some texts, and all states at some layers, (text, token, d_model)."""
        from transformers import DynamicCache

        cache, out, body = DynamicCache(), Read(layers), self._body()
        with torch.inference_mode(), unchanged(self.model), self._listening(out, lambda states: states, None):
            body(**inputs, use_cache=True, **{cache_argument(body): cache})
        # The layers of a cache without a configuration are plain ones, and filled.
        return [(layer.keys, layer.values) for layer in cache.layers], out  # type: ignore[misc, union-attr]

    def recalling(self, past: Past, count: int, sees: Tensor) -> dict[str, Any]:
        """Inputs of a pass that begins with `past` for each of `count` sequences; `past` is of as many, or of one.

        `sees`, bool, (sequence, token, past + token), says who sees whom. The cache is added to by a pass: it serves once.
        """
        from transformers import DynamicCache

        found: dict[str, Any] = {"attention_mask": self.mask(sees)}
        if past:
            cache = DynamicCache()
            for number, (keys, values) in enumerate(past):
                cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), number)
            found[self.cache_argument] = cache
        return found

    def mask(self, sees: Tensor) -> Tensor:
        """The attention mask in the form that the network takes, (sequence, 1, token, token): plain attention adds its mask to the
        scores; the fused kernels take the truth values."""
        if not self.adds_mask:
            return sees[:, None]
        added = torch.zeros(sees.shape, dtype=self.dtype, device=sees.device)
        return added.masked_fill_(~sees, torch.finfo(self.dtype).min)[:, None]

    def _body(self) -> nn.Module:
        """What to call when no logits are wanted."""
        if self.card.stacks == "encoder-decoder":
            return self.stack if self.card.side == "encoder" else self.model
        return self.model.base_model

    @contextmanager
    def _listening(self, out: Read, gather: Gather, deepest: int | None) -> Iterator[None]:
        """Hooks on the wanted layers, taken away again at the end."""

        def keep(layer: int, states: Tensor) -> None:
            out.found[layer] = gather(states)
            if layer == deepest:
                raise _Deep

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(0, args[0] if args else kwargs["hidden_states"])

        def after(layer: int) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, args: Any, output: Any) -> None:
                keep(layer, output if isinstance(output, Tensor) else output[0])

            return hook

        hooks = []
        try:
            for layer in out.layers:
                if layer == 0:
                    hooks.append(self.blocks[0].register_forward_pre_hook(before, with_kwargs=True))
                else:
                    hooks.append(self.blocks[layer - 1].register_forward_hook(after(layer)))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def head_at(self, places: Tensor, vocabulary: Tensor | None = None) -> Iterator[None]:
        """The language-model head sees only these places, int64, (place,), of the flattened (sequence, token) grid, as one sequence
        of a batch of one; and gives the logits of some tokens of the vocabulary, or of all."""
        head = self.head
        assert head is not None, "a network without a head has no answer"

        def before(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            states = args[0]
            return (states.reshape(-1, states.shape[-1]).index_select(0, places.to(states.device))[None],)

        kept = head.__dict__.get("forward")
        hook = head.register_forward_pre_hook(before)
        try:
            if vocabulary is not None:
                some = vocabulary.to(head.weight.device)
                weight = head.weight[some]
                bias = None if head.bias is None else head.bias[some]
                head.forward = lambda states: nn.functional.linear(states, weight, bias)
            yield
        finally:
            hook.remove()
            if vocabulary is not None:
                if kept is None:
                    del head.forward
                else:
                    head.forward = kept


def cache_argument(module: nn.Module) -> str:
    """The name under which a network takes keys and values of earlier tokens.

    It is `cache` in recent versions of transformers and `past_key_values` in earlier ones, which recent ones warn of.
    """
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _token(model: PreTrainedModel, name: str) -> int | None:
    """A special token's id, from either configuration; the first where there are several."""
    for config in (model.config, getattr(model, "generation_config", None)):
        found = getattr(config, name, None)
        if isinstance(found, (list, tuple)):
            found = found[0] if found else None
        if found is not None:
            return int(found)
    return None


def _switches(module: nn.Module) -> dict[str, bool]:
    # A cache is of no use in one pass, and filling it costs memory.
    return {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}


def _stack(model: PreTrainedModel, card: ModelCard) -> nn.Module:
    """The part of the model that holds the blocks which are read."""
    if card.stacks != "encoder-decoder":
        return model
    return model.get_encoder() if card.side == "encoder" else model.get_decoder()


def _blocks(stack: nn.Module, card: ModelCard) -> nn.ModuleList:
    """The outermost list of as many modules as the configuration has blocks."""
    found = [
        (name.count("."), name, module)
        for name, module in stack.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == card.blocks
    ]
    if not found:
        raise HarnessError(
            f"{card.name}: cannot find its {card.blocks} blocks in a {type(stack).__name__}; this architecture "
            f"({card.family}) is not supported"
        )
    return min(found, key=lambda entry: entry[:2])[2]
