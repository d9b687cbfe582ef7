"""The report's tables as frames, frames as csv that diffs well and harms no spreadsheet, and as parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from harness.contracts import ALL_LAYERS, Claim, Finding, Judgement, Metric
from harness.maths.estimate import Estimates
from harness.scoring.score import RunLabels, Score, Scored, restart_accuracy

DECIMALS = 4

Verdict = Literal["as_expected", "unexpected", "not_judged"]

_WHERE = {"fit_on": pl.String, "tested_on": pl.String, "probe": pl.String, "layer": pl.String, "target": pl.String}
_EVIDENCE = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
RESULTS = {**_WHERE, "metric": pl.String, **_EVIDENCE, "n": pl.Int64, "seeds": pl.Int64}
SEEDS = {**_WHERE, "metric": pl.String, "seed": pl.Int64, **_EVIDENCE, "n": pl.Int64}
CHECKS = {
    **dict.fromkeys(("check", "probe", "condition", "finding", "expect", "verdict"), pl.String),
    **_EVIDENCE,
    "threshold": pl.Float64,
    "why": pl.String,
}
_SPREAD = ("picked", "min", "p10", "p50", "p90", "max", "loss_min", "loss_p50", "loss_max")
RESTARTS = {**_WHERE, "seeds": pl.Int64, "restarts": pl.Int64, **dict.fromkeys(_SPREAD, pl.Float64)}

DEPTH = {
    **dict.fromkeys(("fit_on", "tested_on", "probe", "target"), pl.String),
    **dict.fromkeys(("layer", "low", "high"), pl.Int64),
    "best": pl.Float64,
    "n": pl.Int64,
    "seeds": pl.Int64,
}

SOURCES = ("rows", "seeds", "training")
HEADLINE = {
    **RESULTS,
    **dict.fromkeys((f"se_{source}" for source in SOURCES), pl.Float64),
    "sd_draws": pl.Float64,
    "covers": pl.String,
    "sample": pl.String,
}
CHANCES = {"tested_on": pl.String, "target": pl.String, "chance": pl.Float64}
NOISE = {"condition": pl.String, "layer": pl.Int64, "noise": pl.Float64}

SAMPLES = {
    **dict.fromkeys(("fit_on", "tested_on", "probe", "layer"), pl.String),
    "rows": pl.Int64,
    "target": pl.String,
    "metric": pl.String,
    **_EVIDENCE,
    "n": pl.Int64,
    "draws": pl.Int64,
}


def results_table(scores: Sequence[Score]) -> pl.DataFrame:
    """results.parquet: one row for each score and layer, over seeds. results.csv has those of the summary layers."""
    return _sorted([_of_scores(scores, [score.mean for score in scores], RESULTS)] if scores else [], RESULTS)


def seeds_table(scores: Sequence[Score]) -> pl.DataFrame:
    """seeds.parquet: the same for every seed, with the seed's number in place of their count."""
    return _sorted([_of_scores(scores, [score.each for score in scores], SEEDS)] if scores else [], SEEDS)


def checks_table(judged: Iterable[tuple[Claim, Judgement]]) -> pl.DataFrame:
    """checks.csv: one row for each check, in the order of the spec."""
    rows = [
        {
            "check": check.name or check.kind(),
            "probe": check.probe,
            "condition": check.condition,
            "finding": judgement.finding,
            "expect": check.expect,
            "verdict": verdict(judgement.finding, check.expect),
            "value": judgement.estimate.value,
            "low": judgement.estimate.low,
            "high": judgement.estimate.high,
            "threshold": judgement.threshold,
            "why": judgement.why,
        }
        for check, judgement in judged
    ]
    return _rounded(pl.DataFrame(rows, schema=CHECKS))


def verdict(finding: Finding, expect: Finding | None) -> Verdict:
    """Whether a check came out as the spec's author expects."""
    if expect is None:
        return "not_judged"
    return "as_expected" if finding == expect else "unexpected"


