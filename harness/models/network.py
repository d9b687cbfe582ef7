"""A loaded network, and what is read from it: states at chosen sites and places, and the probability of answers.

The blocks are found by shape, not by name, so that one piece of code serves every family. Hooks take the wanted places
of each layer while the pass runs, and nothing else is kept. Layer 0 is the input of the first block and layer i the output
of block i. That is Hugging Face's `hidden_states` but for the last entry, which there comes after the final norm.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.machine.resources import memory_ran_out
from harness.models.architecture import reason
from harness.models.card import ModelCard
from harness.models.quiet import quiet_transformers
from harness.models.special_tokens import decoder_start, token
from harness.models.stack import blocks_of, text_body, text_stack
from harness.models.tapping import Gather, Read, numbered, tapping
from harness.models.unchanged import unchanged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Past = list[tuple[Tensor, Tensor]]
"""Keys and values of tokens that were forwarded before, for each block, (text, head, token, d_head)."""


_TRIED = 4
"""Tokens on which a network is tried when it has been loaded."""


class _Deep(Exception):
    """Ends a forward pass early, once all wanted layers are read; raised in a hook, no error."""


def every_state(states: Tensor) -> Tensor:
    """A gather that takes all."""
    return states


class Network:
    """A model in evaluation mode."""

    def __init__(self, model: PreTrainedModel, card: ModelCard):
        self.model = model
        self.card = card
        self.stack = text_stack(model, card.stacks, card.side == "encoder")
        self.blocks = _blocks(self.stack, card)
        self.head = _head(model, card) if card.has_head else None
        self.device = next(model.parameters()).device
        self.dtype = torch.float32
        """Of the residual stream."""
        self.exact = card.dtype == "float32"
        """Whether products are computed in float32."""
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self.bidirectional = card.stacks == "encoder-only"
        self.two_stacks = card.stacks == "encoder-decoder" and card.side == "decoder"
        self.tokens_first: bool | None = None
        """Whether its blocks pass on (token, batch, d_model), as XLNet's; found out when it has been loaded."""
        self.cache_argument = cache_argument(model)
        self.adds_mask = getattr(model.config, "_attn_implementation", "sdpa") == "eager"
        pad = token(model, "pad_token_id") or 0
        # What is padded is not looked at, so that any row of the embedding will do.
        self.pad_token = pad if 0 <= pad < card.shape.vocab else 0
        self.eos_token = token(model, "eos_token_id")
        self.decoder_start = decoder_start(model, card) if self.two_stacks else 0

    def read(
        self,
        inputs: dict[str, Any],
        layers: Sequence[int],
        gather: Gather | None,
        heads_at: Tensor | None = None,
        inside: Mapping[str, Gather] | None = None,
    ) -> Read:
        """One forward pass. Stops after the deepest of `layers` unless `heads_at` asks for logits.

        `gather` is for the residual stream, None where that is not wanted; `inside` for sites within the blocks of the same layers.
        `heads_at` holds places in the flattened (batch, token) grid, int64, (place,).
        """
        out = Read(layers)
        inside = inside or {}
        whole = heads_at is not None and self.head is not None
        with (
            self._passing(),
            torch.inference_mode(),
            unchanged(self.model),
            self._listening(out, gather, None if whole else max(layers), self._grid(inputs)),
            tapping(out, self.blocks, self.card, inside, self._grid(inputs)),
        ):
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
        if out.logits is not None and heads_at is not None and out.logits.shape[:-1] != heads_at.shape:
            raise HarnessError(
                f"{self.card.name}: its head gives logits of shape {tuple(out.logits.shape)} for {len(heads_at)} tokens, not one row for "
                f"each; this architecture ({self.card.family}) is not supported"
            )
        missing = [layer for layer in layers if gather is not None and layer not in out.found]
        missing += [layer for site in inside for layer in layers if layer and layer not in out.inside.get(site, {})]
        if missing:
            raise HarnessError(f"{self.card.name}: the forward pass never reached layer {missing[0]}")
        return out

    def remember(
        self,
        inputs: dict[str, Any],
        layers: Sequence[int] = (),
        gather: Gather | None = every_state,
        inside: Mapping[str, Gather] | None = None,
    ) -> tuple[Past, Read]:
        """Keys and values of every block for some texts, and states at some layers as in `read`: all, (text, token, d_model), unless
        `gather` takes some."""
        from transformers import DynamicCache

        cache, out, body = DynamicCache(), Read(layers), self._body()
        with (
            self._passing(),
            torch.inference_mode(),
            unchanged(self.model),
            self._listening(out, gather, None, self._grid(inputs)),
            tapping(out, self.blocks, self.card, inside or {}, self._grid(inputs)),
        ):
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
        return text_body(self.model, self.stack) if self.bidirectional else self.model.base_model

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """What is multiplied is rounded to the card's number format, where that is not float32."""
        kind, rounded = self.device.type, None if self.exact else getattr(torch, self.card.dtype)
        with torch.autocast(kind, rounded, enabled=not self.exact):
            yield

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Products are computed in float32, whatever the card says."""
        kept, self.exact = self.exact, True
        try:
            yield
        finally:
            self.exact = kept

    def check_layers(self) -> list[Tensor]:
        """Forwards a few tokens and holds what is read against what transformers calls the hidden states of the layers.

        Gives the states of the layers that text passes, (text, token, d_model). Raises HarnessError where they are others: the blocks that were found are then not those of this architecture.
        """
        inputs = self._few_tokens()
        out, body, tokens = Read(range(self.card.layers)), self._body(), inputs["input_ids"]
        with (
            self._passing(),
            torch.inference_mode(),
            unchanged(self.model),
            self._listening(out, every_state, None, tokens.shape),
        ):
            said = body(**inputs, **_switches(body), output_hidden_states=True)
        named = "decoder_hidden_states" if self.two_stacks else "hidden_states"
        theirs = [self._stream(states, tokens.shape) for states in getattr(said, named, None) or ()]
        ours = [out.found.get(layer) for layer in out.layers if layer not in out.passed_by]
        # Mamba's kind leave out what goes into the first block. The last one of all is after the final norm.
        if not any(_same(own, theirs[:-1]) for own in (ours[:-1], ours[1:])):
            raise HarnessError(
                f"{self.card.name}: what is read at its {self.card.blocks} blocks is not what transformers calls its hidden "
                f"states; this architecture ({self.card.family}) is not supported"
            )
        return [states for states in ours if states is not None]

    def check_head(self) -> None:
        """Forwards a few tokens through the head too, if there is one. Raises HarnessError where transformers refuses."""
        if self.head is not None:
            place = torch.zeros(1, dtype=torch.int64, device=self.device)
            self.read(self._few_tokens(), (0,), every_state, place)

    def _few_tokens(self) -> dict[str, Tensor]:
        tokens = torch.arange(_TRIED, device=self.device)[None] % self.card.shape.vocab
        return {"input_ids": tokens} | ({"decoder_input_ids": tokens} if self.two_stacks else {})

    def _grid(self, inputs: dict[str, Any]) -> torch.Size:
        """(batch, token) of the stack that is read."""
        grid: torch.Size = inputs["decoder_input_ids" if self.two_stacks else "input_ids"].shape
        return grid

    def _stream(self, states: Tensor, grid: torch.Size) -> Tensor:
        """The residual stream, (batch, token, d_model); of several streams side by side the first, which Gemma 3n calls active.

        Tokens that a network puts behind for itself, as Longformer fills up its windows, are left out.
        """
        batch, tokens = grid
        *_, sequences, places, width = (0, 0, 0, *states.shape)
        if (sequences, width) != (batch, self.card.d_model) or places < tokens:
            raise HarnessError(
                f"{self.card.name}: its blocks pass on {tuple(states.shape)} for {tuple(grid)} tokens, not one state of width "
                f"{self.card.d_model} for each; this architecture ({self.card.family}) is not supported"
            )
        return states[(0,) * (states.dim() - 3)][:, :tokens]

    def for_callers(self, error: Exception) -> bool:
        """Whether callers know what to do about an error of a pass."""
        return isinstance(error, HarnessError) or memory_ran_out(error)

    @contextmanager
    def _passing(self) -> Iterator[None]:
        """Errors of the library in a pass become one sentence. A stranger's network can make it stumble anywhere."""
        try:
            with quiet_transformers(), self.arithmetic():
                yield
        except Exception as error:
            if self.for_callers(error):
                raise
            raise HarnessError(
                f"{self.card.name}: its forward pass failed in transformers ({reason(error)}); this architecture "
                f"({self.card.family}), or its configuration, is not supported"
            ) from error

    @contextmanager
    def _listening(self, out: Read, gather: Gather | None, deepest: int | None, grid: torch.Size) -> Iterator[None]:
        """Hooks on the wanted layers, taken away again at the end. `grid` is (batch, token) of what is forwarded."""

        def keep(layer: int, states: Tensor) -> None:
            if self.tokens_first is None:
                self.tokens_first = states.dim() == 3 and states.shape[:2] == grid[::-1] != grid
            if self.tokens_first:
                states = states.transpose(-3, -2)
            if gather is not None:
                out.keep("residual", layer, gather(self._stream(states, grid)))
            if layer == deepest:
                raise _Deep

        number_of, each_once = numbered(self.blocks, self.card.blocks)
        reached = -1

        def before(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal reached
            entered = number_of[id(block)] if each_once else max(reached, 0)
            # Layer 0, and layers after blocks that text does not pass, such as those that look at images: the stream is as it was.
            for layer in range(reached + 1, entered + 1):
                if layer:
                    out.passed_by.add(layer)
                if layer in out.layers:
                    keep(layer, args[0] if args else kwargs["hidden_states"])
            reached = entered

        def after(block: nn.Module, args: Any, output: Any) -> None:
            nonlocal reached
            # A block whose weights are shared is passed several times.
            reached = 1 + (number_of[id(block)] if each_once else reached)
            if reached in out.layers:
                keep(reached, output if isinstance(output, Tensor) else output[0])

        hooks = []
        try:
            for block in self.blocks:
                hooks.append(block.register_forward_pre_hook(before, with_kwargs=True))
                hooks.append(block.register_forward_hook(after))
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
                weight = head.weight[some].float()
                bias = None if head.bias is None else head.bias[some].float()
                head.forward = lambda states: nn.functional.linear(states, weight, bias)
            yield
        finally:
            hook.remove()
            if vocabulary is not None:
                if kept is None:
                    del head.forward
                else:
                    head.forward = kept


def _same(ours: Sequence[Tensor | None], theirs: Sequence[Tensor]) -> bool:
    """Whether the states of all layers are equal up to rounding."""
    if len(ours) != len(theirs):
        return False
    return all(
        own is not None
        and own.shape == other.shape
        and torch.allclose(own, other, rtol=1e-3, atol=1e-5, equal_nan=True)
        for own, other in zip(ours, theirs, strict=True)
    )


def cache_argument(module: nn.Module) -> str:
    """The name under which a network takes keys and values of earlier tokens.

    It is `cache` in recent versions of transformers and `past_key_values` in earlier ones, which recent ones warn of.
    """
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _head(model: PreTrainedModel, card: ModelCard) -> Any:
    """The language-model head, which a model of several senses may have in a part of it."""
    from transformers import PreTrainedModel

    for part in model.modules():
        if isinstance(part, PreTrainedModel) and isinstance(head := part.get_output_embeddings(), nn.Module):
            return head
    raise HarnessError(
        f"{card.name}: a {type(model).__name__} has no language-model head, so that it says nothing of answers; this architecture "
        f"({card.family}) is not supported"
    )


def _switches(module: nn.Module) -> dict[str, bool]:
    # A cache is of no use in one pass, and filling it costs memory.
    return {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}


def _blocks(stack: nn.Module, card: ModelCard) -> nn.ModuleList:
    """The blocks of a stack: as many as the configuration says, or a part of them that is passed several times."""
    found = blocks_of(stack, card.blocks)
    if found is None:
        raise HarnessError(
            f"{card.name}: cannot find its {card.blocks} blocks in a {type(stack).__name__}; this architecture "
            f"({card.family}) is not supported"
        )
    return found
