"""The changes that are made to SQL, in strings that hold a piece of it."""

import pytest

from scripts.mutations.sql import find_changes, is_sql

WORDS = [("queued", "running", "done")]


def change(sql):
    return {" ".join(one.apply(sql).split()) for one in find_changes(sql, WORDS)}


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("WHERE a AND b", {"WHERE a OR b", "WHERE a", "WHERE b"}),
        ("WHERE a", {"WHERE true"}),
        ("WHERE a = 'done'", {"WHERE a <> 'done'", "WHERE a = 'queued'", "WHERE true"}),
        (
            "SET a = 'queued', b = 'x'",
            {"SET b = 'x'", "SET a = 'queued'", "SET a = 'running', b = 'x'"},
        ),
        (
            "SELECT CASE WHEN a THEN b ELSE c END",
            {"SELECT CASE WHEN false THEN b ELSE c END", "SELECT CASE WHEN a THEN b END"},
        ),
        ("SELECT coalesce(a, b)", {"SELECT coalesce( b)", "SELECT coalesce(a)"}),
        (
            "SELECT now() + make_interval(secs => 2)",
            {
                "SELECT now()",
                "SELECT now() - make_interval(secs => 2)",
                "SELECT now() + make_interval(secs => 3)",
            },
        ),
        ("SELECT a + 1", {"SELECT a - 1", "SELECT a + 0"}),
        ("SELECT NOT EXISTS (SELECT)", {"SELECT EXISTS (SELECT)"}),
        ("SELECT a IS NULL", {"SELECT a IS NOT NULL"}),
        ("SELECT a IS NOT NULL", {"SELECT a IS NULL"}),
        ("SELECT ORDER BY a DESC LIMIT 1", {
            "SELECT LIMIT 1",
            "SELECT ORDER BY a LIMIT 1",
            "SELECT ORDER BY a DESC",
            "SELECT ORDER BY a DESC LIMIT 2",
        }),
        ("FOR UPDATE SKIP LOCKED", {"", "FOR UPDATE"}),
        ("SELECT true -- AND false\n", {"SELECT false -- AND false"}),
    ],
)  # fmt: skip
def test_each_change_is_made_once(sql, changed):
    assert change(sql) == changed


def test_a_condition_is_dropped_with_all_that_belongs_to_it():
    sql = "UPDATE x SET a = CASE WHEN b AND (c OR d) THEN 1 END WHERE e AND f IN (SELECT g) LIMIT 1"

    assert change(sql) >= {
        sql.replace("AND (c OR d) ", ""),
        sql.replace("AND f IN (SELECT g) ", ""),
        sql.replace("e AND ", ""),
        sql.replace("LIMIT 1", "").strip(),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs WHERE state = 'queued'", True),
        (", tries = tries + 1", True),
        ("no answer within 5 s", False),
        ("told to wait, and waited", False),
    ],
)
def test_sql_is_told_from_other_texts(text, expected):
    assert is_sql(text) is expected