def noise_table(noise: Mapping[str, Mapping[int, float]]) -> pl.DataFrame:
    """The noise floor by condition and layer, in the order of the conditions."""
    rows = [(name, layer, value) for name, by_layer in noise.items() for layer, value in by_layer.items()]
    return _rounded(pl.DataFrame(rows, schema=NOISE, orient="row"))


def chances_table(metric: Metric, labels: RunLabels) -> pl.DataFrame | None:
    """What an uninformed answer scores on each target of each condition, where that is not the metric's own chance; None if it is everywhere."""
    rows = []
    for (condition, part), own in labels.items():
        for target, values in own.targets.items() if part == "test" else ():
            chance = (
                metric.chance_on(values, own.kind_of(target))
                if own.kind_of(target).name in metric.targets
                else metric.chance
            )
            if chance is not None and chance != metric.chance:
                rows.append((condition, target, chance))
    return _rounded(pl.DataFrame(rows, schema=CHANCES, orient="row")) if rows else None


def restarts_table(scored: Iterable[Scored], labels: RunLabels) -> pl.DataFrame | None:
    """restarts.parquet: how the restarts of all seeds spread, by layer and target; None if no probe has more than one.

    `picked` is the accuracy of each seed's lowest-loss restart, mean over seeds; `min` to `max` are quantiles of the
    accuracy of all restarts, each one's sign resolved on training rows.
    """
    frames = []
    for one in scored:
        if one.restart_loss is None or one.restart_loss.shape[1] < 2:
            continue
        for target in labels[one.tested_on, "test"].binary:
            accuracy = restart_accuracy(one, target)
            if accuracy is not None:
                frames.append(_restarts(one, target, accuracy, one.restart_loss))
    return _sorted(frames, RESTARTS) if frames else None


def depth_table(scores: Iterable[Score]) -> pl.DataFrame | None:
    """depth.parquet: the earliest informative layer of every probe and target, with its interval in layers and the AUROC of the
    best layer; no layer where none is above chance. None if no probe has several layers, or there is no AUROC."""
    rows = [
        {name: getattr(score, name) for name in ("fit_on", "tested_on", "probe", "target")}
        | msgspec.structs.asdict(score.depth)
        for score in scores
        if score.depth is not None
    ]
    if not rows:
        return None
    frame = (
        pl.DataFrame(rows, schema={**DEPTH, "low": pl.Float64, "high": pl.Float64})
        .fill_nan(None)
        .cast(pl.Schema(DEPTH))
    )
    return _rounded(frame.sort("fit_on", "tested_on", "probe", "target"))


