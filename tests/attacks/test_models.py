"""Models from strangers: pickles, indexes that climb, code, sizes of no network, weights that are not there."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.untrusted import worker
from tests.attacks.scene import Scene
from tests.attacks.table import soon
from tests.test_pipeline import TEXT


class Evil:
    """Its pickle touches the canary when it is loaded."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def config(changes: dict[str, Any]) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        path = scene.inside / "model" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def file(name: str, content: str | bytes) -> Callable[[Scene], None]:
    return lambda scene: void(scene.write(f"model/{name}", content))


def void(_: object) -> None:
    """Nothing comes back."""


def only_index(content: str) -> Callable[[Scene], None]:
    """An index without the single file, which would be loaded in its place."""

    def spoil(scene: Scene) -> None:
        (scene.inside / "model" / "model.safetensors").unlink(missing_ok=True)
        scene.write("model/model.safetensors.index.json", content)

    return spoil


def index(name: str) -> Callable[[Scene], None]:
    return only_index(json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": name}}))


def pickled(scene: Scene) -> None:
    (scene.inside / "model" / "model.safetensors").unlink()
    (scene.inside / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(scene.canary)))


def pickled_by_index(scene: Scene) -> None:
    pickled(scene)
    index("pytorch_model.bin")(scene)


def pickled_as_safetensors(scene: Scene) -> None:
    (scene.inside / "model" / "model.safetensors").write_bytes(pickle.dumps(Evil(scene.canary)))


def code(scene: Scene) -> None:
    """A class of its own, in the configuration and in the tokenizer's."""
    scene.write("model/evil.py", f"open({str(scene.canary)!r}, 'w')\n")
    classes = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}
    config({"auto_map": classes, "model_type": "evil"})(scene)
    path = scene.inside / "model" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": classes, "tokenizer_class": "Evil"}))


def header(shape: object) -> bytes:
    text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 4


def adapter(scene: Scene) -> None:
    scene.write("model/adapter_config.json", json.dumps({"base_model_name_or_path": str(scene.outside)}))


def gguf(scene: Scene) -> None:
    scene.write("model.gguf", b"GGUF" + b"\xff" * 200)
    scene.write("x.yaml", TEXT.replace("MODEL", "model.gguf"))


def hollow_gguf(scene: Scene) -> None:
    gguf(scene)
    os.truncate(scene.inside / "model.gguf", 10**13)


def shadowed_gguf(scene: Scene) -> None:
    """Modules in the folder that the conversion would import, if it took any from where it stands."""
    gguf(scene)
    for name in ("gguf", "torch", "transformers", "typing_extensions"):
        scene.write(f"{name}.py", f"open({str(scene.canary)!r}, 'w')\n")


