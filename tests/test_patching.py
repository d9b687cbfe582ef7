"""Patching: against plain hooks on whole texts, and in networks whose parts are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.analyses.patching.patched_forward import PatchedForward
from harness.analyses.patching.places import ALL, Place, Twins, places_of
from harness.models.card import describe
from harness.models.load import load
from harness.models.network import Network
from harness.spec import Model


def network_of(folder: Path) -> Network:
    return load(describe(Model(id=str(folder)), folder.parent))


def saved(model: Any, folder: Path, tokenizer: Path) -> Path:
    import shutil

    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma"])
def network(request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Network:
    import transformers

    folder = tmp_path_factory.mktemp("patched") / request.param
    torch.manual_seed(1)
    if request.param == "llama":
        return network_of(tiny_llama)
    if request.param == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=512, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0
        )
        model: Any = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.Gemma2Config(
            vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=64, sliding_window=64,
        )  # fmt: skip
        model = transformers.Gemma2ForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    return network_of(saved(model, folder, tiny_llama))


def pairs(vocabulary: int, count: int = 5) -> list[Twins]:
    random = np.random.default_rng(3)
    found = []
    for number in range(count):
        length = 6 + number % 3
        base = random.integers(3, vocabulary, length)
        source = base.copy()
        changed = int(random.integers(1, length))
        source[changed] = (source[changed] + 1) % (vocabulary - 3) + 3
        right, wrong = random.choice(vocabulary, 2, replace=False)
        found.append(Twins(number, tuple(base.tolist()), tuple(source.tolist()), int(right), int(wrong)))
    return found


def plainly(network: Network, twins: Twins, place: Place, reach: int) -> torch.Tensor:
    """Logits at the last token of one text that is forwarded whole, with plain hooks. (vocabulary,)"""
    model, blocks = network.model, list(network.blocks)
    size = len(twins.base)
    first = size - 1 - place.back if place.back != ALL else max(0, size - reach)
    tokens = [first] if place.back != ALL else list(range(first, size))

    def module_of(site: str, layer: int) -> tuple[Any, str]:
        if site == "residual":
            return (blocks[0], "in") if layer == 0 else (blocks[layer - 1], "out")
        block = blocks[layer - 1]
        attention = getattr(block, "self_attn", None) or block.attn
        last = getattr(attention, "o_proj", None) or attention.c_proj
        mlp = getattr(block.mlp, "down_proj", None) or block.mlp.c_proj
        return {"attention": (last, "out"), "head": (last, "in"), "mlp": (mlp, "out")}[site]

    module, side = module_of(place.site, place.layer)
    kept: dict[str, torch.Tensor] = {}

    def hooked(action: Any) -> Any:
        if side == "in":
            return module.register_forward_pre_hook(
                lambda _, args, kwargs: action(args[0] if args else kwargs["hidden_states"], args, kwargs),
                with_kwargs=True,
            )
        return module.register_forward_hook(lambda _, args, output: action(output, None, None))

    def keep(states: Any, args: Any, kwargs: Any) -> None:
        kept["states"] = (states if isinstance(states, torch.Tensor) else states[0]).clone()

    def put(states: Any, args: Any, kwargs: Any) -> Any:
        own = (states if isinstance(states, torch.Tensor) else states[0]).clone()
        if place.head is None:
            own[0, tokens] = kept["states"][0, tokens]
        else:
            width = own.shape[-1] // network.card.shape.heads
            part = slice(place.head * width, (place.head + 1) * width)
            own[0, tokens, part] = kept["states"][0, tokens, part]
        if side == "in":
            return ((own, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": own})
        return own if isinstance(states, torch.Tensor) else (own, *states[1:])

    with torch.no_grad():
        hook = hooked(keep)
        model(torch.tensor([twins.source]))
        hook.remove()
        hook = hooked(put)
        logits = model(torch.tensor([twins.base])).logits[0, -1]
        hook.remove()
    return logits


def everywhere(network: Network, reach: int, each: bool) -> tuple[Place, ...]:
    sites = ("residual", "attention", "mlp", "head")
    return places_of(network.card.shape, sites, range(network.card.layers), reach, each)


def log_odds(said: Any) -> np.ndarray:
    return said.right - said.wrong  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["branched", "whole"])
@pytest.mark.parametrize("each", [True, False], ids=["each", "all"])
@pytest.mark.parametrize("wide", [True, False], ids=["vocabulary", "answers"])
def test_patched_passes_are_those_of_plain_hooks(network: Network, way: Any, each: bool, wide: bool) -> None:
    twins = pairs(network.card.shape.vocab)
    forward = PatchedForward(network, 64, wide)
    seen = 0
    for batch in forward.batches(twins):
        places = everywhere(network, batch.reach, each)
        found = forward.patched(batch, places, way, lambda tokens: None)
        for column, own in enumerate(batch.twins):
            for row, place in enumerate(places):
                if place.back != ALL and place.back >= len(own.base):
                    continue
                logits = plainly(network, own, place, batch.reach)
                assert log_odds(found)[row, column] == pytest.approx(
                    float(logits[own.right] - logits[own.wrong]), abs=2e-4
                )
                if wide:
                    assert found.normaliser[row, column] == pytest.approx(float(logits.logsumexp(0)), abs=2e-4)
                    others = (logits - logits[own.right]).abs() > 1e-3
                    assert abs(found.above[row, column] - int((logits > logits[own.right]).sum())) <= int(
                        (~others).sum()
                    )
                seen += 1
    assert seen >= 50
