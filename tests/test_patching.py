"""Patching: against plain hooks on whole texts, and in networks whose parts are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness import pipeline
from harness.analyses.patching.attributed import attributed
from harness.analyses.patching.head_paths import PathForward
from harness.analyses.patching.patched_forward import Answered, Batch, PatchedForward, Ready
from harness.analyses.patching.places import ALL, Place, Twins, places_of
from harness.errors import DataError, HarnessError, SpecError, UsageError
from harness.maths.correlation_of_means import correlation_over
from harness.maths.ratio import ZERO, ratio_of_means
from harness.models.card import describe
from harness.models.load import load
from harness.models.network import Network
from harness.spec import Model
from harness.store import Store
from tests.report_tables import full_table


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


def everything(forward: PatchedForward, ready: Ready, way: Any) -> Answered:
    """What is said for all places, in their order."""
    layers = sorted({one.enters for one in ready.places})
    found = Answered.joined([forward.patched(ready, layer, way, lambda tokens: None) for layer in layers], axis=0)
    order = [ready.places.index(one) for layer in layers for one in ready.entering(layer)]
    back = np.argsort(order)
    return Answered(*(getattr(found, name)[back] for name in Answered.__struct_fields__))


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
        found = everything(forward, forward.ready(batch, places), way)
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


@pytest.mark.parametrize("each", [True, False], ids=["each", "all"])
def test_texts_of_very_different_lengths_keep_to_themselves(network: Network, each: bool) -> None:
    """Places before a shorter text's first token change nothing of it, beside a text that has them; both ways say the same of all others."""
    vocabulary = network.card.shape.vocab
    short, long = pairs(vocabulary, 1)[0], tuple(range(5, 35))
    other = Twins(9, long, (long[0], 3, *long[2:]), short.right, short.wrong)
    forward = PatchedForward(network, 4096, False)
    (batch,) = forward.batches([short, other])
    ready = forward.ready(batch, everywhere(network, batch.reach, each))
    branched, whole = (log_odds(everything(forward, ready, way)) for way in ("branched", "whole"))
    assert branched == pytest.approx(whole, abs=2e-4)
    known = log_odds(forward.unpatched(batch, batch.base))[0]
    column = batch.twins.index(short)
    before = [n for n, place in enumerate(ready.places) if place.back >= len(short.base)]
    assert bool(before) == each
    assert branched[before, column] == pytest.approx(known[column], abs=2e-4)


@pytest.mark.parametrize("way", ["branched", "whole"])
def test_nothing_put_anywhere_says_what_whole_texts_say(network: Network, way: Any) -> None:
    forward = PatchedForward(network, 64, False)
    for batch in forward.batches(pairs(network.card.shape.vocab)):
        said, known = forward.unaltered(batch, way), forward.unpatched(batch, batch.base)
        assert log_odds(said) == pytest.approx(log_odds(known), abs=1e-4)