def grown_gguf(scene: Scene) -> None:
    """A file of some hundred bytes that says that it holds a network of a billion layers, a million wide."""
    gguf(scene)

    def text(said: str) -> bytes:
        return struct.pack("<Q", len(said)) + said.encode()

    def array(kind: int, values: list[bytes]) -> bytes:
        return struct.pack("<IQ", kind, len(values)) + b"".join(values)

    whole, real, word, several = 4, 6, 8, 9
    sizes = {
        "block_count": 10**9, "embedding_length": 2**20, "context_length": 64, "attention.head_count": 4, "feed_forward_length": 2**20,
        "rope.dimension_count": 2**18,
    }  # fmt: skip
    keys = [
        ("general.architecture", word, text("llama")),
        *((f"llama.{name}", whole, struct.pack("<I", size)) for name, size in sizes.items()),
        ("llama.attention.layer_norm_rms_epsilon", real, struct.pack("<f", 1e-5)),
        ("llama.rope.freq_base", real, struct.pack("<f", 1e4)),
        ("tokenizer.ggml.model", word, text("gpt2")),
        ("tokenizer.ggml.pre", word, text("llama-bpe")),
        ("tokenizer.ggml.tokens", several, array(word, [text("a"), text("b"), text("ab")])),
        ("tokenizer.ggml.merges", several, array(word, [text("a b")])),
        ("tokenizer.ggml.token_type", several, array(5, [struct.pack("<i", 1)] * 3)),
        ("tokenizer.ggml.bos_token_id", whole, struct.pack("<I", 0)),
        ("tokenizer.ggml.eos_token_id", whole, struct.pack("<I", 1)),
    ]
    content = b"".join(text(name) + struct.pack("<I", kind) + value for name, kind, value in keys)
    scene.write("model.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + content + b"\0" * 64)


def pipe(name: str) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        (scene.inside / "model" / name).unlink()
        os.mkfifo(scene.inside / "model" / name)

    return spoil


def device(name: str) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        (scene.inside / "model" / name).unlink()
        (scene.inside / "model" / name).symlink_to("/dev/zero")

    return spoil


def endless(name: str) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        (scene.inside / "model" / name).touch()
        os.truncate(scene.inside / "model" / name, 10**10)

    return spoil


def links(*steps: tuple[str, str]) -> Callable[[Scene], None]:
    """Links in the stranger's folder, by name and target."""

    def spoil(scene: Scene) -> None:
        for name, target in steps:
            path = scene.inside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(target.format(ours=scene.outside / "secret.csv", folder=scene.outside))

    return spoil


def like_a_cache(*steps: tuple[str, str]) -> Callable[[Scene], None]:
    """The model in a folder laid out as a snapshot of the Hub's cache, and links in it."""

    def spoil(scene: Scene) -> None:
        snapshot = scene.inside / "models--a--b" / "snapshots" / "c"
        snapshot.parent.mkdir(parents=True)
        (scene.inside / "model").rename(snapshot)
        scene.write("x.yaml", TEXT.replace("MODEL", "./models--a--b/snapshots/c"))
        links(*steps)(scene)

    return spoil


def kept_as(dtype: str, name: str = "q_proj.weight") -> Callable[[Scene], None]:
    """A weight that is kept in a number format, as quantised ones are."""

    def spoil(scene: Scene) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        path = scene.inside / "model" / "model.safetensors"
        weights = load_file(path)
        found = next(known for known in weights if known.endswith(name))
        weights[found] = (8 * weights[found]).to(getattr(torch, dtype))
        save_file(weights, path, metadata={"format": "pt"})

    return spoil


def random(changes: dict[str, Any]) -> Callable[[Scene], None]:
    """A configuration whose weights are drawn."""

    def spoil(scene: Scene) -> None:
        config(changes)(scene)
        path = scene.inside / "x.yaml"
        path.write_text(path.read_text().replace("dtype: float32", "dtype: float32, weights: random"))

    return spoil


HUGE = {"hidden_size": 32768, "intermediate_size": 131072, "num_hidden_layers": 100, "head_dim": 128}
SECRET_TEMPLATE = ("model/chat_template.jinja", "{ours}")
SNAPSHOT = "models--a--b/snapshots/c"
OUTSIDE = "outside of the model's folder"

LARGE_HEADER = struct.pack("<Q", 33 << 20) + b" " * (33 << 20)

MODELS: list[tuple[str, Callable[[Scene], None], str]] = [
    ("a pickle", pickled, "only pickled weights"),
    ("a pickle that the index names", pickled_by_index, "end in .safetensors"),
    ("a pickle by another name", pickled_as_safetensors, "not a readable safetensors"),
    ("an index that climbs", index("../../outside/x.safetensors"), "beside their index"),
    ("an index with an absolute path", index("/etc/passwd.safetensors"), "beside their index"),
    ("an index of numbers", only_index('{"weight_map": {"a": 1}}'), "beside their index"),
    ("an index that is a list", only_index("[1]"), "not a readable index"),
    ("an index in brackets", only_index("[" * 200_000), "not a readable index"),
    ("an adapter", adapter, "holds an adapter"),
    ("code", code, "model"),
    ("no layers", config({"num_hidden_layers": 0}), "not a whole number from 1"),
    ("a billion layers", config({"num_hidden_layers": 10**9}), "not a whole number from 1"),
    ("a million layers", config({"num_hidden_layers": 10**6}), "those of no network"),
    ("no heads", config({"num_attention_heads": 0}), "not a whole number from 1"),
    ("layers in words", config({"num_hidden_layers": "\x1b[2Jmany"}), "not a whole number from 1"),
    ("a width of lists", config({"hidden_size": [[1]]}), "not a whole number from 1"),
    ("a context in words", config({"max_position_embeddings": "long"}), "not a whole number from 1"),
    ("a number that no 64 bits hold", config({"num_key_value_heads": 10**400}), "not a whole number from 1"),
    ("a family of no name", config({"model_type": 7}), "no model_type"),
    ("a family unheard of", config({"model_type": "\x1b[2J../../x"}), "model"),
    ("a configuration in brackets", file("config.json", "[" * 200_000), "not a readable configuration"),
    ("a configuration of bytes", file("config.json", b"\xff\xfe\x00"), "not a readable configuration"),
    *(
        (f"half a character in {name}", file(name, '{"model_type": "llama", "x": "\\udcff"}'), "surrogates not allowed")
        for name in ("config.json", "tokenizer_config.json", "generation_config.json")
    ),
    ("a header beyond the file", file("model.safetensors", struct.pack("<Q", 2**63) + b"{}"), "header is too large"),
    ("a header that is a list", file("model.safetensors", struct.pack("<Q", 2) + b"[]"), "not a readable safetensors"),
    ("a header in brackets", file("model.safetensors", struct.pack("<Q", 10**6) + b"[" * 10**6), "not a readable"),
    ("a shape in words", file("model.safetensors", header(["many"])), "not made of whole numbers"),
    ("a shape beyond the file", file("model.safetensors", header([10**12, 10**12])), "model"),
    ("weights of another model", file("model.safetensors", header([1])), "most weights are not in the files"),
    ("a tokenizer of nonsense", file("tokenizer.json", '{"model": {"type": "Evil"}}'), "tokenizer cannot be loaded"),
    (
        "a tokenizer's configuration of numbers",
        file("tokenizer_config.json", '{"added_tokens_decoder": 5}'),
        "tokenizer",
    ),
    *((f"a pipe for {name}", pipe(name), "neither a file") for name in ("config.json", "model.safetensors")),
    *((f"a device for {name}", device(name), "neither a file") for name in ("config.json", "tokenizer.json")),
    *(
        (f"{name}.json without end", endless(f"{name}.json"), "larger than")
        for name in (
            "config",
            "tokenizer_config",
            "special_tokens_map",
            "added_tokens",
            "generation_config",
            "processor_config",
        )
    ),
    (
        "an index of lists by the million",
        only_index('{"weight_map": [[]' + ",[]" * 11_500_000 + "]}"),
        "lists its weights",
    ),
    ("a header of blanks by the million", file("model.safetensors", LARGE_HEADER), "lists its weights"),
    *(
        (
            f"lists by the million in {name}.json",
            file(f"{name}.json", '{"x": [[]' + ",[]" * 6_000_000 + "]}"),
            "larger than",
        )
        for name in ("tokenizer_config", "special_tokens_map", "added_tokens")
    ),
    ("weights without end", endless("model.safetensors"), "a file of holes"),
    ("a .gguf without end", hollow_gguf, "a file of holes"),
    ("a template that is a link out", links(SECRET_TEMPLATE), OUTSIDE),
    ("a vocabulary that is a link out", links(("model/vocab.txt", "{ours}")), OUTSIDE),
    ("templates that are a link out", links(("model/additional_chat_templates", "{folder}")), OUTSIDE),
    (
        "a link to a link out",
        links(("other", "{folder}"), ("model/chat_template.jinja", "../other/secret.csv")),
        OUTSIDE,
    ),
    (
        "a link out of what is laid out as a cache",
        like_a_cache((f"{SNAPSHOT}/chat_template.jinja", "{ours}")),
        OUTSIDE,
    ),
    (
        "a blob that is a link out",
        like_a_cache(("models--a--b/blobs/d", "{ours}"), (f"{SNAPSHOT}/chat_template.jinja", "../../blobs/d")),
        OUTSIDE,
    ),
    (
        "blobs that are a link out",
        like_a_cache(("models--a--b/blobs", "{folder}"), (f"{SNAPSHOT}/chat_template.jinja", "../../blobs/secret.csv")),
        OUTSIDE,
    ),
    *(
        (f"weights kept as {dtype}", kept_as(dtype), "is kept as")
        for dtype in ("bool", "int8", "uint8", "int16", "int32", "int64", "float8_e4m3fn", "float8_e5m2")
    ),
    ("a norm kept as int32", kept_as("int32", "input_layernorm.weight"), "is kept as I32"),
    ("an embedding kept as int32", kept_as("int32", "embed_tokens.weight"), "is kept as I32"),
    *(
        (f"{name} on the Hub", config({name: said}), "may be code on the Hub")
        for name in ("attn_implementation", "_attn_implementation", "_experts_implementation_internal")
        for said in ("evil/kernel",)
    ),
    ("attention on the Hub for a part", config({"attn_implementation": {"": "evil/kernel:f"}}), "code on the Hub"),
    (
        "attention on the Hub far inside",
        config({"text_config": {"x": [{"_attn_implementation": "paged|evil/k@1"}]}}),
        "code on the Hub",
    ),
    ("weights without end, drawn", random(HUGE), "more than this machine's memory"),
    ("weights without end, and no files of them", config(HUGE), "most weights are not in the files"),
    ("modules beside a .gguf", shadowed_gguf, "model.gguf"),
    ("a .gguf of a billion layers", grown_gguf, "model.gguf"),
]


@pytest.mark.parametrize("attack", MODELS, ids=[attack[0] for attack in MODELS])
def test_models_from_strangers(scene: Scene, attack: tuple[str, Any, str], tiny_llama: Path) -> None:
    _, spoil, says = attack
    shutil.copytree(tiny_llama, scene.inside / "model")
    scene.write("colours.csv", "colour,label\n" + "".join(f"shade {n},{n % 2}\n" for n in range(40)))
    scene.write("x.yaml", TEXT.replace("MODEL", "model"))
    spoil(scene)
    said = scene.run("run", "x.yaml", "--no-page", "--quiet")
    # The conversion of a .gguf is a process of our own.
    scene.noted = [line for line in scene.noted if "harness.models.gguf_worker" not in line]
    scene.assert_unharmed(said)
    assert said.code in (2, 3), said
    assert says in said.err


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path, tiny_llama: Path) -> None:
    """The control: every file of a snapshot is a link to a blob of its repository, and links may stay in a model's folder."""
    from harness.models.model_folder import check_files

    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "c", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(tiny_llama, blobs)
    for number, path in enumerate(sorted(blobs.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    (snapshot / "again.json").symlink_to("config.json")
    check_files(snapshot)


def test_a_forged_origin_is_not_believed(scene: Scene, tiny_llama: Path) -> None:
    """A folder that claims to be made from another model's file must not be taken for that model."""
    from harness.models.card import describe
    from harness.spec import Model

    honest = scene.inside / "honest"
    shutil.copytree(tiny_llama, honest)
    forged = scene.inside / "forged"
    shutil.copytree(tiny_llama, forged)
    (forged / "harness-origin.json").write_text(json.dumps({"gguf_sha256": "0" * 64}))
    assert describe(Model(id="forged"), scene.inside).identity == describe(Model(id="honest"), scene.inside).identity


Part = dict[str, Any]


def replacing(pattern: str, content: str) -> Part:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def sequence(kind: str, parts: list[Part]) -> Part:
    return {"type": "Sequence", kind: parts}


def around(token: str, ids: int, times: int) -> Part:
    """A template that puts a token of many ids before the text, many times."""
    special = {token: {"id": token, "ids": [0] * ids, "tokens": [token] * ids}}
    one = [{"SpecialToken": {"id": token, "type_id": 0}}] * times + [{"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {"type": "TemplateProcessing", "single": one, "pair": pair, "special_tokens": special}


def split(pattern: str) -> Part:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


TOKENIZERS: dict[str, Part] = {
    "a letter that becomes two, forty times": {
        "normalizer": sequence("normalizers", [replacing("[a-z]", "aa")] * 40),
    },
    "a blank before every letter, forty times": {"normalizer": sequence("normalizers", [replacing("", " ")] * 40)},
    "a letter that becomes twenty million": {"normalizer": replacing("[a-z]", "x" * 20_000_000)},
    "twenty million letters in front, twenty times": {
        "normalizer": sequence("normalizers", [{"type": "Prepend", "prepend": "x" * 20_000_000}] * 2),
    },
    "a million tokens in front": {"post_processor": around("<s>", 1000, 1000)},
    "a million tokens in front, four times": {
        "post_processor": sequence("processors", [around("<s>", 1000, 1000)] * 4),
    },
    "a pattern that goes back again and again": {"pre_tokenizer": split("(x+x+)+y")},
    "a normaliser that goes back again and again": {"normalizer": replacing("(x+x+)+y", "")},
    "every letter for itself, in layers": {"pre_tokenizer": sequence("pretokenizers", [split("")] * 2000)},
    "a vocabulary that is tried at every length": {
        "model": {
            "type": "WordPiece",
            "unk_token": "<s>",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 10**9,
            "vocab": {"<s>": 0},
        },
        "pre_tokenizer": None,
    },
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_from_strangers(scene: Scene, name: str, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of a tokenizer that can make much of a text, or take long over it."""
    monkeypatch.setenv(worker.FACTOR, "0.3")
    shutil.copytree(tiny_llama, scene.inside / "model")
    path = scene.inside / "model" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | TOKENIZERS[name]))
    shades = "".join(f"{'x' * 40_000} {n},{n % 2}\n" for n in range(40))
    scene.write("colours.csv", f"colour,label\n{shades}")
    scene.write("x.yaml", TEXT.replace("MODEL", "model"))
    with soon():
        said = scene.run("run", "x.yaml", "--no-page", "--quiet")
    scene.assert_unharmed(said)
    assert said.code in (2, 3), said
    assert re.search("tokenizer|prompts are longer than", said.err), said.err


def test_a_tokenizer_may_take_more_where_it_is_large_but_never_too_much(tmp_path: Path) -> None:
    from harness.models.backend import limits_of

    sizes = []
    for mebibytes in (0, 10, 250, 33):
        path = tmp_path / f"{mebibytes}.json"
        path.touch()
        os.truncate(path, mebibytes << 20)
        sizes += [limits_of([path]), limits_of([path], reads=True)]
    memory = [size.mebibytes for size in sizes]
    assert memory[0] < memory[2] <= memory[4], "an honest large vocabulary has no more than a small one"
    assert max(memory[::2]) <= 1024 and max(memory) <= 1280, "with 800 MiB of the program itself these are 2 GB"
    assert max(size.seconds for size in sizes[::2]) <= 5
    assert sizes[1].seconds <= 4 and max(size.seconds for size in sizes[1::2]) <= 12
    assert sizes[7].seconds >= 10, "a vocabulary of 260,000 takes 7 s on a busy machine"
