"""One family: built tiny, described, read by this program, and held against plain passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel

from harness.activations.extract import extract
from harness.contracts import PromptTable
from harness.errors import HarnessError
from harness.machine.resources import Resources
from harness.models.card import ModelCard, describe
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.families import shrink
from tests.families.truth import Kind, kind_of, say

BOUND = 5e-5
"""Largest difference of a state, relative to its length, and of log-odds, that is taken for rounding."""

_WAYS = ("beginnings shared within and between", "beginnings shared within an", "whole prompts", "one prompt at a time")
_WORDS = ("grafted", "packed", "whole", "single")


class Result(msgspec.Struct, frozen=True):
    """What came of one family."""

    family: str
    kind: str
    """Of its network; empty where transformers reads no text with it."""
    way: str = ""
    """How its prompts are forwarded: grafted, packed, whole, single; empty where it is refused."""
    refused: str = ""
    """Why it is not read, in the program's words."""
    untried: str = ""
    """Why it could not be compared."""
    fault: str = ""
    """What is wrong: states that are others, or an error that is no refusal."""


def try_family(family: str, folder: Path) -> Result:
    """Builds a family in a folder and compares all layers of prompts of many lengths."""
    try:
        config = shrink.tiny(family)
        kind = kind_of(config)
        if kind is None or not _reads_text(kind):
            return Result(family, "")
        model = _built(kind, config)
    except Exception as error:
        return Result(family, "", untried=f"{type(error).__name__}: {_line(error)}")
    untried = ""
    try:
        line = _table(model, shrink.numbers(config)).frame.select("tokens", "answer_start", "answer_end").row(0)
        say(model, kind, *line)
    except Exception as error:
        untried = f"its own class gives nothing for text alone: {type(error).__name__}: {_line(error)}"
    save(model, folder)
    try:
        card = describe(Model(id=str(folder)), folder.parent)
        table = _table(model, shrink.numbers(config), card.context)
        found = extract(
            LanguageModel(card),
            [table],
            Activations(),
            Store(folder / "store"),
            resources=Resources(tokens_per_pass=4096),
        )
    except HarnessError as error:
        if untried and kind.name in ("decoder", "encoder", "encoder-decoder"):
            return Result(family, kind.name, untried=untried)
        return Result(family, kind.name, refused=str(error).replace(str(folder), family))
    except Exception as error:
        return Result(family, kind.name, fault=f"no refusal but {type(error).__name__}: {_line(error)}")
    if untried:
        return Result(family, kind.name, untried=untried)
    how = "; ".join(found.notes)
    way = next((word for word, said in zip(_WORDS, _WAYS, strict=True) if said in how.partition(";")[0]), how)
    return Result(family, kind.name, way, fault=_difference(model, kind, card, table, found))


def save(model: PreTrainedModel, folder: Path) -> None:
    """A model folder with a tokenizer of one word for each token."""
    model.save_pretrained(folder)
    vocabulary = {f"t{number}": number for number in range(shrink.VOCAB)}
    tokenizer = {
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def _reads_text(kind: Kind) -> bool:
    import inspect

    return "input_ids" in inspect.signature(kind.model.forward).parameters


def _built(kind: Kind, config: Any) -> PreTrainedModel:
    """Random weights, larger than at initialisation, so that attention matters."""
    torch.manual_seed(0)
    model = kind.model(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and weight.dim() > 1 and float(weight.std()) > 0 and not name.endswith("_log"):
                weight.mul_(0.15 / float(weight.std()))
    return model


def _table(model: PreTrainedModel, numbers: list[int], context: int | None = None) -> PromptTable:
    """Contrast pairs that begin alike, shorter and longer than each of the numbers, answers of one and of two tokens."""
    most = min(context or shrink.CONTEXT, shrink.CONTEXT)
    lengths = sorted({length for number in numbers for length in (number - 1, number, number + 1)} | {9, most})
    lines = []
    for pair, length in enumerate(length for length in [*lengths, 9] if 9 <= length <= most):
        random = np.random.default_rng([length, pair])
        text = [4, 5, 6, *random.integers(shrink.FIRST, shrink.LAST, size=length - 7).tolist()]
        for answer, tokens in enumerate(([9], [10, 11])):
            lines.append(
                {
                    "pair": pair, "example": f"e{pair}", "template": "main", "answer": answer,
                    "tokens": [1, *text, *tokens, 8], "answer_start": 1 + len(text),
                    "answer_end": 1 + len(text) + len(tokens),
                }
            )  # fmt: skip
    return PromptTable(
        pl.DataFrame(lines, schema_overrides={"tokens": pl.List(pl.UInt32), "pair": pl.UInt32}), (), ("main",)
    )


def _difference(model: PreTrainedModel, kind: Kind, card: ModelCard, table: PromptTable, found: Any) -> str:
    """What differs from plain passes by more than rounding; empty where nothing does."""
    frame = table.frame
    pairs = found.pairs(table, range(frame["pair"].n_unique()), range(card.layers))
    # A block that text does not pass, as one that looks at images, leaves the stream as it is; transformers leaves it out.
    layers = [
        layer for layer in range(card.layers) if not layer or not torch.equal(*pairs.states[layer - 1 : layer + 1])
    ]
    worst, odds, at = 0.0, 0.0, ""
    said: list[float | None] = []
    for line in frame.iter_rows(named=True):
        try:
            truth = say(model, kind, line["tokens"], line["answer_start"], line["answer_end"])
        except Exception as error:
            return f"no plain pass of {len(line['tokens'])} tokens: {type(error).__name__}: {_line(error)}"
        if len(truth.states) != len(layers):
            return f"{len(layers)} layers were read, and its own class gives {len(truth.states)}"
        said.append(truth.log_prob)
        for layer, own in zip(layers, truth.states, strict=True):
            mine = pairs.states[layer, line["pair"], line["answer"]]
            if own.shape != mine.shape:
                return f"layer {layer} is {tuple(mine.shape)}, and by its own class {tuple(own.shape)}"
            off = float((mine.double() - own.double()).norm() / own.double().norm().clamp_min(1e-30))
            if not off <= worst:
                worst, at = off, f"layer {layer}, {len(line['tokens'])} tokens"
    if not worst <= BOUND:
        return f"states differ by {worst:.1e} ({at})"
    if None in said:
        return "" if pairs.log_odds is None else "it has no head, and log-odds were read"
    if pairs.log_odds is None:
        return "its log-odds were not read"
    for pair, mine in enumerate(pairs.log_odds.tolist()):
        no, yes = said[2 * pair : 2 * pair + 2]
        odds = max(odds, abs(mine - (yes - no)) / max(1.0, abs(no), abs(yes)))  # type: ignore[operator, arg-type]
    return "" if odds <= BOUND else f"log-odds differ by {odds:.1e}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:220]