def path_plainly(network: Network, twins: Twins, sender: Place, into: Place, reach: int) -> torch.Tensor:
    """Logits at the last token where the receiver alone hears the sender of the source, with plain hooks on whole texts. (vocabulary,)"""
    model, blocks = network.model, list(network.blocks)
    size = len(twins.base)
    tokens = [size - 1 - sender.back] if sender.back != ALL else list(range(max(0, size - reach), size))
    width = network.card.shape.d_model // network.card.shape.heads

    def last_map(layer: int) -> Any:
        block = blocks[layer - 1]
        attention = getattr(block, "self_attn", None) or block.attn
        return getattr(attention, "o_proj", None) or attention.c_proj

    def ran(text: tuple[int, ...], into_maps: dict[int, Any], heard: torch.Tensor | None = None) -> Any:
        """Logits and what goes into the last map of each block; `into_maps` replaces parts of it, `heard` what goes into the receiver's block."""
        kept: dict[int, torch.Tensor] = {}
        hooks = []
        for layer in range(1, len(blocks) + 1):

            def look(module: Any, args: Any, layer: int = layer) -> Any:
                kept[layer] = args[0].clone()
                if layer not in into_maps:
                    return None
                head, values, at = into_maps[layer]
                own = args[0].clone()
                own[0, at, head * width : (head + 1) * width] = values[0, at, head * width : (head + 1) * width]
                return (own, *args[1:])

            hooks.append(last_map(layer).register_forward_pre_hook(look))
        if heard is not None:

            def change(_: Any, args: Any, kwargs: Any) -> Any:
                stream = args[0] if args else kwargs["hidden_states"]
                return (
                    ((stream + heard, *args[1:]), kwargs)
                    if args
                    else (args, {**kwargs, "hidden_states": stream + heard})
                )

            hooks.append(blocks[into.layer - 1].register_forward_pre_hook(change, with_kwargs=True))
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0, -1]
        for hook in hooks:
            hook.remove()
        return logits, kept

    _, source = ran(twins.source, {})
    _, base = ran(twins.base, {})
    part = slice(sender.head * width, (sender.head + 1) * width)
    changed = base[sender.layer].clone()
    changed[0, tokens, part] = source[sender.layer][0, tokens, part]
    with torch.no_grad():
        heard = last_map(sender.layer)(changed) - last_map(sender.layer)(base[sender.layer])
    _, heard_by = ran(twins.base, {}, heard)
    logits, _ = ran(twins.base, {into.layer: (into.head, heard_by[into.layer], list(range(size)))})
    return logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("each", [True, False], ids=["each", "all"])
def test_paths_between_heads_are_those_of_plain_hooks(network: Network, each: bool) -> None:
    twins = pairs(network.card.shape.vocab)
    into = Place("head", network.card.layers - 1, 1, ALL)
    forward = PathForward(network, 64, False, into)
    if network.card.family.startswith("gemma"):
        with pytest.raises(UsageError, match="a norm or a factor lies between"):
            forward.ready(next(forward.batches(twins)), everywhere(network, 3, each)[:1])
        return
    apart = 0.0
    for batch in forward.batches(twins):
        places = places_of(network.card.shape, ("head",), range(1, into.layer), batch.reach, each)
        found = log_odds(everything(forward, forward.ready(batch, places), "whole"))
        known = log_odds(forward.unpatched(batch, batch.base))[0]
        for column, own in enumerate(batch.twins):
            for row, place in enumerate(places):
                if place.back != ALL and place.back >= len(own.base):
                    continue
                logits = path_plainly(network, own, place, into, batch.reach)
                plain = float(logits[own.right] - logits[own.wrong])
                assert found[row, column] == pytest.approx(plain, abs=5e-5)
                apart = max(apart, abs(plain - float(known[column])))
    assert apart > 5e-4, "a path that changes nothing tells nothing"


def test_attribution_is_the_slope_along_the_way(network: Network) -> None:
    """By differences: a state moved a small part of the way changes the log-odds by that part of what is foretold."""
    forward = PatchedForward(network, 4096, False)
    (batch,) = forward.batches(pairs(network.card.shape.vocab))
    places = everywhere(network, batch.reach, True)
    ready = forward.ready(batch, places)
    foretold = attributed(forward, ready)
    turned = Batch.of([turned_round(one) for one in batch.twins], network)
    base, step = forward.source_states(turned, places), 2e-3
    nearby = {where: base[where] + step * (ready.source[where] - base[where]) for where in base}
    known = log_odds(forward.unpatched(batch, batch.base))
    moved = log_odds(everything(forward, msgspec.structs.replace(ready, source=nearby), "whole")) - known
    assert np.abs(foretold).max() > 0.02
    assert moved / step == pytest.approx(foretold, abs=0.05 * float(np.abs(foretold).max()))


def turned_round(one: Twins) -> Twins:
    """The source in the base's place and the other way round."""
    return Twins(one.number, one.source, one.base, one.right, one.wrong)


# ---------------------------------------------------------------- a network whose parts are known

