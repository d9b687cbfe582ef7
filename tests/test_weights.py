"""What is identified is what is loaded: weights, tokenizers, tokens, code and conversions, each against the library that loads them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.errors import HarnessError, UsageError
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.models.loaded import check_loaded
from harness.models.model_folder import weight_files
from harness.models.tokenizer import load_tokenizer
from harness.spec import Model


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def card_of(folder: Path, **options: Any) -> ModelCard:
    return describe(Model(id=str(folder), dtype="float32", **options), folder)


def other(folder: Path, place: Path, factor: float) -> Path:
    """The network of a folder with other numbers in its MLPs, saved to `place`."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mlp" in name:
                parameter.mul_(factor)
    model.save_pretrained(place)
    return place / "model.safetensors"


def sharded(folder: Path) -> None:
    """Puts shards and their index in the place of a folder's single file."""
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    (folder / "model.safetensors").unlink(missing_ok=True)


def up(model: Any) -> torch.Tensor:
    return model.model.layers[0].mlp.up_proj.weight.detach().clone()


# ---------------------------------------------------------------- which files


KINDS = {
    "single": ["model.safetensors"],
    "shards": ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
    "variant": ["model.fp16.safetensors"],
    "other name": ["weights.safetensors", "consolidated.safetensors"],
    "pickle": ["pytorch_model.bin"],
    "pickled shards": ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"],
}


@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("named", [None, "weights.safetensors", "model.safetensors.index.json"])
def test_the_files_are_those_that_transformers_loads(folder: Path, allow_pickle: bool, named: str | None) -> None:
    """Over every selection of what may lie in a folder."""
    from transformers.modeling_utils import _get_resolved_checkpoint_files

    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | ({} if named is None else {"transformers_weights": named})))
    model = Model(id=str(folder), allow_pickle=allow_pickle)
    refused = 0
    for chosen in itertools.chain.from_iterable(itertools.combinations(KINDS, n) for n in range(len(KINDS) + 1)):
        files = [folder / name for kind in chosen for name in KINDS[kind]]
        for file in files:
            shards = {
                f"tensor {n}": name
                for n, name in enumerate(KINDS["pickled shards" if ".bin" in file.name else "shards"][1:])
            }
            file.write_text(json.dumps({"metadata": {}, "weight_map": shards}) if file.suffix == ".json" else "")
        try:
            theirs, _ = _get_resolved_checkpoint_files(
                str(folder), None, None, None if allow_pickle else True, None, False, named
            )
        except (OSError, ValueError):
            theirs = None
        if theirs is None or not all(Path(path).is_file() for path in theirs):
            with pytest.raises(UsageError, match=r"no weights|only pickled weights|lacks"):
                weight_files(folder, model)
            refused += 1
        else:
            assert [str(path) for path in weight_files(folder, model)] == list(theirs), chosen
        for file in files:
            file.unlink()
    assert 0 < refused < 64, "both happen"


def test_a_folder_with_shards_and_a_single_file_is_known_by_the_file_that_is_loaded(
    folder: Path, tmp_path: Path
) -> None:
    first, second = (other(folder, tmp_path / str(factor), factor) for factor in (0.5, 2.0))
    sharded(folder)
    shards = card_of(folder)
    seen = [(shards.identity, up(load(shards).model))]
    for single in (first, second):
        shutil.copy(single, folder / "model.safetensors")
        card = card_of(folder)
        seen.append((card.identity, up(load(card).model)))
        assert card.identity == card_of(single.parent.parent / "model").identity
    assert len({identity for identity, _ in seen}) == 3
    assert torch.allclose(seen[1][1] * 4, seen[2][1])
    assert torch.allclose(seen[0][1] * 2, seen[2][1])


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    sharded(folder)
    assert card_of(folder), "the control"
    first, last = (
        path for path in sorted(folder.glob("model-*.safetensors")) if path.name.split("-")[1] in ("00001", "00002")
    )
    save_file(load_file(first) | load_file(last), last)
    with pytest.raises(UsageError, match="so that either may be meant"):
        card_of(folder)


