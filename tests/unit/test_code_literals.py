"""Whatever is in a form stands in a program as what it is, in each language."""

import ast
import json
import shutil
import subprocess

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.web.playground.code import literals

NASTY = (
    'it\'s "quoted" \\ and \\n, $HOME ${HOME} `ls` $(ls) %s {x} {{ x }} {% raw %}',
    "two\nlines\r\n\tand a tab\0",
    "</script><script>alert(1)</script> <!-- -->",
    "'''  \"\"\"  '  \" \\",
    "\u2028\u2029\u202e\u200d\ufeff\x7f\x85 \U0001f98a \U000e0041 é",
    "JSON\nEOF\n",
    "@file !! #!",
    "",
)
STRINGS = st.text() | st.sampled_from(NASTY) | st.text(alphabet="'\"\\`$\n\r{}<>/u0027")
WHOLE = st.integers(min_value=-(2**53), max_value=2**53)  # that JavaScript has exactly
NO_SHRINKING = settings(  # of what starts a process each time
    max_examples=3, deadline=None, phases=[Phase.generate], database=None
)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([0, 4, 8]))
def test_python_reads_it_as_it_was(value, indent):
    assert ast.literal_eval(literals.python(value, indent)) == value


@given(VALUES)
def test_json_between_single_quotes_is_what_it_was_and_never_ends_them(value):
    written = literals.shell_json(value)
    assert json.loads(written) == value
    assert "'" not in written


@given(STRINGS)
def test_what_cannot_be_seen_is_written_out(value):
    for write in (literals.python, literals.javascript, literals.shell_json):
        assert [one for one in write(value) if not one.isprintable() and one != "\n"] == []


@NO_SHRINKING
@given(st.lists(STRINGS, min_size=50, max_size=50))
def test_javascript_reads_it_as_it_was(words):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    wanted = [*NASTY, *words, {one: one for one in words}, {"__proto__": 1}, 1.5, -7, None, True]
    program = f"console.log(JSON.stringify({literals.javascript(wanted)}))"
    ran = subprocess.run([node, "-"], input=program.encode(), capture_output=True, check=True)
    assert json.loads(ran.stdout) == wanted


@NO_SHRINKING
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_shell_reads_a_word_as_it_was(words):
    program = f"printf '%s\\0' {' '.join(map(literals.shell_word, words))}"
    ran = subprocess.run(["/bin/sh", "-c", program], capture_output=True, check=True)
    assert ran.stdout.decode().split("\0")[:-1] == (words or [""])


def test_a_short_list_stays_on_its_line_and_a_long_one_does_not():
    assert literals.python([1, 2]) == "[1, 2]"
    assert literals.python(["x" * 40, "y" * 40]).count("\n") == 3


def test_an_object_is_laid_out_as_the_language_does():
    value = {"prompt": "a fox", "loras": [{"scale": 1.5}], "my-field": None}
    assert literals.javascript(value) == (
        '{\n  prompt: "a fox",\n  loras: [\n    {\n      scale: 1.5,\n    },\n  ],\n'
        '  "my-field": null,\n}'
    )
    assert literals.shell_json({"a": True}) == '{\n  "a": true\n}'
