"""A model is found, described without its weights, and loaded as what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.activations.extract import bank_key
from harness.errors import HarnessError, UsageError
from harness.models import precision
from harness.models.card import ModelMissing, describe
from harness.models.fingerprint import file_sha256
from harness.models.load import load
from harness.models.precision import bfloat16_is_fast as precision_of_this_machine
from harness.models.tokenizer import load_tokenizer
from harness.spec import Model
from harness.subjects.language_model import LanguageModel

TEXTS = [
    "The city of Paris is in France.",
    "  two  spaces\n\nünï 123 – “quoted”",
    "",
    "a" * 300,
    "<s> not a token?",
    "🍌 shed",
]


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Notes on tiny models stay out of the user's cache; tests of the real models put it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may change."""
    copy = tmp_path / "model"
    copy.mkdir()
    for path in tiny_llama.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_bytes())
    content.update(changes)
    gone = {key for key, value in changes.items() if value is None}
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in gone}))


def test_the_same_spec_is_the_same_network_on_every_processor(folder: Path, any_processor: bool) -> None:
    card = describe(Model(id="model"), folder.parent)
    assert (card.dtype, load(card).dtype) == ("float32", torch.float32)
    same = describe(Model(id="model", dtype="float32"), folder.parent)
    assert bank_key(LanguageModel(card)) == bank_key(LanguageModel(same))
    # The control: what is asked of the processor differs by processor.
    found = describe(Model(id="model", precision="fast"), folder.parent)
    assert found.dtype == ("bfloat16" if any_processor else "float32")


@pytest.mark.usefixtures("any_processor")
def test_a_card_says_what_the_network_is(folder: Path) -> None:
    card = describe(Model(id="model"), folder.parent)
    network = load(card)
    everything = dict(network.model.named_parameters())
    assert card.parameters == sum(parameter.numel() for parameter in everything.values())
    embeddings = sum(
        parameter.numel() for name, parameter in everything.items() if "embed" in name or "lm_head" in name
    )
    assert card.body_parameters == card.parameters - embeddings
    assert (card.blocks, card.layers, card.d_model, card.context, card.family) == (2, 3, 32, 512, "llama")
    assert (card.shape.heads, card.shape.kv_heads, card.shape.d_mlp) == (4, 2, 64)
    assert card.stacks == "decoder-only"
    assert network.dtype == torch.float32
    assert network.model.config._attn_implementation == "sdpa"
    assert not any(parameter.requires_grad for parameter in everything.values())


def test_identity_is_what_is_computed(folder: Path) -> None:
    first = describe(Model(id=str(folder)), folder)
    edit(folder / "config.json", transformers_version="9.9.9", _name_or_path="elsewhere")
    assert describe(Model(id=str(folder)), folder).identity == first.identity
    edit(folder / "config.json", rms_norm_eps=0.01)
    changed = describe(Model(id=str(folder)), folder)
    assert changed.identity != first.identity
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert describe(Model(id=str(folder)), folder).identity != changed.identity
    assert changed.tokenizer_identity == first.tokenizer_identity
    edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    assert describe(Model(id=str(folder)), folder).tokenizer_identity != first.tokenizer_identity


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = file_sha256(path)
    assert file_sha256(path) == first
    path.write_bytes(b"two")
    assert file_sha256(path) != first


def test_untrained_weights_come_from_the_seed_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    cards = [describe(Model(id=str(folder), weights="random", weights_seed=seed), folder) for seed in (0, 0, 1)]
    first, again, other = (dict(load(card).model.named_parameters()) for card in cards)
    assert torch.equal(torch.random.get_rng_state(), before)
    name = "model.layers.1.mlp.up_proj.weight"
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first[name], other[name])
    # The tiny model's own weights were drawn by transformers itself, with seed 0.
    its_own = dict(load(describe(Model(id=str(folder)), folder)).model.named_parameters())
    assert all(torch.equal(first[key], its_own[key]) for key in first)
    assert float(first[name].std()) == pytest.approx(0.02, rel=0.1)  # initializer_range
    assert cards[0].identity == cards[1].identity
    assert len({card.identity for card in cards}) == 2


