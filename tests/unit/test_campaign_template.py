"""Templates: what they give, and how one that is wrong is refused."""

import pytest

from tasks.campaigns.template import (
    BadTemplate,
    fill_templates,
    find_names,
    read_template,
    read_templates,
)

VALUES = {"what": "fox", "seed": 7, "on": True, "Note ": "x"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a {what}, studio light", "a fox, studio light"),
        ("{ what }{what}", "foxfox"),
        ("{{what}} {what}", "{what} fox"),
        ("{seed}", 7),
        ("{what}", "fox"),
        ("seed {seed} {on}", "seed 7 true"),
        ("", ""),
        ("no names", "no names"),
    ],
)
def test_a_template_gives_text_or_alone_the_value_itself(text, filled):
    assert read_template(text).fill(VALUES) == filled


@pytest.mark.parametrize("text", ["a {what", "a what}", "{}", "{ }", "{a{b}}", "}{"])
def test_a_brace_without_its_partner_is_refused(text):
    with pytest.raises(BadTemplate, match="doubled"):
        read_template(text)


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(BadTemplate, match=r"\{whta\}: no such column; did you mean 'what'\?"):
        read_template("a {whta}").fill(VALUES)


def test_templates_stand_anywhere_in_json():
    value = {"a": ["{what}", {"b": "x {seed}"}, 3, None], "c": "{seed}"}

    made = read_templates(value)

    assert find_names(made) == {"what", "seed"}
    assert fill_templates(made, VALUES) == {"a": ["fox", {"b": "x 7"}, 3, None], "c": 7}
    assert value == {"a": ["{what}", {"b": "x {seed}"}, 3, None], "c": "{seed}"}