def headline_table(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """headline.parquet: the rows of results.csv at the summary layers, with intervals of all that varies, the standard error by each
    source, and the standard deviation between draws of sample and split where there are several; `sample` tells training samples
    apart."""
    return _sorted([frame.select(list(HEADLINE)) for frame in frames], HEADLINE)


def samples_table(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """samples.parquet: the score by the number of training pairs, mean over draws; the last of each curve is the fit on all."""
    return _sorted(list(frames), SAMPLES)


def to_csv(frame: pl.DataFrame) -> str:
    """The frame as csv: line feeds, four decimals, nothing for a missing number, text that no spreadsheet executes."""
    frame = typed(frame)
    text = [pl.when(_dangerous(name)).then(pl.lit("'") + pl.col(name)).otherwise(pl.col(name)).alias(name)
            for name, kind in frame.schema.items() if kind == pl.String]  # fmt: skip
    return _rounded(frame).with_columns(text).write_csv(float_precision=DECIMALS, line_terminator="\n", null_value="")


def to_parquet(frame: pl.DataFrame) -> bytes:
    """The frame as parquet, layers as numbers."""
    buffer = io.BytesIO()
    typed(frame).write_parquet(buffer, statistics=False)
    return buffer.getvalue()


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as files have it: a layer is a number, and nothing for what has no layers."""
    if frame.schema.get("layer") != pl.String:
        return frame
    return frame.with_columns(pl.col("layer").replace(ALL_LAYERS, None).cast(pl.Int64))


def untyped(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as the program has it, of one read from a file: a layer is text, and `all` for what has no layers."""
    if "layer" not in frame.columns:
        return frame
    return frame.with_columns(pl.col("layer").cast(pl.String).fill_null(ALL_LAYERS))


def _dangerous(name: str) -> pl.Expr:
    # What spreadsheets take for a formula, also after white space that they strip (OWASP, CSV injection), the full-width
    # forms included.
    return pl.col(name).str.contains(r"^[\s\x00]*[=+\-@＝＋－＠]|^[\t\r]")


def _of_scores(
    scores: Sequence[Score], found: Sequence[Estimates], schema: dict[str, type[pl.DataType]]
) -> pl.DataFrame:
    """One row for each value of the estimates: (layer,), or (seed, layer)."""
    size = [one.value.size for one in found]
    columns: dict[str, Any] = {
        name: np.repeat(np.array([getattr(score, name) for score in scores], dtype=object), size)
        for name in (*_WHERE, "metric")
        if name != "layer"
    }
    names = [_layer_names(score.layers) for score in scores]
    columns["layer"] = [name for own, count in zip(names, size, strict=True) for name in own * (count // len(own))]
    for name in _EVIDENCE:
        columns[name] = np.concatenate([np.ravel(getattr(one, name)) for one in found], dtype=np.float64)
    for name in ("n", "seeds"):
        columns[name] = np.repeat(np.array([getattr(one, name) for one in found], dtype=np.int64), size)
    columns["seed"] = np.concatenate([np.arange(count) // len(own) for own, count in zip(names, size, strict=True)])
    return pl.DataFrame({name: pl.Series(name, columns[name], dtype=kind) for name, kind in schema.items()})


def _restarts(one: Scored, target: str, accuracy: np.ndarray, loss: np.ndarray) -> pl.DataFrame:
    seeds, restarts, layers = loss.shape
    # A diverged restart has no loss and is never picked.
    pick = np.argmin(np.where(np.isfinite(loss), loss, np.inf), axis=1)
    picked = np.take_along_axis(accuracy, pick[:, None], axis=1)[:, 0].mean(axis=0, dtype=np.float64)
    every = accuracy.reshape(-1, layers).astype(np.float64)
    losses = loss.reshape(-1, layers).astype(np.float64)
    spread = [picked, *np.quantile(every, [0, 0.1, 0.5, 0.9, 1], axis=0), *np.quantile(losses, [0, 0.5, 1], axis=0)]
    return pl.DataFrame(
        {
            "fit_on": [one.fit_on] * layers,
            "tested_on": [one.tested_on] * layers,
            "probe": [one.probe] * layers,
            "layer": _layer_names(one.layers),
            "target": [target] * layers,
            "seeds": [seeds] * layers,
            "restarts": [restarts] * layers,
            **dict(zip(_SPREAD, spread, strict=True)),
        },
        schema=RESTARTS,
    )


def _layer_names(layers: tuple[int, ...]) -> list[str]:
    return [str(layer) for layer in layers] or [ALL_LAYERS]


def _sorted(frames: list[pl.DataFrame], schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    """One frame, by column from left to right: names by alphabet, layers by number with `all` last."""
    if not frames:
        return pl.DataFrame(schema=schema)
    depth = pl.col("layer").cast(pl.Int64, strict=False)
    order = ("fit_on", "tested_on", "probe", "layer", "target", "metric", "seed", "rows")
    names = [name for name in order if name in schema]
    keys = [depth if name == "layer" else pl.col(name) for name in names]
    return _rounded(pl.concat(frames).sort(keys, nulls_last=True, maintain_order=True))


def _rounded(frame: pl.DataFrame) -> pl.DataFrame:
    """Numbers as they are printed: four decimals, no minus before a zero, null where there is none."""
    numbers = pl.col(pl.Float64)
    frame = frame.with_columns(numbers.fill_nan(None).round(DECIMALS))
    # Adding 0.0 would do, but is optimised away.
    return frame.with_columns(pl.when(numbers == 0).then(0.0).otherwise(numbers).name.keep())
