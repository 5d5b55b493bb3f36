"""The header `traceparent`: what is taken of it, and what it comes back as."""

import pytest

from workers.trace_context import (
    find_passed_on,
    is_sampled,
    pass_on,
    read_traceparent,
    say_traceparent,
    write_traceparent,
)

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_header_comes_back_as_it_was(flags):
    header = HEADER[:-2] + flags

    kept = read_traceparent(header)

    assert kept is not None
    assert (len(kept), write_traceparent(kept)) == (25, header)
    assert is_sampled(kept) is (flags in {"01", "03"})


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert read_traceparent(f"cc{HEADER[2:-2]}ff-more") == read_traceparent(f"{HEADER[:-2]}03")


@pytest.mark.parametrize(
    "header",
    [
        *(None, 7, "", "00", HEADER[:-1], HEADER + "0", HEADER + "-more", HEADER.upper()),
        "ff" + HEADER[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        HEADER.replace("4", "٤", 1),
        HEADER + "\n",
    ],
)
def test_what_is_no_header_is_passed_over(header):
    assert read_traceparent(header) is None


def test_who_is_told_of_a_job_hears_of_the_call_that_tells_or_else_of_the_job():
    kept = read_traceparent(HEADER)

    assert (say_traceparent(kept), say_traceparent(None)) == (HEADER, None)
    with pass_on("the call's"):
        assert say_traceparent(kept) == "the call's"
    assert find_passed_on() is None
