"""Replies that a network writes: those of transformers' own `generate`, whatever stands beside a prompt in its batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import MemoryRanOut, NumericalError
from harness.models.asking import Asking, Continued
from harness.models.card import describe
from harness.models.generation import Writer, own_stops
from harness.models.load import load
from harness.models.network import Network
from harness.spec import Model
from tests.conftest import write_tiny_llama

MOST = 24
SIZES: dict[str, Any] = {
    "vocab_size": 257, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 5, "pad_token_id": 0,
}  # fmt: skip


def configs() -> dict[str, Any]:
    import transformers as t

    return {
        "llama": t.LlamaConfig(**SIZES),
        "qwen2": t.Qwen2Config(**SIZES, tie_word_embeddings=True),
        "qwen3": t.Qwen3Config(**SIZES, head_dim=16),
        # Windows shorter than prompts, capped logits, two frequencies.
        "gemma2": t.Gemma2Config(**SIZES, head_dim=16, sliding_window=12, query_pre_attn_scalar=16),
        "gemma3": t.Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=12, query_pre_attn_scalar=16),
        "mistral": t.MistralConfig(**SIZES, sliding_window=12),
        "gpt_neox": t.GPTNeoXConfig(**{name: size for name, size in SIZES.items() if "key_value" not in name}),
        "gpt2": t.GPT2Config(
            vocab_size=257, n_embd=32, n_layer=3, n_head=4, n_positions=512, bos_token_id=0, eos_token_id=5
        ),
    }


FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral", "gpt_neox", "gpt2")


def write_family(folder: Path, family: str) -> Path:
    from transformers import AutoModelForCausalLM, set_seed

    # Its tokenizer serves them all.
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_llama(folder)
    (folder / "model.safetensors").unlink()
    (folder / "generation_config.json").unlink(missing_ok=True)
    set_seed(1)
    model = AutoModelForCausalLM.from_config(configs()[family])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # As drawn, such a network says one word for ever.
                parameter.mul_(4)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = write_family(tmp_path_factory.mktemp("families") / request.param, request.param)
    return load(describe(Model(id=str(folder)), folder))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = write_family(tmp_path_factory.mktemp("llama") / "model", "llama")
    return load(describe(Model(id=str(folder)), folder))


def prompts(count: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Of very different lengths, so that much is padded."""
    draws = random.Random(seed)
    return [tuple(draws.randrange(6, 257) for _ in range(draws.choice([2, 3, 9, 20, 40]))) for _ in range(count)]


def asking(texts: Sequence[tuple[int, ...]], most: int = MOST) -> list[Asking]:
    return [Asking(text, most, seed) for seed, text in enumerate(texts)]


def generated(network: Network, text: tuple[int, ...], stops: Sequence[int], most: int = MOST) -> Continued:
    """What transformers' own generation makes of one prompt alone."""
    with torch.inference_mode():
        (whole,) = network.model.generate(  # type: ignore[operator]
            torch.tensor([text]), max_new_tokens=most, do_sample=False, eos_token_id=list(stops), pad_token_id=0
        ).tolist()
    reply = whole[len(text) :]
    ended = bool(reply) and reply[-1] in stops
    return Continued(tuple(reply[:-1] if ended else reply), ended)


def test_greedy_replies_are_those_of_transformers(network: Network) -> None:
    texts = prompts(40)
    # A few words end a reply, so that some do and some do not.
    stops = [5, *range(6, 40, 3)]
    writer = Writer(network, stops)
    found = writer.write(asking(texts))
    assert found == [generated(network, text, stops) for text in texts]
    assert writer.said == "" and {one.ended for one in found} == {True, False}
    assert len({one.tokens for one in found}) > 20, "else it is no test"


def test_what_stands_beside_a_prompt_makes_no_difference(llama: Network) -> None:
    for temperature in (0.0, 1.0):
        texts = asking(prompts(30))
        writer = Writer(llama, [5], temperature)
        together = writer.write(texts)
        assert [writer.write([one])[0] for one in texts] == together
        assert writer.write(texts[::-1])[::-1] == together
        assert writer.said == ""


def test_draws_follow_the_probabilities_and_the_seed(llama: Network) -> None:
    text = prompts(1, seed=3)[0]
    with torch.inference_mode():
        logits = llama.model(torch.tensor([text])).logits[0, -1].double()
    for temperature in (0.7, 2.0):
        writer = Writer(llama, [], temperature)
        drawn = writer.write([Asking(text, 1, seed) for seed in range(1500)])
        assert drawn == writer.write([Asking(text, 1, seed) for seed in range(1500)])
        shares = (logits / temperature).softmax(0)
        counts = torch.bincount(torch.tensor([one.tokens[0] for one in drawn]), minlength=len(shares))
        top = shares.topk(8).indices
        # Binomial, four standard errors.
        error = (shares[top] * (1 - shares[top]) / 1500).sqrt()
        assert ((counts[top] / 1500 - shares[top]).abs() < 4 * error).all()
    assert Writer(llama, [], 1e-4).write([Asking(text, 8, 9)]) == Writer(llama, []).write([Asking(text, 8, 9)])


