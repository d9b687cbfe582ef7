"""Loss recovered: what a language model loses when an autoencoder's version of its states takes their place at a layer (Rajamanoharan et al. 2024, arXiv 2404.16014, §5).

1 − (CE_SAE − CE) / (CE_zero − CE): 1 where nothing is lost, 0 where as much is lost as without any states there. The first token's state stays as it is in all
three: it is far larger than the others in most networks, whatever the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.analyses.sparse_autoencoders.autoencoder_stages import Trained
from harness.errors import DataError, KeyFault
from harness.maths.student import t_quantile
from harness.models.precision import device
from harness.networks.sparse_autoencoder import activations, decoded
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.store import Artifact, reading
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from torch import Tensor

    from harness.analyses.sparse_autoencoders.autoencoder_stages import Dictionaries
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.models.network import Network
    from harness.networks.sparse_autoencoder import Autoencoder

NAMED = ("condition", "layer", "variant", "sparsity", "seed")
NUMBERS = ("loss_recovered", "loss_recovered_low", "loss_recovered_high", "loss", "loss_plain", "loss_zero")
"""The share with its 95 % interval over texts, and the mean losses of a token, in nats: with the autoencoder, without, and with zeros."""


class Spliced(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The loss of next tokens of test prompts with each autoencoder in the network's way: a row for each."""

    kind: ClassVar[str] = "sparse_autoencoder_losses"
    led: ClassVar[bool] = True
    unit: ClassVar[str] = "texts"

    trained: Trained
    prompts: Stage[Any]
    subject: LanguageModel
    texts: int

    @property
    def place(self) -> tuple[str, ...]:
        return self.trained.place

    @property
    def label(self) -> str:
        return self.trained.label

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.trained, self.prompts)

    def made_from(self) -> Mapping[str, str]:
        return {
            **self.subject.ingredients(),
            "autoencoders": self.trained.key,
            "prompts": self.prompts.key,
            "texts": str(self.texts),
        }

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        trained, made = self.trained, run.get(self.trained)
        tokens = run.get(self.prompts).frame.filter(answer=0, split="test")["tokens"].to_list()
        # Of rows that are tokens each has the whole prompt.
        texts = [one for one in dict.fromkeys(map(tuple, tokens)) if len(one) > 2][: self.texts]
        if len(texts) < 2:
            raise DataError(
                f"sparse_autoencoders: {trained.condition} has {len(texts)} test prompts of three tokens or more; take `texts` out, or give it more"
            )
        work.total(len(texts))
        maps = [back_of(one, made, number) for number, one in enumerate(trained.autoencoders)]
        sums = spliced_losses(run.networks.load(self.subject.card), trained.layer, texts, maps, work.to)
        run.networks.drop()
        count = sum(len(one) - 2 for one in texts)
        work.counts |= {"rows": len(texts), "tokens": count}
        rows = []
        for one, own in zip(trained.autoencoders, sums[2:], strict=True):
            means = [float(part.sum() / count) for part in (own, *sums[:2])]
            named = (trained.condition, trained.layer, one.variant, one.sparsity, one.seed)
            rows.append((*named, *recovered(own, *sums[:2]), *means))
        return pl.DataFrame(rows, schema=schema(), orient="row")

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"losses": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {"losses": schema()})["losses"]

    def cost(self, run: Run) -> Cost:
        passes = len(self.trained.autoencoders) + 2
        return Cost(
            rows=self.texts,
            where=device(),
            note=f"{self.texts} texts, {passes} times from layer {self.trained.layer} on",
        )


def schema() -> dict[str, Any]:
    import polars as pl

    kinds = (pl.String(), pl.Int64(), pl.String(), pl.Float64(), pl.Int64())
    return {**dict(zip(NAMED, kinds, strict=True)), **dict.fromkeys(NUMBERS, pl.Float64())}