def test_untrained_weights_need_no_weight_files(folder: Path) -> None:
    whole = describe(Model(id=str(folder), weights="random"), folder)
    (folder / "model.safetensors").unlink()
    card = describe(Model(id=str(folder), weights="random"), folder)
    assert card.identity == whole.identity
    assert load(card).card == card
    with pytest.raises(UsageError, match=r"no weights.*random"):
        describe(Model(id=str(folder)), folder)


def test_pickles_are_refused_unless_allowed(folder: Path) -> None:
    network = load(describe(Model(id=str(folder)), folder))
    torch.save(network.model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="allow_pickle"):
        describe(Model(id=str(folder)), folder)
    card = describe(Model(id=str(folder), allow_pickle=True), folder)
    loaded = dict(load(card).model.named_parameters())
    assert all(torch.equal(loaded[name], value) for name, value in network.model.named_parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"id": "./nowhere"}, "no folder"),
        ({"id": "nowhere.gguf"}, "no file"),
        ({"id": "smollm2-135m-instrct"}, "did you mean"),
        ({"id": "movie-reviews"}, "not a model"),
        ({"id": "model", "side": "encoder"}, "decoder-only"),
        ({"id": "empty"}, r"no config.json"),
    ],
)
def test_names_that_lead_nowhere(options: dict[str, Any], says: str, folder: Path) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(UsageError, match=says):
        describe(Model(**options), folder.parent)


def test_what_is_not_here_is_told_apart(folder: Path) -> None:
    with pytest.raises(ModelMissing, match="93 MB"):
        describe(Model(id="smollm2-135m-instruct"), folder, bring=False)
    with pytest.raises(ModelMissing, match="from the Hub"):
        describe(Model(id="somebody/some-model"), folder, bring=False)
    with pytest.raises(HarnessError, match="Hub cannot be reached"):
        describe(Model(id="somebody/some-model"), folder)  # HF_HUB_OFFLINE is set for the tests


def test_damaged_folders(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(UsageError, match="not a readable configuration"):
        describe(Model(id=str(folder)), folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="model_type"):
        describe(Model(id=str(folder)), folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:4])
    with pytest.raises(UsageError, match="safetensors"):
        describe(Model(id=str(folder)), folder)


def test_defaults_that_a_configuration_leaves_out(folder: Path) -> None:
    edit(folder / "config.json", num_attention_heads=None, num_key_value_heads=None)
    card = describe(Model(id=str(folder), weights="random"), folder)
    assert card.shape.heads == 32  # transformers' default


# ---------------------------------------------------------------- tokenizers


def with_template(folder: Path, template: str) -> Path:
    """A tokenizer that adds its beginning-of-text token, with a chat template that writes it too."""
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["added_tokens"] = [
        {
            "id": 0,
            "content": "<s>",
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
    ]
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    edit(folder / "tokenizer_config.json", chat_template=template)
    return folder


TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def test_tokens_are_those_of_transformers(folder: Path) -> None:
    from transformers import AutoTokenizer

    with_template(folder, TEMPLATE)
    own = load_tokenizer(describe(Model(id=str(folder)), folder))
    theirs = AutoTokenizer.from_pretrained(folder)
    for text, encoded in zip(TEXTS, own.encode(TEXTS), strict=True):
        found = theirs(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        assert encoded.ids == found.input_ids
        for place, theirs_place, special in zip(
            encoded.offsets, found.offset_mapping, found.special_tokens_mask, strict=True
        ):
            assert place == ((0, 0) if special else tuple(theirs_place))
    assert own.encode(["x"])[0].ids[0] == 0


def test_a_chat_is_the_template_and_has_one_beginning(folder: Path) -> None:
    from transformers import AutoTokenizer

    with_template(folder, TEMPLATE)
    own = load_tokenizer(describe(Model(id=str(folder)), folder))
    theirs: Any = AutoTokenizer.from_pretrained(folder)
    text = own.chat({}).ask("Is it so?").text
    asked = theirs.apply_chat_template([{"role": "user", "content": "Is it so?"}], add_generation_prompt=True)
    ids = own.encode([f"{text}Yes"])[0].ids
    assert ids[: len(asked["input_ids"])] == asked["input_ids"]
    assert ids.count(0) == 1


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('only system') }}", "only system"),
        ("{% if %}", "cannot be used"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be used"),
    ],
)
def test_chat_templates_that_refuse_or_attack(template: str, says: str, folder: Path) -> None:
    with_template(folder, template)
    own = load_tokenizer(describe(Model(id=str(folder)), folder))
    with pytest.raises(UsageError, match=says):
        own.chat({}).ask("Is it so?")


