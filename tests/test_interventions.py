"""Interventions: against plain hooks on whole prompts, in a network built by hand, and what a spec makes of them.

The network: a word's code (+1 or −1) is copied to every later token by attention, and at the answer's token its product with
the answer's sign, which is what is true, is written into one dimension. In one network that is a dimension from which the
answer is read; in the other nothing ever reads it. Both are decoded alike; only the first can act.
"""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from harness import language, pipeline
from harness.analyses.interventions.acting import Acting, drawn
from harness.analyses.interventions.altered import Alterations, AlteredForward
from harness.analyses.interventions.effect import Outcome, both_ways, rows, slopes
from harness.contracts import Pairs, Probe, kind
from harness.contracts.kind import find
from harness.errors import HarnessError, SpecError, UsageError
from harness.models.card import describe
from harness.models.load import load
from harness.models.network import Network
from harness.models.questions import Question, questions_of
from harness.report.compare import ReportFolder, compare, exit_code
from harness.spec import Model
from harness.store import Store
from tests.report_tables import full_table

WIDTH = 16
WORD, ANSWER, READ, UNREAD, SAID, NOISE = 0, 1, 2, 3, 4, 5
"""Dimensions: the word's code and the answer's sign as they are embedded, where truth is written, what the answer rests on besides."""
WORDS = [f"{side}{number}" for number in range(60) for side in ("up", "down")]


def write_network(folder: Path, writes: int) -> None:
    """Two blocks that copy and multiply, and one that does nothing. The norms are so wide that they only scale."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    names = ["<unk>", "is", "it", "so", "?", "no", "yes", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    wide = 1e4
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=3, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=wide**2, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        embedding, random = model.model.embed_tokens.weight, np.random.default_rng(0)
        for number, name in enumerate(names):
            embedding[number, WORD] = {"u": 1.0, "d": -1.0}.get(name[0], 0.0)
            embedding[number, ANSWER] = {"yes": 1.0, "no": -1.0}.get(name, 0.0)
            embedding[number, SAID:NOISE] = random.standard_normal() * (name in WORDS)
            embedding[number, NOISE:] = torch.from_numpy(random.standard_normal(WIDTH - NOISE))
        copy, times = model.model.layers[0], model.model.layers[1]
        # Queries and keys of zero look at all tokens alike: what is copied is a mean, of six tokens at the answer.
        for dimension in (WORD, SAID):
            copy.self_attn.v_proj.weight[dimension, dimension] = wide
            copy.self_attn.o_proj.weight[dimension, dimension] = 4.0
        # silu(z) − silu(−z) = z, so two hidden units multiply.
        for unit, sign in enumerate((1.0, -1.0)):
            times.mlp.gate_proj.weight[unit, ANSWER] = sign * wide
            times.mlp.up_proj.weight[unit, WORD] = wide
            times.mlp.down_proj.weight[writes, unit] = sign
        yes, no = names.index("yes"), names.index("no")
        for token, sign in ((yes, 1.0), (no, -1.0)):
            model.lm_head.weight[token, READ] = sign * wide
            model.lm_head.weight[token, SAID] = 0.25 * sign * wide
    model.save_pretrained(folder)


SPEC = """
harness: 1
name: acts
model: {{id: {model}, dtype: float32, packing: {packing}}}
data: {{source: {{file: words.csv, text: word}}, limit: null, split: {{train: 0.5, test: 0.5}}}}
prompt: {{template: "{{{{ word }}}} is it so ? {{{{ answer }}}}", answers: ["no", "yes"]}}
probes: [mean_difference, {{kind: random, name: anything}}]
baselines: false
layer: 2
interventions:
  - {{probe: mean_difference, rows: 40, random: 24}}
  - {{probe: anything, rows: 40, random: 24}}
  - {{probe: mean_difference, rows: 40, random: 4, by: erase}}
  - {{probe: mean_difference, rows: 40, random: 24, token: all}}
