"""A condition: which network, which examples, which prompts and which states go together under one name."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Bed, Distractor, Factor, Source
from harness.contracts.targets import TargetKindName
from harness.spec.reply import Reply

# The lookahead keeps out a last line break, which Python's `$` lets pass.
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)")]


Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)")]
"""A name that a template can have for a variable."""

Value = str | int | float | bool
"""A cell of a table, as a spec writes it."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the spec's parts: unknown keys are errors."""


class Model(Part, frozen=True, kw_only=True):
    """A pretrained language model, or the same architecture untrained."""

    id: str
    """An asset's name, a Hub id, a local folder or a .gguf file."""
    revision: str = "main"
    """Branch, tag or commit on the Hub."""
    adapter: str | None = None
    """A LoRA adapter laid over the weights: a folder as peft saves it, or the name of one that comes with a test bed."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` keeps architecture and tokenizer and draws the weights anew, untrained."""
    weights_seed: int = 0
    """Seed of `weights: random`."""
    precision: Literal["exact", "fast"] = "exact"
    """`exact` computes in float32, with weights held as their checkpoint stores them, or in float32 if they are few. `fast` rounds what is
    multiplied; that moves x⁺ − x⁻, on which the methods live, far more than the states. Its noise is measured on some rows and stands in
    the report."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of products; one below float32 needs `precision: fast`. If empty float32, or with `fast` bfloat16 where the processor or
    GPU multiplies it fast: other numbers on other machines."""
    side: Literal["auto", "decoder", "encoder"] = "auto"
    """Which stack to read in an encoder-decoder model; `auto` is the only one there is, or the decoder."""
    packing: Literal["auto", "never"] = "auto"
    """`auto` forwards a shared prefix once where a self-check proves that the states are the same; `never` forwards every prompt whole."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off unless you trust its authors."""
    allow_pickle: bool = False
    """Load pickled checkpoints, which can run code, where a model has no safetensors."""

    def __post_init__(self) -> None:
        if self.adapter is not None and self.weights == "random":
            raise ValueError("an adapter means nothing over random weights; take one of `adapter` and `weights` out")
        if self.precision == "exact" and self.dtype not in (None, "float32"):
            raise ValueError(f"products in {self.dtype} are not exact; add `precision: fast`, or take `dtype` out")
        if self.precision == "fast" and self.dtype == "float32":
            raise ValueError("products in float32 are exact; take one of `precision` and `dtype` out")


class StatesFolder(Part, frozen=True, kw_only=True):
    """States that somebody else made, in the place of a network: rows, labels and splits are those of the folder."""

    states: str
    """A folder with an array (safetensors, npy or Zarr v3), a table of its rows (parquet or csv) and a card, `states.json`, that says what is
    what: `harness export` writes one. Relative to the spec."""


class Split(Part, frozen=True, kw_only=True):
    """Shares of the groups in each part; they must sum to one."""

    train: Annotated[float, Meta(gt=0, lt=1)] = 0.6
    """Rows that probes, signs, thresholds and statistics are fitted on."""
    validation: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Rows that choose a layer or a hyperparameter; none unless asked for."""
    test: Annotated[float, Meta(gt=0, lt=1)] = 0.4
    """Rows that are scored."""


class Target(Part, frozen=True, kw_only=True):
    """What is true of a statement, where it is not one of the answers: a class, a number or a vector in a column of the data."""

    column: str | None = None
    """The column: a known factor of the data set, or any column of a file; that of the labels if empty. Numbers of a vector stand in one
    cell, as in `0.5 1 -2`."""
    kind: TargetKindName
    """`binary` and `classes` are names in cells; `number` is one number, `vector` as many in every row."""
    values: tuple[str, ...] = ()
    """Names of the classes, index = label, or of a vector's components; those of the data, by alphabet, if empty."""
    unit: str = ""
    """Unit of the numbers, for axes."""

    def __post_init__(self) -> None:
        if self.kind == "number" and self.values:
            raise ValueError("a number has no values to name; take `values` out, or write kind: classes")
        if self.kind == "binary" and len(set(self.values)) not in (0, 2):
            raise ValueError("a binary target has two different values; name two, or write kind: classes")
        if len(set(self.values)) < len(self.values):
            raise ValueError("each of the values must be named once")

    @property
    def factor(self) -> Factor:
        """What it is, as far as the spec says."""
        if self.kind == "binary" or self.kind == "classes":
            return Factor("truth", self.values)
        return Factor("truth", self.values, self.kind, self.unit)