def back_of(one: Autoencoder, made: Dictionaries, number: int) -> Callable[[Tensor], Tensor]:
    """The map from states (row, d_model) to what one of some trained autoencoders gives back of them, in the states' own size."""
    import torch

    stacked = {name: tensor[None] for name, tensor in made.parameters[number].items()}
    sparsity = torch.tensor([one.sparsity])

    def back(states: Tensor) -> Tensor:
        features = activations(one.variant, stacked, made.read(states)[None], sparsity)
        return decoded(stacked, features)[0] / made.scale + made.shift

    return back


def spliced_losses(
    network: Network,
    layer: int,
    texts: Sequence[Sequence[int]],
    maps: Sequence[Callable[[Tensor], Tensor]],
    tell: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The loss of each text's tokens from the third on, summed, nats, (way, text): as it is, with zeros at the layer, and with what each map makes of the
    states there. The second token's loss is that of the first one's state, which stays."""
    import numpy as np
    import torch

    from harness.models.entering import entered, gives_tuples
    from harness.models.network import every_state
    from harness.models.quiet import quiet_transformers

    tuples, found = gives_tuples(network), np.empty((2 + len(maps), len(texts)))

    def zeros(states: Tensor) -> Tensor:
        return torch.zeros_like(states)

    for number, text in enumerate(texts):
        tokens = torch.tensor([list(text)], device=network.device)
        read = network.read({"input_ids": tokens}, (layer,), every_state).states[0]
        states = read.reshape(len(text), -1)
        for way, change in enumerate((None, zeros, *maps)):
            altered = states.clone()
            if change is not None:
                with torch.no_grad():
                    altered[1:] = change(states[1:].float().cpu()).to(altered)
            with (
                quiet_transformers(),
                network.arithmetic(),
                torch.inference_mode(),
                entered(network, layer, altered[None], tuples),
            ):
                logits = network.model(input_ids=tokens, use_cache=False).logits
            chances = logits[0, 1:-1].float().log_softmax(-1)
            found[way, number] = -float(chances.gather(1, tokens[0, 2:, None]).double().sum())
        if tell is not None:
            tell(number + 1)
    return found


def recovered(own: np.ndarray, plain: np.ndarray, zero: np.ndarray) -> tuple[float, float, float]:
    """The share of the loss that is recovered, of sums (text,), and its 95 % interval: a ratio of means over texts, linearised."""
    import numpy as np

    lost, all_of_it = own - plain, zero - plain
    if not all_of_it.sum() > 0:
        return float("nan"), float("nan"), float("nan")
    share = float(lost.sum() / all_of_it.sum())
    count = len(own)
    error = np.sqrt(count / (count - 1) * np.square(lost - share * all_of_it).sum()) / all_of_it.sum()
    reach = float(t_quantile(count - 1, 0.95) * error)
    return 1 - share, 1 - share - reach, 1 - share + reach


def spliced(trained: Trained, texts: int, plan: Plan, key: str) -> Spliced:
    """The stage for autoencoders that are trained; `key` is where the spec asks for it. Raises KeyFault for states of which no loss comes."""
    name = trained.condition
    subject, condition = plan.subjects[name], plan.spec.condition(name)
    why = ""
    if not isinstance(subject, LanguageModel) or plan.of_condition("elicit", name) is not None:
        why = "is no language model as it was published"
    elif not subject.says or subject.card.stacks != "decoder-only":
        why = "predicts no next tokens"
    elif condition.activations.site_name != "residual":
        why = f"is read at {condition.activations.site_name}, and what is replaced is the residual stream"
    if why:
        raise KeyFault(f"{key}.texts", f"{name} {why}; take `texts` out")
    assert isinstance(subject, LanguageModel)
    return Spliced(trained=trained, prompts=plan.find("prompts", name), subject=subject, texts=texts)


def with_losses(measured: pl.DataFrame, run: Run, stages: Sequence[Stage[Any]]) -> pl.DataFrame:
    """The table of autoencoders with the columns `NUMBERS`, empty where no loss was measured."""
    import polars as pl

    found = pl.concat(
        [pl.DataFrame(schema=schema()), *(run.get(stage) for stage in stages if isinstance(stage, Spliced))]
    )
    return measured.join(found, on=list(NAMED), how="left", maintain_order="left")