checks:
  - {{kind: direction_is_causal, name: found, probe: mean_difference}}
  - {{kind: direction_is_causal, name: everywhere, probe: mean_difference, token: all}}
  - {{kind: direction_is_causal, name: chance, probe: anything}}
  - {{kind: direction_is_causal, name: at_the_place, probe: mean_difference, direction: there}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both networks, the words, and a spec of each."""
    folder = tmp_path_factory.mktemp("acts")
    lines = [f"{word},{int(word.startswith('up'))}\n" for word in WORDS]
    (folder / "words.csv").write_text("word,label\n" + "".join(lines))
    for name, dimension in (("acting", READ), ("idle", UNREAD)):
        write_network(folder / name, dimension)
        (folder / f"{name}.yaml").write_text(SPEC.format(model=f"./{name}", packing="auto"))
    return folder


@pytest.fixture(scope="module")
def found(world: Path) -> dict[str, pipeline.Outcome]:
    """A run of each network, with a store of its own."""
    return {
        name: pipeline.run(
            world / f"{name}.yaml", out=world / name / "out", store=Store(world / f"store-{name}"), page=False
        )
        for name in ("acting", "idle")
    }


def table(outcome: pipeline.Outcome, **where: object) -> pl.DataFrame:
    return full_table(outcome.folder, "interventions").filter(**where)


# ---------------------------------------------------------------- what acts and what does not


def test_what_is_decoded_alike_acts_in_the_one_and_not_in_the_other(found: dict[str, pipeline.Outcome]) -> None:
    findings = {name: dict(one.checks.select("check", "finding").iter_rows()) for name, one in found.items()}
    # At the place where the answer is made there is the word's code, by which it does not go.
    assert findings["acting"] == {"found": "pass", "everywhere": "pass", "chance": "fail", "at_the_place": "fail"}
    assert findings["idle"]["found"] == findings["idle"]["everywhere"] == "fail"
    why = {name: dict(one.checks.select("check", "why").iter_rows())["found"] for name, one in found.items()}
    assert why["acting"].endswith("The direction decodes (AUROC 1.000) and acts.")
    assert why["idle"].endswith("The direction decodes (AUROC 1.000) but does not act on the answer from there.")


def test_the_answer_moves_by_what_is_read(found: dict[str, pipeline.Outcome]) -> None:
    """Log-odds are twice the dimension that is read, so a step along it moves them by twice the step, either way."""
    own = table(found["acting"], by="steer", token="question", probe="mean_difference", direction="probe")
    (slope,) = own.filter(measure="slope")["value"]
    moved = dict(own.filter(measure="log_odds").select("strength", "value").iter_rows())
    (untouched,) = table(found["acting"], by="steer", token="question", probe="mean_difference", direction="none")[
        "value"
    ]
    # At the answer's token, the sixth, attention has brought four sixths of the code.
    assert slope == pytest.approx(2 * 4 / 6, rel=0.01)
    for strength, value in moved.items():
        assert value - untouched == pytest.approx(slope * strength, abs=2e-3)
    idle = table(found["idle"], by="steer", probe="mean_difference", direction="probe", measure="slope")["value"]
    assert idle.abs().max() < 2e-3  # type: ignore[operator]


def test_what_is_known_at_the_place_itself_stands_beside_it(found: dict[str, pipeline.Outcome]) -> None:
    """At the question the states hold the word's code, by which the answer does not go, and by chance of what is said."""
    for outcome in found.values():
        (at,) = table(
            outcome, by="steer", token="question", probe="mean_difference", direction="there", measure="slope"
        )["value"]
        assert abs(at) < 0.6 * 2 * 4 / 6
        (why,) = outcome.checks.filter(check="found")["why"]
        assert f"class means of the states that are moved {at:.3f}".replace("-", "−") in why
    erased = table(found["idle"], by="erase", measure="accuracy")["direction"].to_list()
    assert erased == ["none", "probe", "there", "random 1", "random 2", "random 3", "random 4"]


def test_two_reports_with_interventions_can_be_compared(found: dict[str, pipeline.Outcome]) -> None:
    acting, idle = (ReportFolder.open(str(found[name].folder)) for name in ("acting", "idle"))
    assert compare(acting, acting).nothing
    assert exit_code(compare(acting, idle)) == 1, "a finding is another"


def test_random_directions_are_as_likely_up_as_down(found: dict[str, pipeline.Outcome]) -> None:
    chance = table(found["acting"], by="steer", token="question", probe="anything", measure="slope")
    values = chance.filter(pl.col("direction").str.starts_with("random"))["value"].to_numpy()
    assert len(values) == 24
    assert abs(values.mean()) < 3 * values.std() / 24**0.5
    assert values.std() > 0.05, "the control: they do move the answer"


def test_erasing_what_is_read_leaves_the_rest_of_the_answer(found: dict[str, pipeline.Outcome]) -> None:
    erased = table(found["acting"], by="erase", measure="log_odds")
    values = dict(erased.select("direction", "value").iter_rows())
    # At the question nothing was written yet: the mean is what every state has there, and stays.
    assert values["probe"] == pytest.approx(values["none"], abs=1e-3)
    same = dict(table(found["acting"], by="erase", measure="same_answer").select("direction", "value").iter_rows())
    assert same["none"] == same["probe"] == 1.0


def test_the_report_shows_it(found: dict[str, pipeline.Outcome]) -> None:
    text = (found["idle"].folder / "report.md").read_text()
    assert "## Does the answer follow?" in text
    assert "](figures/doses.svg)" in text
    assert (found["idle"].folder / "figures" / "doses.svg").stat().st_size > 2000


# ---------------------------------------------------------------- against plain hooks


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    from tests.conftest import write_tiny_llama

    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_llama(folder)
    return load(describe(Model(id=str(folder), dtype="float32"), folder))


TEXTS = ["a short one", "another that is somewhat longer than that", "why", "seven and eight"]


def asked(answers: tuple[str, str]) -> list[Question]:
    """Bytes are tokens. Answers of one byte share their text; of several, each has its own."""
    lines: list[dict[str, object]] = []
    for number, text in enumerate(TEXTS):
        for side, answer in enumerate(answers):
            tokens = [1 + byte % 250 for byte in f"{text}? {answer} and on".encode()]
            start = len(text) + 2
            lines.append(
                {
                    "pair": number,
                    "example": text,
                    "template": "main",
                    "answer": side,
                    "tokens": tokens,
                    "answer_start": start,
                }
            )
            lines[-1]["answer_end"] = start + len(answer)
    return questions_of(pl.DataFrame(lines))


def some(count: int = 5, seed: int = 0) -> Alterations:
    """Nothing, shifts one way and the other, an erasure, and a shift of zero."""
    random = np.random.default_rng(seed)
    axis = torch.from_numpy(random.standard_normal((count, 32))).float()
    axis[2] = axis[1]
    axis = axis / axis.norm(dim=1, keepdim=True)
    shift = torch.tensor([0.0, 2.0, -2.0, 0.0, 0.0])
    erased = torch.tensor([False, False, False, True, False])
    return Alterations(axis, shift, erased, torch.tensor([0.0, 0.0, 0.0, 0.3, 0.0]))


def plainly(network: Network, question: Question, layer: int, one: Alterations, number: int, token: str) -> float:
    """One prompt at a time: a hook that alters what comes out, and the log-probabilities of the answer's tokens."""
    answers = []
    for row in question.rows:
        text, last = row.tokens[: row.end - 1], row.first

        def alter(states: torch.Tensor, last: int = last) -> torch.Tensor:
            states = states.clone()
            for place in range(last + 1) if token == "all" else (last,):
                along = states[0, place] @ one.axis[number]
                step = one.centre[number] - along if one.erased[number] else one.shift[number]
                states[0, place] += step * one.axis[number]
            return states

        def after(_: Any, args: Any, output: Any) -> Any:
            return alter(output) if isinstance(output, torch.Tensor) else (alter(output[0]), *output[1:])

        module = network.model.get_input_embeddings() if layer == 0 else network.blocks[layer - 1]
        hook = module.register_forward_hook(after)
        try:
            with torch.no_grad():
                chances = network.model(input_ids=torch.tensor([text])).logits[0].log_softmax(-1)
        finally:
            hook.remove()
        answers.append(sum(float(chances[last + k, token_id]) for k, token_id in enumerate(row.answer)))
    return answers[1] - answers[0]


@pytest.mark.parametrize("answers", [("n", "y"), ("no", "yes")])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize(("token", "way"), [("question", "branched"), ("question", "whole"), ("all", "whole")])
def test_log_odds_are_those_of_plain_hooks(
    network: Network, answers: tuple[str, str], layer: int, token: Any, way: Any
) -> None:
    every, alterations = asked(answers), some()
    assert {len(question.texts) for question in every} == ({1} if len(answers[0]) == 1 else {2})
    forward = AlteredForward(network, layer, token, budget=150)
    got = np.full((len(alterations), len(every)), np.nan)
    told: list[int] = []
    batches = list(forward.batches(every))
    assert len(batches) > 1
    for batch in batches:
        got[:, list(batch.numbers)] = forward.log_odds(batch, alterations, way, told.append)
    expected = [
        [plainly(network, question, layer, alterations, number, token) for question in every]
        for number in range(len(alterations))
    ]
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert np.abs(got[1] - got[0]).max() > 1e-3, "the control: what is altered counts"
    # A strength of zero changes nothing, to the last bit; both alone, for a place in a batch costs a rounding.
    nothing, zero, one = (
        forward.log_odds(batches[0], alterations.part(k, k + 1, network.device), way, told.append) for k in (0, 4, 1)
    )
    assert np.array_equal(nothing, zero)
    assert not np.array_equal(nothing, one)
    # The network is as it was.
    (question,) = every[:1]
    assert plainly(network, question, layer, alterations, 0, token) == pytest.approx(got[0, 0], abs=2e-5)
    assert "forward" not in vars(network.blocks[0])


def test_states_that_are_not_altered_keep_every_bit() -> None:
    states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    states[0, 0, 0] = -0.0
    where = torch.arange(4).expand(3, 4) < 2
    got = some()(states, where)
    for number in (0, 4):
        assert torch.equal(got[:, number].view(torch.int32), states.view(torch.int32))
    assert torch.equal(got[:, :, 2:], states[:, None, 2:].expand(-1, 5, -1, -1))
    assert not torch.equal(got[:, 1, :2], states[:, :2]), "the control"
    torch.testing.assert_close(got[:, 3, :2] @ some().axis[3], torch.full((3, 2), 0.3))
    torch.testing.assert_close(got[:, 1, :2] + got[:, 2, :2], 2 * states[:, :2])


@pytest.mark.parametrize("token", ["question", "all"])
def test_projections_are_those_of_the_altered_places(network: Network, token: Any) -> None:
    every, axes = asked(("n", "y")), some().axis
    forward = AlteredForward(network, 1, token, budget=100)
    parts = [forward.projections(batch, axes) for batch in forward.batches(every)]
    expected, count = torch.zeros(len(axes), dtype=torch.float64), 0
    for question in every:
        with torch.no_grad():
            states = network.model(
                input_ids=torch.tensor([question.texts[0]]), output_hidden_states=True
            ).hidden_states[1]
        own = states[0, : question.last[0] + 1] if token == "all" else states[0, question.last[0] :][:1]
        expected += (own.double() @ axes.double().T).sum(dim=0)
        count += len(own)
    torch.testing.assert_close(sum(sums for sums, _ in parts), expected)
    assert sum(places for _, places in parts) == count
    if token == "question":
        states = np.concatenate([forward.answering(batch) for batch in forward.batches(every)])
        np.testing.assert_allclose(states.sum(axis=0) @ axes.numpy().T, expected.numpy(), rtol=1e-4)


def test_batches_hold_every_question_once_and_do_not_depend_on_their_order(network: Network) -> None:
    every = asked(("n", "y"))
    forward = AlteredForward(network, 1, "question", budget=60)
    batches = list(forward.batches(every))
    assert sorted(number for batch in batches for number in batch.numbers) == [0, 1, 2, 3]
    back = [[every[::-1][n].number for n in batch.numbers] for batch in forward.batches(every[::-1])]
    assert back == [[every[n].number for n in batch.numbers] for batch in batches]


# ---------------------------------------------------------------- numbers


def test_a_slope_is_the_line_through_the_untouched_answer() -> None:
    random = np.random.default_rng(0)
    strengths = both_ways((2, 1, 1))
    assert strengths == (-2.0, -1.0, 1.0, 2.0)
    untouched = random.standard_normal(30)
    gain = random.standard_normal((3, 30))
    # What does not change with the sign is not an effect of the direction.
    altered = untouched + gain[:, None] * np.array(strengths)[:, None] + 5 * np.array(strengths)[:, None] ** 2
    names = ("probe", "random 1", "random 2")
    outcome = Outcome(names, untouched, altered, strengths, np.arange(30) % 2, np.arange(30))
    np.testing.assert_allclose(slopes(outcome).value[:, 0], gain.mean(axis=1))
    table = list(rows(outcome))
    assert [row["value"] for row in table if row["measure"] == "slope"] == pytest.approx(list(gain.mean(axis=1)))
    assert {row["direction"] for row in table} == {"none", "probe", "random 1", "random 2"}


def test_more_rows_keep_those_of_fewer() -> None:
    numbers = np.arange(50, 100)
    few, more = drawn(numbers, 10, 3), drawn(numbers, 20, 3)
    assert set(few) < set(more) < set(numbers)
    assert list(few) == sorted(few)
    assert not np.array_equal(few, drawn(numbers, 10, 4))
    assert np.array_equal(drawn(numbers, None, 0), numbers)
    assert np.array_equal(drawn(numbers, 500, 0), numbers)


@pytest.mark.parametrize("name", kind.names("probes"))
def test_probes_say_whether_they_have_a_direction(name: str) -> None:
    made = find("probes", name)()
    assert isinstance(made, Probe)
    if made.reads != "states" or made.detects:
        return
    labels = torch.arange(40) % 2
    states = torch.randn(2, 40, 2, 6, generator=torch.Generator().manual_seed(0))
    states[:, :, 1] += (2.0 * labels - 1)[:, None]
    pairs = Pairs(
        states, torch.arange(40) % 2, labels=labels if made.supervised else None, example=torch.arange(40) // 2,
        values=None if "binary" in made.targets else labels[:, None].float(),
    )  # fmt: skip
    try:
        readout = made.fit(pairs, [0])
    except HarnessError:
        pytest.skip("it needs more than such pairs")
    assert (readout.pair_weights is not None) == made.directed


# ---------------------------------------------------------------- stored, resumed, forwarded another way


def test_what_is_stored_is_not_forwarded_again(
    world: Path, found: dict[str, pipeline.Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Acting, "go", lambda *_: pytest.fail("forwarded again"))
    # Another expectation makes another report, of the same interventions.
    spec = world / "acting.yaml"
    again = pipeline.run(
        spec, sets=["checks[0].expect=pass"], out=tmp_path, store=Store(world / "store-acting"), page=False
    )
    assert not again.cached
    before = (found["acting"].folder / "interventions.parquet").read_bytes()
    assert (again.folder / "interventions.parquet").read_bytes() == before


def test_a_stopped_run_goes_on_with_the_next_batch(
    world: Path, found: dict[str, pipeline.Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from harness.machine.resources import Resources

    few = Resources(tokens_per_pass=60)
    forwarded: list[int] = []
    own = AlteredForward.log_odds

    def counted(self: AlteredForward, batch: Any, alterations: Any, way: Any, tell: Any) -> Any:
        if len(alterations) > 1:
            forwarded.append(len(batch.numbers))
            if len(forwarded) == 3:
                raise KeyboardInterrupt
        return own(self, batch, alterations, way, tell)

    monkeypatch.setattr(AlteredForward, "log_odds", counted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(world / "acting.yaml", out=tmp_path, store=Store(tmp_path / "store"), page=False, resources=few)
    store = Store(tmp_path / "store")
    assert len(store.keys("parts")) == 2
    outcome = pipeline.run(world / "acting.yaml", out=tmp_path, store=store, page=False, resources=few)
    one = sum(forwarded[:2])
    assert sum(forwarded[3:]) == 4 * 40 - one
    assert not store.keys("parts"), "what was whole is not kept in parts"
    new, old = (table(one).select(pl.selectors.float()) for one in (outcome, found["acting"]))
    np.testing.assert_allclose(new.fill_null(0).to_numpy(), old.fill_null(0).to_numpy(), atol=2e-4)


def test_whole_prompts_give_the_same_where_packing_is_off(
    world: Path, found: dict[str, pipeline.Outcome], tmp_path: Path
) -> None:
    path = world / "never.yaml"
    path.write_text(SPEC.format(model="./acting", packing="never"))
    outcome = pipeline.run(path, out=tmp_path, store=Store(tmp_path / "store"), page=False)
    ways = {
        store.meta("intervention", key)["way"]  # type: ignore[index]
        for store in (Store(tmp_path / "store"), Store(world / "store-acting"))
        for key in store.keys("intervention")
    }
    assert ways == {"whole", "branched"}
    new, old = (table(one).select(pl.selectors.float()) for one in (outcome, found["acting"]))
    np.testing.assert_allclose(new.fill_null(0).to_numpy(), old.fill_null(0).to_numpy(), atol=2e-4)


# ---------------------------------------------------------------- what cannot be


def problems(folder: Path, text: str) -> str:
    path = folder / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as raised:
        language.read(path, [])
    return str(raised.value)


PLAIN = """
harness: 1
name: wrong
model: tiny
data: comparisons
probes: [mean_difference, mlp, mahalanobis]
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("interventions: [mean_diference]", 'no probe "mean_diference"; did you mean "mean_difference"'),
        ("interventions: [mlp]", "mlp is no linear map of the states and has no direction"),
        ("interventions: [mahalanobis]", "mahalanobis is no linear map of the states"),
        ("interventions: [zero_shot]", "zero_shot reads the network's own answer"),
        ("interventions: [{probe: mean_difference, condition: mian}]", 'no condition "mian"; did you mean "main"'),
        ("interventions: [{probe: mean_difference, strengths: [0]}]", "strengths"),
        ("interventions: [{probe: mean_difference, strengths: []}]", "strengths"),
        ("interventions: [{probe: mean_difference, random: 1}]", "random"),
        ("interventions: [{probe: mean_difference, by: stear}]", 'did you mean "steer"'),
        ("interventions: [{probe: mean_difference, layer: validation}]", "no validation rows"),
        ("interventions: [mean_difference, mean_difference]", "already; keep one of them"),
        ("checks: [{kind: direction_is_causal, probe: mlp}]", "mlp is no linear map of the states"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(tmp_path: Path, line: str, said: str) -> None:
    assert said in problems(tmp_path, PLAIN + line)


def test_what_is_right_is_not_complained_about(tmp_path: Path) -> None:
    path = tmp_path / "right.yaml"
    checks = "checks: [{kind: direction_is_causal, probe: mean_difference}]\n"
    path.write_text(PLAIN + checks)
    (asked_for,) = language.read(path, []).interventions
    assert (asked_for.probe, asked_for.condition, asked_for.by) == ("mean_difference", "main", "steer")
    path.write_text(PLAIN + checks + "interventions: [{probe: mean_difference, rows: 50}]\n")
    (own,) = language.read(path, []).interventions
    assert own.rows == 50, "the spec's own one serves the check"
    path.write_text(PLAIN + checks + "interventions: [{probe: mean_difference, token: all}]\n")
    assert len(language.read(path, []).interventions) == 2


def test_a_baseline_under_another_name_is_not_acted_on_under_its_kinds(tmp_path: Path) -> None:
    text = PLAIN.replace("mean_difference,", "{kind: random, name: chance},")
    assert 'no probe "random"' in problems(tmp_path, text + "interventions: [random]\n")
    # The control: where the baseline is added, it has the name of its kind.
    assert 'no probe "random"' not in problems(tmp_path, PLAIN + "interventions: [random, mlp]\n")


def test_a_bed_that_gives_states_by_a_formula_has_no_answer(tmp_path: Path) -> None:
    text = (
        "harness: 1\nname: wrong\nmodel: {bed: planted}\nprobes: [mean_difference]\ninterventions: [mean_difference]\n"
    )
    assert "has no answer that could follow" in problems(tmp_path, text)


def test_an_encoder_is_refused_when_it_is_planned(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    from tests.conftest import write_tiny_llama

    (tmp_path / "bert").mkdir()
    write_tiny_llama(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").unlink()
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    path = tmp_path / "spec.yaml"
    path.write_text(
        PLAIN.replace("model: tiny", "model: ./bert") + "interventions: [mean_difference]\nbaselines: false\n"
    )
    with pytest.raises(UsageError, match="name a condition with a causal language model"):
        pipeline.planned(language.read(path, []), tmp_path, Store(tmp_path / "store"))
    # The control: without the intervention it is planned.
    path.write_text(path.read_text().replace("interventions: [mean_difference]\n", ""))
    assert pipeline.planned(language.read(path, []), tmp_path, Store(tmp_path / "store"))


# ---------------------------------------------------------------- directions of statements

STATEMENTS = """
harness: 1
name: told
model: {id: ./idle, dtype: float32}
data: {source: {file: told.csv, text: word, label: said}, limit: null, split: {train: 0.5, test: 0.5}}
prompt: {template: "{{ word }} is it so ?", answers: ["no", "yes"]}
conditions:
  told: {}
  code: {data: {source: {label: code}}}
  asked: {prompt: {template: "{{ word }} is it so ? {{ answer }}"}}
probes: [mean_difference]
baselines: false
layer: 2
transfer: [{fit_on: told, tested_on: [told]}, {fit_on: code, tested_on: [code]}]
interventions: [{probe: mean_difference, condition: told, asked_in: asked, random: 24, rows: null}]
checks:
  - {kind: direction_is_causal, name: told_acts, probe: mean_difference, condition: told, asked_in: asked}
  - {kind: direction_is_causal, name: code_acts, probe: mean_difference, condition: code, asked_in: asked}
"""


def write_told(world: Path) -> Path:
    """The words with the side on which the network says yes, and with the code that it copies and answers nothing from."""
    from transformers import AutoModelForCausalLM

    embedding = AutoModelForCausalLM.from_pretrained(world / "idle").get_input_embeddings().weight
    told = [int(embedding[7 + number, SAID] > 0) for number in range(len(WORDS))]
    lines = [f"{word},{side},{int(word[0] == 'u')}\n" for word, side in zip(WORDS, told, strict=True)]
    (world / "told.csv").write_text("word,said,code\n" + "".join(lines))
    path = world / "told.yaml"
    path.write_text(STATEMENTS)
    return path


def test_a_direction_of_statements_acts_where_something_is_asked(world: Path, tmp_path: Path) -> None:
    outcome = pipeline.run(write_told(world), out=tmp_path, store=Store(tmp_path / "store"), page=False)
    why = dict(outcome.checks.select("check", "why").iter_rows())
    assert "at the last token before the answer in asked" in why["told_acts"]
    # Both are decoded, and the network answers from one of them.
    assert "does not act on the answer" in why["code_acts"]
    slopes = dict(table(outcome, measure="slope", direction="probe").select("fit_on", "value").iter_rows())
    assert slopes["told"] > 5 * abs(slopes["code"])
    # What is read at the end of a statement is what the answer is made from: the class means of the states that are moved are those of statements.
    there = table(outcome, measure="slope", direction="there", fit_on="told")
    assert slopes["told"] == pytest.approx(there["value"].item(), abs=1e-3)
    moved, slope = table(outcome, fit_on="told", tested_on="asked", direction="probe"), slopes["told"]
    untouched = table(outcome, fit_on="told", tested_on="asked", direction="none")["value"].item()
    for strength, value in moved.filter(measure="log_odds").select("strength", "value").iter_rows():
        assert value - untouched == pytest.approx(slope * strength, abs=2e-3)


def test_statements_are_acted_on_only_where_something_is_asked(world: Path) -> None:
    text = write_told(world).read_text()
    for before, after, said in (
        (
            ", asked_in: asked, random",
            ", random",
            "the rows of condition told are statements, and nobody asks the network anything there",
        ),
        ("asked_in: asked, random", "asked_in: code, random", "the rows of condition code are statements"),
        ("asked_in: asked, random", "asked_in: axed, random", 'no condition "axed"; did you mean "asked"'),
        ("condition: code, asked_in: asked", "condition: code", "the rows of condition code are statements"),
        (
            "asked: {prompt",
            "asked: {model: ./acting, prompt",
            "interventions[0].asked_in: asked asks another network than told",
        ),
        (
            "asked: {prompt",
            "asked: {elicit: {on: asked}, prompt",
            "checks[1].asked_in: asked asks another network than code",
        ),
    ):
        assert before in text
        assert said in problems(world, text.replace(before, after))
    # Where a transfer leads to the network that is asked, a direction of the one may act in the other.
    both = text.replace("asked: {prompt", "asked: {model: ./acting, prompt").replace(
        "code: {data", "code: {model: ./acting, data"
    )
    assert "asks another network than code" not in problems(world, both)
    assert "asks another network than told" in problems(world, both)


def test_what_is_moved_has_the_layer_of_the_direction(world: Path) -> None:
    write_told(world)
    path = world / "layers.yaml"
    for asked, said in (
        ("[1]", "interventions[0].asked_in: a probe of told reads layer 2, and asked has the states of layer 1"),
        ("[2]", ""),
    ):
        path.write_text(STATEMENTS.replace("asked: {prompt", f"asked: {{activations: {{layers: {asked}}}, prompt"))
        refused = pytest.raises(SpecError, match=re.escape(said)) if said else nullcontext()
        with refused, language.placing(path):
            pipeline.planned(language.read(path), world, Store(world / "store-layers"))