class Data(Part, frozen=True, kw_only=True):
    """Which examples, how many, and how they are split."""

    source: Source | None = None
    """A built-in set, or `{file: …}`, or `{hub: …}`: `harness list data`. A test bed brings its own."""
    where: dict[str, Value | tuple[Value, ...]] | None = None
    """Only rows whose columns have these values, as in `{who: Bob, difficulty: [easy, medium]}`; `{}` keeps all. The split is then made of all groups of
    the data set, before rows are chosen: a probe fitted on some rows of a group is never tested on others of it, whatever the two conditions keep. Rows
    are chosen before labels are read, so that those whose label is no answer, or whose `target` is none, can be left out: `{label: ["yes", "no"]}`."""
    target: Target | None = None
    """What is true of each row, as in `{column: population, kind: number}`; the label if empty. Only statements have one: of a pair, the
    truth is which answer is right, and what else is true of it is a factor."""
    reply: Reply | None = None
    """The model's own answer to each prompt, a statement's in the place of an answer that is given; none if empty."""
    of: str | None = None
    """Quotes the rows of another condition, in which somebody replies: same examples, parts and labels. A template has `reply`, `question`, `system` and
    `transcript` of each; without one it is the reply alone. Nothing else of `data` is said there, nothing of the spec's `prompt` and `activations` holds."""
    limit: Annotated[int, Meta(ge=4)] | None = 1000
    """At most so many examples, sampled by `seed`; null for all. A larger limit keeps the examples of a smaller one."""
    balance: bool = True
    """As many examples of each label. Unsupervised probes need it (Burns et al. 2022, §3.1)."""
    half: str | None = None
    """An answer that is right in half of the examples, the others sharing the rest evenly; for more than two answers, one
    of which matters most. Needs `balance`."""
    sign_on: str | None = None
    """A distractor or known factor: only training rows on which it agrees with the truth resolve the signs of probes; all rows if empty. For a persona
    who is wrong on some rows only (Farquhar et al. 2023, §4.3): a probe then has the same sign for the truth and for her."""
    split: Split = Split()
    """Shares of training, validation and test rows; a group never straddles two parts."""
    seed: int = 0
    """Seed of the sample, the split, the wrong labels and the distractors."""


