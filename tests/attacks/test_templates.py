"""Templates from strangers: reaching out, running long, growing without end; in a spec and in a tokenizer."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import DataError, UsageError
from harness.untrusted import worker
from harness.untrusted.template import Template
from tests.attacks.scene import Scene
from tests.attacks.table import soon

LONG = "x" * 100_000
GROWN = "{% set t = text ~ text ~ text ~ text %}"
DAG = "{% set a = ['x'] %}{% set b = ['x'] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
MUCH = "(takes|needs) more than|larger than|beyond 1,000,000"

TEMPLATES = [
    # Reaching out.
    ("{{ text.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    ("{{ text['__class__'] }}", "unsafe"),
    ("{{ self.__init__.__globals__ }}", "unsafe"),
    ("{{ ''['__cl' ~ 'ass__'] }}", "unsafe"),
    ("{{ text | attr('__class__') }}", "No filter"),
    ("{{ [text] | map(attribute='__class__') | list }}", "No filter"),
    ("{{ [text] | max(attribute='__class__.__mro__') }}", "unsafe"),
    ("{{ [text] | sum(attribute='__class__') }}", "unsafe"),
    ("{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}", "unsafe"),
    ("{% for a in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}", "unsafe"),
    ("{{ '{0.__class__}'.format(text) }}", "unsafe"),
    ("{{ '{0.__class__}'.format_map({}) }}", "unsafe"),
    ("{{ cycler.__init__.__globals__.os.system('touch canary') }}", "unsafe"),
    ("{{ lipsum.__globals__ }}", 'no field "lipsum"'),
    ("{% include '/etc/passwd' %}", "no loader"),
    ("{% import '/etc/passwd' as x %}", "no loader"),
    ("{% extends '/etc/passwd' %}", "no loader"),
    ("{{ answer.marked }}", "unsafe"),
    # Running long.
    ("{% for i in range(1000000000) %}{% endfor %}", "range"),
    ("{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}", MUCH),
    ("{% for a in text recursive %}{{ loop(text) }}{% endfor %}", "not safely callable"),
    ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    (GROWN + "{% for a in text[:40000] %}{% set y = t | upper %}{% endfor %}", MUCH),
    (GROWN + "{% for a in text[:40000] %}{% set y = t.title() %}{% endfor %}", MUCH),
    (GROWN + "{% for a in text[:40000] %}{% set y = t[::-1] %}{% endfor %}", MUCH),
    ("{% for a in text[:40000] %}" + "{% set y = 1 %}" * 3000 + "{% endfor %}", MUCH),
    ("{{ 9 ** (9 ** 9) }}", MUCH),
    ("{{ " + "1" * 5000 + " }}", "integer string conversion"),
    ("{{ text[0] }}" * 15_000, "parts"),
    ("{{ '" + "x" * 300_000 + "' }}", "200,000 characters"),
    ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "more simply"),
    # Growing without end.
    ("{{ text * 100000000 }}", MUCH),
    ("{{ '%1000000000d' % 1 }}", MUCH),
    ("{{ 'x'.ljust(10000000000) }}", "ljust"),
    ("{{ text | center(10000000000) }}", "No filter"),
    ("{{ text | join(text) }}", MUCH),
    ("{{ text | replace('', text) }}", MUCH),
    ("{% set a = text %}" + "{% set a = a ~ a %}" * 40, MUCH),
    ("{% set a = text %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40, MUCH),
    (DAG + "{{ a }}", MUCH),
    (DAG + "{{ a == b }}", MUCH),
    (DAG + "{{ a in [b] }}", MUCH),
    (DAG + "{{ a ~ '' }}", MUCH),
    (DAG + "{{ a | string | length }}", MUCH),
    (DAG.replace("[a, a]", "(a, a)").replace("a = ['x']", "a = ('x', )") + "{{ {a: 1} | length }}", MUCH),
    (DAG.replace("[a, a]", "(a, a)").replace("a = ['x']", "a = ('x', )") + "{{ [a] | unique | list | length }}", MUCH),
    ("{% set a = [text, text] %}{{ ([" + "a, " * 3000 + "] + [[]]) | sum(start=[]) }}", MUCH),
    ("{% set a = [text] %}" + "{% set a = [a, a, a] | sum(start=[]) %}" * 40, MUCH),
    # Breaking what comes after.
    ("{{ '\\ud800' }}", "half a character"),
    ("{{ text | truncate(2, False, '....') }}", "expected length"),
    ("{% if %}", "line 1"),
    ("{{ 1 / 0 }}", "division by zero"),
]


@pytest.fixture(autouse=True)
def less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of the processor, so that what never ends does so sooner."""
    monkeypatch.setenv(worker.FACTOR, "0.2")


@pytest.mark.parametrize(("template", "says"), TEMPLATES, ids=[template[:60] for template, _ in TEMPLATES])
def test_templates_from_strangers(scene: Scene, template: str, says: str) -> None:
    with soon(), scene.watched(), pytest.raises(DataError, match="template main") as caught:
        Template("main", template + "{{ answer }}").pair({"text": LONG}, ["no", "yes"], ["no", "yes"])
    assert re.search(says, str(caught.value)), caught.value
    scene.assert_untouched()


