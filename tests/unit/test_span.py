"""Spans of time as people write them."""

import pytest

from tasks.campaigns.span import parse_span


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86_400)],
)
def test_a_span_is_read_as_people_write_it(said, seconds):
    assert parse_span(said) == seconds


@pytest.mark.parametrize("said", ["", "90", "h", "2 h", "-1h", "2h!", "1e3s", "two hours"])
def test_what_is_no_span_is_refused_with_examples(said):
    with pytest.raises(ValueError, match="1h30m"):
        parse_span(said)