class Prompt(Part, frozen=True, kw_only=True):
    """How an example and an answer become text. Templates run in Jinja's sandbox."""

    template: str | None = None
    """The text, with `{{ answer }}` and the data set's fields; the data set's own if empty."""
    templates: dict[Slug, str] = {}
    """Several named templates instead of one; each example is asked with every one."""
    answers: tuple[str, ...] = ()
    """The answers, index = label; the data set's own if empty. With more than two, the right one stands against one random wrong one."""
    shots: Annotated[int, Meta(ge=1, le=64)] | None = None
    """So many solved training examples before every question, in its own form and with the right answers: a few-shot prompt.
    Half of them have each answer, and none is about the question's own group. More teach the task better and make every prompt
    longer, of which what is shared is forwarded once."""
    chat: bool | dict[Variable, Value | None] = False
    """Wrap in the model's chat template: what precedes the answer is the user's turn, the answer the assistant's. A mapping is
    what the template is given besides, as in `{enable_thinking: false}`; two keys are ours: `system` is what the system says,
    and `opening` what the assistant's turn begins with before the answer, as in `{opening: "</think>"}`. A template that
    writes the date writes 1 July 2024, unless it takes another: a prompt is the same tomorrow. Conversations of the data (`messages`) stand
    in it in any case, without `system` and `opening`."""
    control_tokens: Literal["as_text", "allowed"] = "as_text"
    """What control tokens of the tokenizer are that stand in data, answers, distractors or the system's words: `as_text` reads
    `<|im_end|>` as the letters that it is made of; `allowed` takes it for the token, with which a text can end its turn or
    forge another. Those that a template writes itself are always tokens."""
    max_tokens: Annotated[int, Meta(ge=4)] | None = None
    """Longest prompt; the model's context if empty."""
    too_long: Literal["error", "drop"] = "error"
    """What to do with an example whose prompt is longer. Prompts are never cut."""

    def __post_init__(self) -> None:
        for name, value in self.chat.items() if isinstance(self.chat, dict) else ():
            if name in ("messages", "add_generation_prompt"):
                raise ValueError(f"chat: `{name}` is made of the prompt; take it out")
            if name in ("tools", "documents") and value is not None:
                raise ValueError(f"chat: every prompt is asked without {name}; write null, or take it out")
            if name in ("system", "opening") and (not isinstance(value, str) or not value.strip()):
                raise ValueError(f"chat: `{name}` is a text; write it in quotes, or take it out")

    @property
    def chat_options(self) -> dict[str, Value | None] | None:
        """What the chat template is given; None where there is no chat."""
        if isinstance(self.chat, bool):
            return {} if self.chat else None
        return {name: value for name, value in self.chat.items() if name not in ("tools", "documents")}


class Stretch(Part, frozen=True, kw_only=True):
    """Some tokens of a prompt, and what is made of their states."""

    span: Slug | None = None
    """What stands between `{% span NAME %}` and `{% endspan %}` in the template."""
    of: Literal["system", "user", "assistant"] | None = None
    """What somebody says in a chat: the assistant's words are the answer and what follows it; in a conversation of the data, its last reply."""
    pool: Literal["mean", "max", "last", "each"] = "mean"
    """The mean, the largest number of each dimension, or the last token; `each` makes every token a row with the label of its statement. Rows
    of a statement are of one group. Fitted there and tested on a condition with `mean`, a linear probe scores the mean of its tokens. What
    `data.balance` balances are statements: a long one has more rows and weighs more, in the fit and in the scores, so that where one class has
    the longer statements, half is no chance level of accuracy; `balanced_accuracy` minds that, and the report says it."""
    drop_last: Annotated[int, Meta(ge=0)] = 0
    """So many tokens at the end are left out, as those that only say that somebody has finished."""

    def __post_init__(self) -> None:
        if (self.span is None) == (self.of is None):
            raise ValueError("say which tokens: one of `span` and `of`")

    @property
    def what(self) -> str:
        """In words."""
        return f"the span {self.span}" if self.span is not None else f"what the {self.of} says"