def test_no_chat_template(folder: Path) -> None:
    own = load_tokenizer(describe(Model(id=str(folder)), folder))
    assert not own.has_chat
    with pytest.raises(UsageError, match="no chat template"):
        own.chat({}).ask("Is it so?")


def test_describing_and_encoding_import_nothing_heavy(folder: Path) -> None:
    model = Model(id=str(folder))
    load_tokenizer(describe(model, folder))  # the first time, transformers reads the tokenizer
    code = (
        "import sys; from pathlib import Path; from harness.models.card import describe; from harness.spec import Model\n"
        "from harness.models.tokenizer import load_tokenizer; from harness.activations.extract import plan_extraction\n"
        f"print(load_tokenizer(describe(Model(id={str(folder)!r}), Path('.'))).encode(['banana'])[0].ids)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'something heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(load_tokenizer(describe(model, folder)).encode(["banana"])[0].ids)


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("gpu", "processor", "expected"),
    [((9, 0), False, "bfloat16"), ((7, 5), True, "float32"), (None, True, "bfloat16"), (None, False, "float32")],
)
def test_fast_is_what_is_fast_here(
    gpu: tuple[int, int] | None, processor: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cuda_capability", lambda: gpu)
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: processor)
    monkeypatch.setattr(precision, "bfloat16_is_fast", precision_of_this_machine.__wrapped__)
    assert precision.choose("fast", None) == expected
    assert precision.choose("fast", "float16") == "float16"
    assert precision.choose("exact", None) == "float32"


# ---------------------------------------------------------------- the real ones


