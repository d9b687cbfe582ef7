"""What many tests need: a store of their own, one thread per worker, and a tiny model folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported anywhere: workers share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or fills the user's store."""
    root = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("HARNESS_STORE", str(root))
    return root


@pytest.fixture(autouse=True, scope="session")
def told_processor() -> Iterator[None]:
    """With HARNESS_TEST_FAST_BFLOAT16=1 or 0, tests run as on a processor with or without fast bfloat16, whatever this one has."""
    told = os.environ.get("HARNESS_TEST_FAST_BFLOAT16")
    with pytest.MonkeyPatch.context() as patch:
        if told is not None:
            patch.setattr("harness.models.precision.bfloat16_is_fast", lambda: told == "1")
        yield


@pytest.fixture(params=[True, False], ids=["fast-bfloat16", "slow-bfloat16"])
def any_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs a test as on a processor with fast bfloat16 and as on one without."""
    monkeypatch.setattr("harness.models.precision.bfloat16_is_fast", lambda: request.param)
    return bool(request.param)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two blocks and a byte-level tokenizer that knows every text."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    write_tiny_llama(folder)
    return folder


def write_tiny_llama(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0} | {letter: number + 1 for number, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


LONGEST = (
    "test_processes", "test_browser", "test_keys", "test_tensor_parallel", "test_imported", "test_order",
    "test_survival", "test_outside", "test_elicit", "test_cli", "test_out_of_core", "test_models", "test_selfcheck", "test_probes",
    "test_reports", "test_stores", "test_scratch", "test_beds", "test_fuzzing", "test_pull_requests", "test_terminal", "test_figures",
)  # fmt: skip
"""Files that take longest, by how long. They begin first, so that no core waits for them in the end."""


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: what waits for a process that was stopped, or for a limit, keeps none from working."""
    from harness.machine.resources import cores

    return cores() + 1


def pytest_configure(config: pytest.Config) -> None:
    # Else files of many tests are dealt out first. Older versions of xdist leave the order as it is.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are numbered. Named by what they hold, which may be a time, a test would have another name in each worker."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