class Activations(Part, frozen=True, kw_only=True):
    """Which states of the network to keep."""

    layers: Literal["all"] | tuple[int, ...] | dict[Literal["from", "to", "step"], int] = "all"
    """`all`, a list, or `{from: 0, to: 30, step: 2}`. Layer 0 is the embeddings; negative numbers count from the last."""
    token: Literal["last", "answer", "mean"] = "last"
    """The prompt's last token, the answer's last token, or the mean over all tokens of the prompt."""
    read: Literal["last", "answer", "mean", "max"] | Stretch | None = None
    """The same with more to choose from, in the place of `token`: `max` is the largest number of each dimension over all tokens; a mapping
    names some tokens, as in `{span: statement}` or `{of: assistant, pool: max, drop_last: 5}`."""
    site: (
        Literal["residual", "before_block", "after_attention", "attention", "mlp", "neurons"]
        | dict[Literal["head"], int]
    ) = "residual"
    """Where in a block. `residual`: the residual stream after it; `before_block` and `after_attention`: the stream there; `attention` and
    `mlp`: what the last linear map of either gives; `neurons`: what goes into that of the MLP; `{head: 3}`: what one head, counted from 0,
    gives before they are mixed. Layer 0 has the residual stream only."""

    def __post_init__(self) -> None:
        if self.read is not None and self.token != "last":
            raise ValueError("`token` and `read` both say which tokens; take `token` out")
        if isinstance(self.site, dict) and (len(self.site) != 1 or next(iter(self.site.values())) < 0):
            raise ValueError("site: give one head by its number, counted from 0, as in {head: 3}")

    @property
    def position(self) -> Literal["last", "answer", "mean", "max"] | Stretch:
        """Which tokens are read."""
        return self.token if self.read is None else self.read

    @property
    def position_key(self) -> str:
        """The key of the spec that says so."""
        return "token" if self.read is None else "read"

    @property
    def site_name(self) -> str:
        """The site in one word; `head:3` for one head."""
        return self.site if isinstance(self.site, str) else f"head:{self.site['head']}"


class Planting(Part, frozen=True, kw_only=True):
    """A feature that is added to the states of real prompts: the mirror image of a probe's `erase`, known exactly.

    Whatever reads the condition's states reads it: fits, scores, checks and geometry. The network's own answer does not.
    """

    of: str = "truth"
    """The factor that it shows: `truth`, a distractor's name (a `coin` leaves the prompt as it is), a known factor of the data,
    or an XOR that the spec declares."""
    strength: Annotated[float, Meta(ge=0, le=1e4)] = 1.0
    """How far it moves a state to either side, in standard deviations of the condition's training states along a random
    direction at the same layer. 0 plants nothing."""
    form: Literal["opposite", "common"] = "opposite"
    """`opposite`: its side is turned round in x⁻, so that x⁺ − x⁻ has twice of it: the form that methods on contrast pairs can take
    for the answer (Farquhar et al. 2023, theorem 1). `common`: the same in both, so that the difference has nothing of it."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of its direction, a random one at each layer and the same in every condition."""


class FeaturesOf(Part, frozen=True, kw_only=True):
    """The features of a sparse autoencoder at one layer in the place of the states: all probes read them, each feature as a dimension.

    It is one that the analysis `sparse_autoencoders` trains, on training rows, or one that somebody published.
    """

    variant: Literal["l1", "gated", "top_k", "jumprelu"] | None = None
    """Of one that is trained here, as in `{variant: top_k, sparsity: 32}`."""
    sparsity: Annotated[float, Meta(gt=0)] | None = None
    """Its penalty; of `top_k`, k."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Which of those of one sparsity."""
    trained_on: str | None = None
    """The condition on whose states it is trained; needed where such ones are trained on several."""
    published: str | None = None
    """A folder with `cfg.json` and `sae_weights.safetensors`, as SAELens saves it (standard, gated, jumprelu, topk); relative to the spec."""
    layer: Annotated[int, Meta(ge=0)] | None = None
    """The layer that a published one reads, by this program's count: 0 is the embeddings, and hook_resid_post of block 3 is layer 4. Of one that is
    trained here the layer is known, and needed only where such ones are trained at several."""

    def __post_init__(self) -> None:
        if (self.published is None) == (self.variant is None):
            raise ValueError(
                "say which autoencoder: `variant` and `sparsity` of one that is trained here, or `published`"
            )
        if self.published is None and self.sparsity is None:
            raise ValueError("`sparsity` is missing: which of the autoencoders of a variant it is")
        if self.published is not None and (self.sparsity is not None or self.trained_on is not None or self.seed):
            raise ValueError("a published autoencoder has no `sparsity`, `seed` and `trained_on`; take them out")
        if self.published is not None and self.layer is None:
            raise ValueError("`layer` is missing: the one that the published autoencoder reads")


