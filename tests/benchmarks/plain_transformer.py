"""The small transformer as torch has its parts, trained alone by torch's own AdamW: what training together is held against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.recipe import Recipe
from harness.networks.transformer import Transformer


class PlainTransformer(nn.Module):
    """One block without layer norm. As in ours, only the last position asks and answers: the products are the same."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        assert isinstance(recipe.network, Transformer) and recipe.network.blocks == 1 and not recipe.network.layer_norm
        width, sizes = recipe.network.d_model, recipe.sizes
        self.heads = recipe.network.heads
        self.embed = nn.Embedding(sizes.vocabulary, width)
        self.position = nn.Parameter(torch.randn(sizes.context, width) * width**-0.5)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.inner, self.outer = nn.Linear(width, recipe.network.d_mlp), nn.Linear(recipe.network.d_mlp, width)
        self.unembed = nn.Linear(width, sizes.classes, bias=False)

    def forward(self, questions: Tensor) -> Tensor:
        stream = self.embed(questions) + self.position
        last = stream[:, -1:]
        asked = (self.query(last), self.key(stream), self.value(stream))
        read = functional.scaled_dot_product_attention(
            *(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in asked)
        )
        last = last + self.output(read.transpose(1, 2).flatten(2))
        last = last + self.outer(functional.relu(self.inner(last)))
        return self.unembed(last)[:, 0]


def train(recipe: Recipe, steps: int, start: Tensor | None = None) -> PlainTransformer:
    """One network, on one thread, without warm-up; from its own random parameters, or from those of ours, flat."""
    rows = recipe.world.training_rows(recipe.fraction, recipe.order)
    questions, answers = recipe.world.questions()[rows], recipe.world.answers()[rows]
    network = PlainTransformer(recipe)
    if start is not None:
        hold(network, recipe, start)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    threads = torch.get_num_threads()
    # A second thread takes more processor time than it saves.
    torch.set_num_threads(1)
    try:
        for _ in range(steps):
            optimiser.zero_grad()
            functional.cross_entropy(network(questions).double(), answers).backward()
            optimiser.step()
    finally:
        torch.set_num_threads(threads)
    return network


def hold(network: PlainTransformer, recipe: Recipe, flat: Tensor) -> None:
    """Gives it the parameters of one of our networks."""
    own = {name: view[0] for name, view in recipe.network.layout(recipe.sizes).views(flat[None]).items()}
    named = {"query": "query", "key": "key", "value": "value", "output": "output", "in": "inner", "out": "outer"}
    state = {"embed.weight": own["embed"], "position": own["position"], "unembed.weight": own["unembed"].T}
    state |= {f"{theirs}.weight": own[f"1.{ours}"].T for ours, theirs in named.items()}
    state |= {f"{named[ours]}.bias": own[f"1.{ours}_bias"] for ours in ("in", "out")}
    network.load_state_dict(state)