BUSY = [
    GROWN + "{% for a in text[:40000] %}{% set y = 'q' in t %}{% endfor %}",
    GROWN + "{% set u = t ~ '' %}{% for a in text[:40000] %}{% set y = u == t %}{% endfor %}",
    GROWN + "{{ t.strip(t | replace('x', 'y')) }}",
    "{{ 1.5 | round(3000000, 'ceil') }}",
    "{{ (text | replace('x', 'f')) | int(0, 16) // 7 }}",
]


@pytest.mark.parametrize("template", BUSY)
def test_templates_that_work_much_are_answered_or_refused_soon(scene: Scene, template: str) -> None:
    with soon(), scene.watched(), suppress(DataError):
        Template("main", template + "{{ answer }}").pair({"text": LONG}, ["no", "yes"], ["no", "yes"])
    scene.assert_untouched()


CHATS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ ''.__class__.__mro__ }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ strftime_now.__globals__['json'] }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ messages[0].pop('role') }}",
    "{{ 'x' * 10000000000 }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a | tojson }}",
    "{% set a = ['x' * 1000] * 1000 %}{{ a | tojson(indent=99999) }}",
    "{{ '%0999999999d' | format(1) }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ ('%s' * 900) % (('x' * 9000,) * 900) }}",
    "{{ '{:{}}'.format('x', 999999999) }}",
    "{{ ('{0}' * 9000).format('x' * 9000) }}",
    "{{ 'x'.zfill(999999999) }}",
    "{{ ('\t' * 9999).expandtabs(99999) }}",
    "{{ ('a\n' * 99999) | indent(99999) }}",
    "{{ ('a ' * 99999) | wordwrap(1, true, 'x' * 99999) }}",
    "{{ 64 ** 64 ** 64 }}",
    "{{ ['x'] * 999999999 }}",
    "{% for a in range(999) recursive %}{{ loop(range(999)) }}{% endfor %}",
    "{{ namespace(_x=1) }}",
    "{% set n = namespace() %}{% set n._x = 1 %}",
    "{{ '{0.__class__.__name__}'.format(1) }}",
    # Growing by a filter, a method or an operator, whatever its name is.
    "{{ [[[]]] | tojson(indent=3000000000) }}",
    "{% set b = 'x'.encode() %}{{ b.center(30000000000) }}",
    "{{ (1).to_bytes(30000000000) }}",
    "{% set n = namespace(b='x'.encode()) %}{% for i in range(60) %}{% set n.b = n.b + n.b %}{% endfor %}",
    "{{ ('x' * 99999).replace('', 'x' * 99999) }}",
    "{{ ('x' * 99999).translate({120: 'x' * 99999}) }}",
    "{{ ('x\n' * 99999) | indent('x' * 99999) }}",
    "{{ ('x\t' * 9999).expandtabs(2000000000) }}",
    "{{ 'x' | center(30000000000) }}",
    "{{ range(99999) | map('string') | join('x' * 99999) }}",
    "{{ [0] | batch(30000000000, 'x') | list }}",
    "{{ 1.5 | round(300000000) | string * 999999999 }}",
    "{{ 2 ** (2 ** 60) }}",
    "{{ ('%' ~ 9999999999 ~ 'd') % 1 }}",
    "{{ 'x'.format(*(range(99999) | list)) * 99999999 }}",
    "{% set a = ['x' * 999] %}" + "{% set a = a + a %}" * 60,
    "{% set d = {} %}" + "{% set d = {'a': d, 'b': d} %}" * 60 + "{{ d }}",
    "{% set n = namespace(a=[]) %}" + "{% set n = namespace(a=n, b=n) %}" * 60 + "{{ n }}",
    # Running long.
    "{% set ns = namespace() %}" + "{% set ns = namespace(a=[ns, ns]) %}" * 60 + "{{ ns }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a == a | list | tojson }}",
    "{{ ('http://' * 99999) | urlize }}{{ ('(' * 99999 ~ 'www.x.com') | urlize }}{{ ('&lt;' * 99999) | urlize(9) * 9 }}",
    "{% for i in range(99999) %}{{ ('x ' * 99999) | urlize }}{% endfor %}",
    "{{ lipsum(n=100000000, html=false) }}",
    "{% for i in range(99999) %}{{ ('x' * 99999) | striptags | wordcount }}{% endfor %}",
    "{{ (range(99999) | list * 99) | sum(start=[]) }}",
    "{{ ([range(999) | list] * 99999) | sum(start=[]) }}",
]


@pytest.mark.parametrize("template", CHATS)
def test_chat_templates_from_strangers(scene: Scene, template: str, tiny_llama: Path) -> None:
    import msgspec

    from harness.models.tokenizer import About, Tokenizer

    shutil.copy(tiny_llama / "tokenizer.json", scene.inside)
    about = About(adds_bos=False, special={}, chat_template=template)
    scene.write("about.json", msgspec.json.encode(about))
    with soon(), scene.watched(), pytest.raises(UsageError, match="chat template"):
        Tokenizer(scene.inside).chat({}).ask("hello")
    scene.assert_untouched()