class Elicit(Part, frozen=True, kw_only=True):
    """Fine-tuned elicitation: the network is trained to say the truth on labelled rows, and asked again. A low-rank update
    (LoRA) of its upper blocks is trained on which of the two answers is likelier; only training rows are ever seen."""

    on: str | None = None
    """Condition whose training rows are taught, with their labels; its own if empty. Where the network is honest, it tells
    whether honesty generalises; where it is not, it is the ceiling, for which nobody has labels in practice."""
    target: str = "truth"
    """What it is taught to say: the truth, or another factor, as a control."""
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 100
    """Steps of training. More may teach it what it did not know; a control is a network that does not know it."""
    batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Questions in each step; all there are where there are fewer."""
    rate: Annotated[float, Meta(gt=0, le=1)] = 5e-4
    """Largest learning rate of AdamW, after a warm-up of 15 % of the steps. Tiny networks take ten times as much."""
    rank: Annotated[int, Meta(ge=1, le=256)] = 8
    """Rank of the update of each linear map. A smaller one can teach less that is new."""
    alpha: Annotated[int, Meta(ge=1, le=1024)] = 16
    """The update counts alpha / rank times."""
    first_block: Annotated[float, Meta(ge=0, lt=1)] = 0.33
    """Share of the blocks that stay as they are, from below: what is known there was known before. They are forwarded once for
    each row, so that a larger share is also faster."""
    seed: int = 0
    """Seed of the first weights of the update and of the order of rows."""

    def block(self, blocks: int) -> int:
        """First block that is changed, of so many, counted from 0."""
        return min(round(self.first_block * blocks), blocks - 1)


class Origin(Part, frozen=True, kw_only=True):
    """The bed with a card that a condition's model, data and prompt come from."""

    name: str
    """As the spec has it: a folder, or a repository on the Hub."""
    folder: str
    """Where it lies on this machine, and where the paths of its card start; not part of any key."""
    revision: str = ""
    """Commit on the Hub; empty for a folder."""
    setting: str = ""
    """The condition of the card that it is; empty for what stands above them."""
    trained: bool = True
    """Off for the control: the base without what the bed was taught."""


REDRAWN = 1_000_003
"""By how much draws of a sample are apart in their seeds: further than specs are that somebody writes by hand."""


class Condition(Part, frozen=True, kw_only=True):
    """One resolved set of circumstances: everything that is forwarded under one name."""

    name: str
    model: Model | Bed | StatesFolder
    data: Data
    prompt: Prompt
    distractors: tuple[str, ...]
    """Names of the distractors that stand in the prompt. The others are still drawn, as a control."""
    activations: Activations
    altered: dict[str, Distractor] = {}
    """Distractors of which the condition changes options, as they are in it."""
    elicit: Elicit | None = None
    """How the network is trained before it is asked; None where it is asked as it is."""
    plant: Planting | None = None
    """What is added to its states; nothing if empty."""
    features: FeaturesOf | None = None
    """The autoencoder through which its states are read; None where they are read as they are."""
    bed: Origin | None = None
    """The bed with a card that it comes from, if it does."""

    def redrawn(self, number: int) -> Condition:
        """The same circumstances on another draw of sample and split."""
        seed = self.data.seed + number * REDRAWN
        return msgspec.structs.replace(self, data=msgspec.structs.replace(self.data, seed=seed))

    @property
    def own_rows(self) -> Bed | None:
        """The bed that makes its rows together with their states; None where `data` says which rows there are."""
        return self.model if isinstance(self.model, Bed) else None

    @property
    def has_rows(self) -> bool:
        """Whether its model makes its rows, or has them with its states; `data` then only samples and splits them."""
        return isinstance(self.model, Bed | StatesFolder)

    @property
    def untrained(self) -> bool:
        """Whether its network has random weights; a formula has none."""
        if isinstance(self.model, Bed):
            return self.model.untrained
        return isinstance(self.model, Model) and self.model.weights == "random"