def test_a_reply_has_no_more_tokens_than_it_may(llama: Network) -> None:
    texts = prompts(10)
    limits = [1, 2, 3, 24, 1, 5, 24, 2, 9, 1]
    found = Writer(llama, []).write([Asking(text, most, 0) for text, most in zip(texts, limits, strict=True)])
    assert [len(one.tokens) for one in found] == limits and not any(one.ended for one in found)
    # Whatever it writes ends it: nothing is left.
    assert Writer(llama, range(257)).write(asking(texts)) == [Continued((), True)] * 10
    assert Writer(llama, []).write([]) == []


def test_a_network_that_padding_changes_is_asked_without(
    llama: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions that padding moves, and a cache that forgets: each is seen, and the replies are right nevertheless."""
    texts, stops = prompts(12), [5]
    right = [generated(llama, text, stops) for text in texts]
    logits_of = Writer._logits

    def moved(self: Writer, tokens: Any, seen: Any, positions: Any, cache: Any) -> Any:
        return (
            logits_of(self, tokens, torch.ones_like(seen), torch.full_like(positions, seen.shape[1] - 1), cache)
            if (seen.min() == 0 and tokens.shape[1] == 1)
            else logits_of(self, tokens, seen, positions, cache)
        )

    monkeypatch.setattr(Writer, "_logits", moved)
    writer = Writer(llama, stops)
    assert writer.write(asking(texts)) == right
    assert writer.way == 1 and "without padding" in writer.said

    def forgetful(self: Writer, tokens: Any, seen: Any, positions: Any, cache: Any) -> Any:
        return logits_of(self, tokens, seen, positions * 0, cache)

    monkeypatch.setattr(Writer, "_logits", forgetful)
    writer = Writer(llama, stops)
    assert writer.write(asking(texts)) == right
    assert writer.way == 2 and "without a cache" in writer.said


def test_memory_that_runs_out_halves_the_batch(llama: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, logits_of, sizes = prompts(20), Writer._logits, []

    def small(self: Writer, tokens: Any, *rest: Any) -> Any:
        sizes.append(len(tokens))
        if len(tokens) > most:
            raise MemoryError
        return logits_of(self, tokens, *rest)

    most = 64
    whole = Writer(llama, [5]).write(asking(texts))
    monkeypatch.setattr(Writer, "_logits", small)
    most = 6
    assert Writer(llama, [5]).write(asking(texts)) == whole and max(sizes) == 20
    most = 0
    with pytest.raises(MemoryRanOut, match=r"lower data\.reply\.tokens"):
        Writer(llama, [5]).write(asking(texts))


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "llama")
    network = load(describe(Model(id=str(folder)), folder))
    with torch.no_grad():
        network.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="its logits are no numbers"):
        Writer(network, [5]).write(asking(prompts(3)))


def test_progress_is_told(llama: Network) -> None:
    heard: list[int] = []
    Writer(llama, [5]).write(asking(prompts(150)), heard.append)
    assert heard == [64, 128, 150]


def test_what_ends_a_text_is_read_from_both_configurations(llama: Network) -> None:
    assert own_stops(llama) == [5]
    generation = llama.model.generation_config
    assert generation is not None
    kept = generation.eos_token_id
    generation.eos_token_id = [7, 5, 8]
    try:
        assert own_stops(llama) == [7, 5, 8]
    finally:
        generation.eos_token_id = kept


@pytest.mark.real
def test_greedy_replies_of_smollm2_are_those_of_transformers(tmp_path: Path) -> None:
    """In its own chat template, of different lengths, with its own end of a turn."""
    from harness.models.tokenizer import load_tokenizer

    card = describe(Model(id="smollm2-135m-instruct"), tmp_path)
    smollm2, tokenizer = load(card), load_tokenizer(card)
    questions = [
        "What is the capital of France?", "Say yes.", "Name three fruits.", "Is ice colder than steam? Reply with yes or no.",
        "Is it true that spiders are insects? Explain why in one sentence.", "2 + 2 =",
    ]  # fmt: skip
    chats = [tokenizer.chat({"system": system}).ask_all(questions) for system in ("Lie.", "You always tell the truth.")]
    encoded = tokenizer.encode([one.text for chat in chats for one in chat])  # type: ignore[union-attr]
    texts = [tuple(one.ids) for one in encoded]
    stops = own_stops(smollm2)
    writer = Writer(smollm2, stops)
    found = writer.write(asking(texts, 20))
    assert found == [generated(smollm2, text, stops, 20) for text in texts]
    assert writer.said == "" and any(one.ended for one in found)