HEADS, SCALE = 5, 16.0
WORDS = [f"{side}{number}" for number in range(16) for side in ("up", "down", "mostlyup", "mostlydown")]
BITS = {"u": (1, 1, 1, 1, 1), "d": (-1, -1, -1, -1, -1), "mostlyu": (1, 1, 1, -1, -1), "mostlyd": (-1, -1, -1, 1, 1)}


def write_five_heads(folder: Path) -> None:
    """One block of five heads, each of which carries one bit of the first word to the last token, where the bits are added up: the answer is what most say.

    The norm is so wide that it only scales, so that everything after attention is linear.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    names = ["<unk>", "is", "it", "?", "no", "yes", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    wide, width = 1e4, 2 * HEADS
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=width, intermediate_size=4, num_hidden_layers=1, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, max_position_embeddings=64, rms_norm_eps=wide**2, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    summed = width - 1
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        for number, name in enumerate(names):
            if (found := re.match(r"(mostlyu|mostlyd|u|d)(p|own)\d", name)) is not None:
                model.model.embed_tokens.weight[number, :HEADS] = torch.tensor(BITS[found[1]]).float()
        block = model.model.layers[0].self_attn
        for head in range(HEADS):
            # Queries and keys of zero look at all four tokens alike.
            block.v_proj.weight[2 * head, head] = wide
            block.o_proj.weight[summed, 2 * head] = 4.0
        for name, sign in (("yes", 1.0), ("no", -1.0)):
            model.lm_head.weight[names.index(name), summed] = sign * wide * SCALE / 2
    model.save_pretrained(folder)


SPEC = """
harness: 1
name: five-heads
model: {{id: ./five}}
data: {{source: {{file: words.csv, text: word}}, limit: null, split: {{train: 0.5, test: 0.5}}}}
prompt: {{answers: ["no", "yes"]}}
conditions:
  clean: {{prompt: {{template: "{{{{ word }}}} is it ? {{{{ answer }}}}"}}}}
  corrupted: {{prompt: {{template: "{{{{ {twin} }}}} is it ? {{{{ answer }}}}"}}}}