@pytest.fixture
def users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the real assets are, or will be."""
    monkeypatch.delenv("XDG_CACHE_HOME")


@pytest.mark.real
def test_the_real_language_model(users_cache: None, own_store: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.activations.forward import Packed
    from harness.models.questions import Row

    card = describe(Model(id="smollm2-135m-instruct", dtype="float32"), Path())
    assert (card.blocks, card.d_model, card.family, card.parameters) == (30, 576, "llama", 134_515_008)
    assert card.path is not None
    own = load_tokenizer(card)
    theirs: Any = AutoTokenizer.from_pretrained(card.path)
    assert [encoded.ids for encoded in own.encode(TEXTS)] == [theirs(text).input_ids for text in TEXTS]
    asked = theirs.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)["input_ids"]
    assert own.encode([own.chat({}).ask("Hi").text])[0].ids == asked

    question = "The capital of France is"
    rows = []
    for answer in (" Paris", " banana", " Paris. Banana"):
        tokens = tuple(own.encode([question + answer])[0].ids)
        start = len(own.encode([question])[0].ids)
        rows.append(Row(tokens, start, start + 1, "last"))
    network = load(card)
    found = Packed(network)([rows], range(31), True)
    plain = AutoModelForCausalLM.from_pretrained(card.path, dtype=torch.float32).eval()
    for number, row in enumerate(rows):
        with torch.no_grad():
            out = plain(torch.tensor([row.tokens]), output_hidden_states=True)
            hidden = [layer[0, -1] for layer in out.hidden_states]
            states = [*found.states[:30, number], plain.model.norm(found.states[30, number])]
        for mine, its in zip(states, hidden, strict=True):
            assert float((mine - its).norm() / its.norm()) < 1e-5
        chance = float(out.logits[0, row.start - 1].log_softmax(-1)[row.tokens[row.start]])
        assert float(found.log_prob[number]) == pytest.approx(chance, abs=1e-3)  # type: ignore[index]
    assert found.log_prob is not None
    assert float(found.log_prob[0]) > float(found.log_prob[1]) + 3  # it knows something


@pytest.mark.real
def test_the_real_encoder(users_cache: None) -> None:
    from harness.activations.forward import Whole
    from harness.models.questions import Row

    card = describe(Model(id="minilm-l6-v2"), Path())
    assert (card.stacks, card.blocks, card.d_model, card.has_head) == ("encoder-only", 6, 384, False)
    texts = ["A banana is a fruit.", "Apples grow on trees.", "The stock market fell sharply today."]
    rows = [Row(tuple(one.ids), 1, 2, "mean") for one in load_tokenizer(card).encode(texts)]
    states = Whole(load(card))([[row] for row in rows], [6], False).states[0]
    fruit, apples, market = torch.nn.functional.normalize(states, dim=-1)
    assert float(fruit @ apples) > float(fruit @ market) + 0.2


# ---------------------------------------------------------------- answers


def test_log_probabilities_are_sums_of_log_softmax_over_the_tokens_that_there_are() -> None:
    from harness.models.log_odds import Spoken

    torch.manual_seed(0)
    logits = torch.randn(3, 700, 11)  # (alteration, place, vocabulary); more places than are held at a time
    place = torch.tensor([[[5, 6], [699, 0]]])
    token = torch.tensor([[[1, 10], [3, 0]]])
    counts = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    plain = logits.double().log_softmax(-1)
    wanted = torch.stack([plain[:, 5, 1] + plain[:, 6, 10], plain[:, 699, 3]], dim=-1)[:, None]
    found = Spoken(place, token, counts).log_prob(logits)
    assert found.shape == (3, 1, 2)
    taught = Spoken(place, token, counts).log_prob(logits.clone().requires_grad_())
    assert torch.allclose(taught, found, atol=1e-5), "what is trained is what is scored"
    assert torch.allclose(found.double(), wanted, atol=1e-5)
    one = Spoken(torch.tensor([[7, 7]]).T, torch.tensor([[2, 9]]).T, torch.ones(2, 1))
    odds = [one.log_prob(logits, normalised=normalised).diff(dim=-1) for normalised in (True, False)]
    assert torch.allclose(*odds, atol=1e-5)
    nothing = Spoken(place, token, torch.full_like(counts, torch.nan)).log_prob(logits)
    assert bool(nothing.isnan().all())


def test_a_node_of_a_tree_sees_its_ancestors_and_what_stands_before() -> None:
    from harness.activations.tree_mask import tree_mask

    #   0 ── 1 ── 2      and two chains of two, 0 ── 1 and 2 ── 3, after one or two tokens that went before
    #    └── 3
    last = torch.tensor([[3, 2, 2, 3], [1, 1, 3, 3]])
    before = torch.tensor([[True, True], [True, False]])
    parents = [{0: None, 1: 0, 2: 1, 3: 0}, {0: None, 1: 0, 2: None, 3: 2}]
    found = tree_mask(last, before)
    for sequence, parent in enumerate(parents):
        for node in range(4):
            seen, up = set(), node
            while up is not None:
                seen.add(up)
                up = parent[up]
            assert found[sequence, node].tolist() == [
                *before[sequence].tolist(),
                *(place in seen for place in range(4)),
            ]
