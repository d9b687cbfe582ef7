"""The commented spec that `harness init` writes: it runs as it is, and its comments say what else there is."""

from __future__ import annotations

import re
from typing import get_args

from harness.errors import UsageError
from harness.language.schema.words import pattern
from harness.spec import Slug

_STARTER = """\
# A spec asks one question and says what it expects. Run it:   harness run {name}.yaml
# See its prompts first:   harness preview {name}.yaml      See its cost:   harness plan {name}.yaml
# All kinds and options:   harness list probes ccs
harness: 1
name: {name}                     # the report goes to reports/{name}/
about: >-
  Does a small language model know which country a city is in, and do methods without labels find it?

# An asset (93 MB, brought once, offline from then on), a Hub id, a folder or a .gguf file:
#   model: {{id: EleutherAI/pythia-160m, dtype: float32, weights: random}}
# Nothing to download at all: a bed whose truth is planted. It has its own data, so leave out `data` and `prompt`.
#   model: {{bed: planted, distractor: 6.0}}
model: smollm2-135m-instruct

# A built-in set (harness list data), or your own examples below this file's folder, or the Hub's:
#   source: {{file: my.csv, text: statement, label: label}}    # with a template and answers of your own below
#   source: {{hub: stanfordnlp/imdb, split: test}}
data:
  source: cities
  limit: 200                     # a larger limit keeps these 200 and adds to them
  split: {{train: 0.5, validation: 0.1, test: 0.4}}   # examples of one group (a city) never straddle it

# How an example becomes two prompts, one for each answer. Left out, the data set's own wording is used. A field is a column of
# your file, or of the set (`harness list data cities`); every set has {{{{ text }}}}.
prompt:
  template: "The city of {{{{ city }}}} is in {{{{ country }}}}. This statement is {{{{ answer }}}}"
  answers: ["false", "true"]     # index = label; quoted, because false and true alone are no text in YAML

# Something else that a probe could find. It gets labels of its own, and every probe is scored on them too.
distractors:
  word: {{kind: random_word, words: [Banana, Shed], at: end}}

# Circumstances to compare: each overrides model, data, prompt or activations, and says which distractors stand in the text.
conditions:
  plain: {{}}
  banana: {{distractors: [word]}}
  # untrained: {{distractors: [word], model: {{weights: random}}}}

activations: {{layers: {{from: 5, to: 30, step: 5}}, token: last}}   # six layers are quick; `layers: all` shows every one

# Methods to compare. Random directions, the model's own answer and logistic regression are added where missing.
probes:
  - ccs
  - crc_tpc
  - mean_difference
  # Two of a kind need names:
  # - {{kind: ccs, name: ccs-one-start, restarts: 1}}
seeds: 10                        # fits of every method that draws random numbers; claims about one take six
layer: validation                # how the layer in summaries is chosen; never by the test score
metrics: [accuracy, auroc]

# Left out, each condition is tested on itself. To see what carries over, say where to fit and where to test:
# transfer: [{{fit_on: plain, tested_on: [plain, banana]}}, {{fit_on: banana, tested_on: [banana]}}]

# Claims, each decided by an interval: pass, fail or inconclusive. With `expect: pass` (or fail), anything else is exit code 1.
checks:
  - {{kind: beats_random, probe: logistic_regression, condition: plain}}
  - {{kind: tracks_truth, probe: ccs, condition: banana, over: word}}
  - {{kind: chance_on_shuffled_labels, probe: logistic_regression, condition: plain}}
"""


def starter_spec(name: str) -> str:
    """See `harness.language.starter`."""
    expression = get_args(Slug)[1].pattern
    if not re.search(expression, name):
        raise UsageError(f'"{name}" is not a good name for a spec: {pattern(expression)}')
    return _STARTER.format(name=name)