probes: [zero_shot]
baselines: false
transfer: [{{fit_on: clean, tested_on: [clean]}}]
layer: 1
analyses: [{{kind: patching, sites: [head, attention, residual], tokens: all, rows: null, metrics: [log_odds, accuracy, probability, rank]{more}}}]
checks:
  - {{kind: metric_misleads, name: accuracy, by: accuracy, site: head, condition: clean}}
  - {{kind: metric_misleads, name: accuracy_of_all, by: accuracy, site: attention, condition: clean}}
  - {{kind: attribution_agrees, condition: corrupted, site: head}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five-heads")
    write_five_heads(folder / "five")
    other = {"up": "down", "down": "up"}
    lines = [
        f"{side}{number},{other[side]}{number},mostly{other[side]}{number},{int(side == 'up')}\n"
        for number in range(16)
        for side in ("up", "down")
    ]
    (folder / "words.csv").write_text("word,opposite,nearly,label\n" + "".join(lines))
    return folder


def ran(world: Path, twin: str, more: str = "") -> pipeline.Outcome:
    path = world / f"{twin}{len(more)}.yaml"
    path.write_text(SPEC.format(twin=twin, more=more))
    return pipeline.run(path, out=world / path.stem, store=Store(world / "store"), page=False)


def shares(outcome: pipeline.Outcome, site: str, metric: str) -> list[float]:
    found = full_table(outcome.folder, "patching").filter(site=site, metric=metric)
    return found.sort("layer", "head")["value"].to_list()  # type: ignore[no-any-return]


@pytest.mark.parametrize("by", ["denoise", "resample"])
def test_of_five_heads_each_makes_a_fifth_and_accuracy_sees_none(world: Path, by: str) -> None:
    found = ran(world, "opposite", f", by: {by}")
    assert shares(found, "head", "log_odds") == pytest.approx([0.2] * HEADS, abs=1e-3)
    assert shares(found, "head", "attribution") == pytest.approx([0.2] * HEADS, abs=1e-3)
    assert shares(found, "head", "accuracy") == [0.0] * HEADS
    assert shares(found, "attention", "log_odds") == pytest.approx([1.0], abs=1e-3)
    assert shares(found, "residual", "accuracy") == [1.0, 1.0]
    # The wrong answer's probability is nothing until the last bits are turned.
    assert max(map(abs, shares(found, "head", "probability"))) < 0.01
    findings = dict(found.checks.select("check", "finding").iter_rows())
    assert findings["accuracy"] == "pass"
    assert findings["accuracy_of_all"] == "fail"


def test_both_directions_in_one_spec(world: Path) -> None:
    found = ran(world, "opposite", ", by: both")
    asked = full_table(found.folder, "patching")["asked"].unique(maintain_order=True).to_list()
    assert asked == ["states of clean put into corrupted", "states of corrupted put into clean"]
    shown = (found.folder / "report.md").read_text()
    assert all(one.capitalize() in shown for one in asked)


def test_a_check_of_a_direction_that_was_not_gone_says_what_to_add(world: Path) -> None:
    path = world / "direction.yaml"
    text = SPEC.format(twin="opposite", more="").replace(
        "by: accuracy, site: head", "by: accuracy, direction: resample, site: head"
    )
    path.write_text(text)
    with pytest.raises(HarnessError, match="write `by: both`"):
        pipeline.run(path, out=world / "direction", store=Store(world / "store"), page=False)
    path.write_text(text.replace("kind: patching,", "kind: patching, by: both,"))
    ended = pipeline.run(path, out=world / "direction", store=Store(world / "store"), page=False)
    assert ended.checks["finding"].to_list()[0] == "pass"


def test_where_a_bit_turns_the_answer_accuracy_gives_it_the_credit_of_all(world: Path) -> None:
    """Two bits of the twin are the word's own: any of the other three is the third of five."""
    found = ran(world, "nearly")
    assert shares(found, "head", "log_odds") == pytest.approx([1 / 3] * 3 + [0.0] * 2, abs=1e-3)
    assert shares(found, "head", "accuracy") == [1.0] * 3 + [0.0] * 2
    findings = dict(found.checks.select("check", "finding").iter_rows())
    assert findings == {"accuracy": "pass", "accuracy_of_all": "fail", "attribution_agrees": "pass"}


def test_the_report_shows_it(world: Path) -> None:
    outcome = ran(world, "opposite")
    text = (outcome.folder / "report.md").read_text()
    assert "## Where the answer is made" in text
    assert "| head 0 of block 1 | 0.20 [0.20, 0.20] | 0.00 [0.00, 0.00] |" in text
    assert "](figures/patching.svg)" in text
    svg = (outcome.folder / "figures" / "patching.svg").read_text()
    assert "of layer 1 makes 1.00 of the difference" in svg
    assert len(svg) < 60_000


def test_a_run_that_was_stopped_goes_on_with_the_next_batch(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.analyses.patching import patching_stage
    from harness.machine.resources import Resources

    path = world / "stopped.yaml"
    path.write_text(SPEC.format(twin="opposite", more=", seed: 3"))
    made: list[int] = []
    kept = patching_stage._Passes._layer

    def one(self: Any, forward: Any, ready: Any, layer: int, *rest: Any) -> Any:
        if len(made) == 3:
            made.append(-1)
            raise DataError("stopped")
        made.append(layer)
        return kept(self, forward, ready, layer, *rest)

    monkeypatch.setattr(patching_stage._Passes, "_layer", one)
    few, store = Resources(tokens_per_pass=32), Store(world / "stopped")
    with pytest.raises(DataError, match="stopped"):
        pipeline.run(path, out=world / "s", store=store, page=False, resources=few)
    again = pipeline.run(path, out=world / "s", store=store, page=False, resources=few)
    assert made == [0, 1, 0, -1, 1], "two batches of two layers each, with a stop between"
    assert shares(again, "head", "log_odds") == pytest.approx([0.2] * HEADS, abs=1e-3)


# ---------------------------------------------------------------- what cannot be patched

WRONG = [
    ("conditions:", "conditions:", "clean: claen", 'no condition "claen"; did you mean "clean"?'),
    ("conditions:", "conditions:", "corrupted: clean", "this is the clean condition itself"),
    ("conditions:", "conditions:", "paths: [{block: 2, head: 0}]", "paths[0].block: there is no block 2; this network has blocks 1 to 1"),
    ("conditions:", "conditions:", "layers: [0, 2]", "there is no layer 2; this network has layers 0 to 1"),
    ("corrupted: {prompt:", "corrupted: {data: {limit: 20}, prompt:", "seed: 1", "has other `data` than clean"),
    ("corrupted: {prompt:", "corrupted: {model: {weights: random}, prompt:", "seed: 1", "asks another network than clean"),
    ("is it ? {{ answer }}\"}}\n  corrupted", "it ? {{ answer }}\"}}\n  corrupted", "seed: 1", "have another number of tokens there"),
    ("{{ opposite }}", "{{ word }}", "seed: 1", "are asked in the same words"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "other", "option", "said"), WRONG, ids=[one[3][:24] for one in WRONG])
def test_what_cannot_be_patched_is_refused_with_the_place(
    world: Path, part: str, other: str, option: str, said: str
) -> None:
    text = SPEC.format(twin="opposite", more=f", {option}")
    assert part in text
    path = world / "wrong.yaml"
    path.write_text(text.replace(part, other))
    with pytest.raises(HarnessError) as caught:
        pipeline.run(path, out=world / "wrong", store=Store(world / "store"), page=False)
    assert said in str(caught.value)
    if not isinstance(caught.value, DataError):
        assert "analyses[0]" in str(caught.value)


def test_a_check_of_what_was_not_patched_says_what_to_add(world: Path) -> None:
    path = world / "unpatched.yaml"
    text = SPEC.format(twin="opposite", more="")
    path.write_text(re.sub("analyses: .*", "", text))
    with pytest.raises(
        SpecError, match=r"checks\[0\]: this is about what `patching` finds, which the spec does not ask for"
    ):
        pipeline.run(path, out=world / "unpatched", store=Store(world / "store"), page=False)


# ---------------------------------------------------------------- numbers


def test_a_share_covers_and_has_no_interval_where_nothing_differs() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        below = 2 + random.standard_normal(60)
        above = 0.3 * below + 0.5 * random.standard_normal(60)
        found = ratio_of_means(above[None], below, np.arange(60))
        from harness.maths.estimate import over_seeds

        own = over_seeds(found).one(0)
        hits += own.low <= 0.3 <= own.high
    assert 0.92 <= hits / 400 <= 0.98
    nothing = ratio_of_means(random.standard_normal((1, 60)), random.standard_normal(60), np.arange(60))
    assert nothing.why == ZERO


@pytest.mark.parametrize(
    ("rows", "places", "noise", "shared"),
    [(40, 40, 0.7, 0.95), (10, 18, 0.3, 0.999), (10, 18, 1.0, 0.99), (10, 18, 1.0, 0.9)],
)
def test_a_correlation_over_places_covers(rows: int, places: int, noise: float, shared: float) -> None:
    """Few rows and a correlation near one, too: the interval is neither all there is nor a point."""
    random = np.random.default_rng(1)
    truth = random.standard_normal((2, places))
    truth[1] = shared * truth[0] + (1 - shared**2) ** 0.5 * truth[1]
    known = float(np.corrcoef(truth)[0, 1])
    hits, above, wide = 0, 0, 0.0
    for _ in range(300):
        own = truth[..., None] + noise * random.standard_normal((2, places, rows))
        found = correlation_over(own[0], own[1], np.arange(rows))
        hits += found.low <= known <= found.high
        above += found.low > known
        wide += (found.high - found.low) / 300
    assert 0.92 <= hits / 300 <= 1
    assert above / 300 <= 0.045
    assert wide < 0.7
    assert correlation_over(own[0][:, :4], own[1][:, :4], np.arange(4)).why.startswith("too few groups")
