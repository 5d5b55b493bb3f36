"""The line on a terminal."""

import io

from pressroom.progress import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Outcome:
    cost_usd = 0.25


def test_a_terminal_sees_how_far_it_is_and_what_it_cost():
    terminal = Terminal()
    bar = Bar(range(4), shown=True, stream=terminal)

    for outcome in (Outcome(), ValueError(), Outcome()):
        bar.count(outcome)
    bar.close()

    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("[##################------] 3/4  1 failed  $0.50")
    assert last.endswith("\n")


def test_of_a_generator_no_end_is_known():
    terminal = Terminal()
    bar = Bar(iter([]), shown=True, stream=terminal)

    bar.count(Outcome())

    assert terminal.getvalue().startswith("\r1  $0.25")


def test_what_is_no_terminal_sees_nothing():
    for stream, shown in ((io.StringIO(), True), (Terminal(), False)):
        bar = Bar([], shown=shown, stream=stream)
        bar.count(Outcome())
        bar.close()

        assert stream.getvalue() == ""