@pytest.mark.parametrize("named", ["../model.safetensors", "/etc/model.safetensors", "model.bin", 7])
def test_weights_that_a_configuration_names_elsewhere_are_refused(folder: Path, named: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": named}))
    with pytest.raises(UsageError, match="transformers_weights"):
        card_of(folder)


# ---------------------------------------------------------------- known by content


def test_a_file_of_the_same_size_and_time_is_another_file(folder: Path, tmp_path: Path) -> None:
    replaced = other(folder, tmp_path / "other", 2.0)
    before = card_of(folder)
    times = (folder / "model.safetensors").stat()
    os.utime(replaced, ns=(times.st_atime_ns, times.st_mtime_ns))
    shutil.copy2(replaced, folder / "model.safetensors")
    after = (folder / "model.safetensors").stat()
    assert (after.st_size, after.st_mtime_ns) == (times.st_size, times.st_mtime_ns), "the control"
    assert card_of(folder).identity != before.identity


def versioned(folder: Path) -> None:
    """A tokenizer's file by the name that its configuration gives it."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]})
    )
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.4.0.0.json").write_text(json.dumps(content))


def class_by_configuration(folder: Path) -> None:
    """The class of the tokenizer, which config.json says where tokenizer_config.json does not."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}))


def template(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "default.jinja").write_text("{{ messages }}")


def vocabulary(folder: Path) -> None:
    (folder / "spiece.vocab").write_text("a 1")


@pytest.mark.parametrize("change", [versioned, class_by_configuration, template, vocabulary])
def test_a_tokenizer_is_known_by_all_that_it_may_read(folder: Path, change: Callable[[Path], None]) -> None:
    before = card_of(folder)
    assert load_tokenizer(before).encode(["ab"])[0].ids
    change(folder)
    after = card_of(folder)
    assert after.tokenizer_identity != before.tokenizer_identity
    (folder / "README.md").write_text("a document")
    (folder / "made.json").write_text("{}")
    assert card_of(folder).tokenizer_identity == after.tokenizer_identity, "the control"


def test_a_tokenizer_of_another_name_is_read_anew(folder: Path) -> None:
    before = load_tokenizer(card_of(folder)).encode(["ab"])[0].ids
    versioned(folder)
    assert load_tokenizer(card_of(folder)).encode(["ab"])[0].ids == before[::-1]


def test_tokens_that_only_the_configuration_of_generation_names_are_part_of_a_network(folder: Path) -> None:
    settings = {"decoder_start_token_id": 3, "temperature": 0.5}
    cards = []
    for said in ({}, settings, settings | {"temperature": 0.7}, settings | {"decoder_start_token_id": 4}):
        (folder / "generation_config.json").write_text(json.dumps(said))
        cards.append(card_of(folder).identity)
    assert cards[1] == cards[2], "what is drawn by is nothing that states depend on"
    assert len(set(cards)) == 3
    (folder / "generation_config.json").write_text("[")
    with pytest.raises(UsageError, match="not a readable configuration"):
        card_of(folder)


def test_code_that_is_run_is_part_of_a_network(folder: Path) -> None:
    before = card_of(folder, trust_remote_code=True).identity, card_of(folder).identity
    (folder / "modeling.py").write_text("x = 1\n")
    first = card_of(folder, trust_remote_code=True).identity
    (folder / "modeling.py").write_text("x = 2\n")
    assert len({before[0], first, card_of(folder, trust_remote_code=True).identity}) == 3
    assert card_of(folder).identity == before[1], "code that is not run changes nothing"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "someone/else--modeling.Net"}}))
    assert card_of(folder)
    with pytest.raises(UsageError, match="code from another repository"):
        card_of(folder, trust_remote_code=True)


# ---------------------------------------------------------------- held together after loading


def test_the_network_of_another_file_is_not_taken_for_the_one_that_is_named(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    elsewhere = other(folder, tmp_path / "other", 1.001).parent
    card = card_of(folder)
    for dtype in (torch.float32, torch.bfloat16):
        check_loaded(card, AutoModelForCausalLM.from_pretrained(folder, dtype=dtype))
        with pytest.raises(HarnessError, match=r"mlp.*in memory is not what stands in"):
            check_loaded(card, AutoModelForCausalLM.from_pretrained(elsewhere, dtype=torch.float32))


def test_every_tensor_is_looked_at(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    card = card_of(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for parameter in model.parameters():
        for place in (0, parameter.numel() // 2, -1):
            number = parameter.data.view(-1)[place].clone()
            parameter.data.view(-1)[place] += 1
            with pytest.raises(HarnessError, match="in memory is not what stands in"):
                check_loaded(card, model)
            parameter.data.view(-1)[place] = number
    check_loaded(card, model)


def test_tensors_of_other_names_are_found_by_what_they_hold(folder: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stored = load_file(folder / "model.safetensors")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # It may be the file itself, mapped into memory.
    save_file({f"elsewhere.{name}.old": tensor for name, tensor in stored.items()}, folder / "model.safetensors")
    check_loaded(card_of(folder), model)
    for parameter in model.parameters():
        parameter.data += 1
    with pytest.raises(HarnessError, match="none of its parameters in memory are tensors of"):
        check_loaded(card_of(folder), model)


def test_the_body_of_a_whole_network_is_held_by_its_names(folder: Path) -> None:
    from transformers import AutoModel

    card = card_of(folder)
    body = AutoModel.from_pretrained(folder, dtype=torch.float32)
    check_loaded(card, body)
    body.layers[1].mlp.up_proj.weight.data[0, 0] += 1
    with pytest.raises(HarnessError, match="in memory is not what stands in"):
        check_loaded(card, body)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_a_folder_that_changes_before_it_is_loaded_is_refused(
    folder: Path, tmp_path: Path, name: str, weights: str
) -> None:
    card = card_of(folder, weights=weights)
    assert load(card), "the control"
    if name == "model.safetensors":
        shutil.copy(other(folder, tmp_path / "other", 2.0), folder / name)
    else:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {"version": "1.1", "rms_norm_eps": 0.25}))
    if weights == "random" and name == "model.safetensors":
        assert load(card), "its weights are in no file"
    else:
        with pytest.raises(HarnessError, match=r"was changed while it was used|in memory is not what"):
            load(card)


def test_a_tokenizer_that_changes_before_it_is_read_is_refused(folder: Path) -> None:
    card = card_of(folder)
    stale = msgspec.structs.replace(card, tokenizer_identity="0" * 32)
    assert load_tokenizer(card), "the control"
    with pytest.raises(HarnessError, match="was changed while it was read"):
        load_tokenizer(stale)
