"""Files of prompts as people have them, and each way in which one can be wrong."""

import codecs
import gzip
import pickle
import tracemalloc
from pathlib import Path

import pytest

from tasks.campaigns.prompt_file import (
    MAX_LINE_BYTES,
    FileFormat,
    PromptFileError,
    PromptLine,
    read_prompts,
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refuse(path: Path, **options) -> str:
    """Read `path` to where it is refused; return the message without the folder."""
    with pytest.raises(PromptFileError) as refused:
        list(read_prompts(path, **options))
    message = str(refused.value)
    assert "\n" not in message
    return message.removeprefix(f"{path.parent}/")


def test_a_tsv_file_keeps_its_quotes_and_leaves_out_its_metadata(tmp_path):
    path = write(
        tmp_path / "parti.tsv",
        'Prompt\tCategory\tNote\r\na sign that says "Deep\tArt\tx\r\n"a" cat\tAnimals\r\n',
    )

    prompts = list(read_prompts(path))

    assert prompts == [
        PromptLine(2, {"prompt": 'a sign that says "Deep'}),
        PromptLine(3, {"prompt": '"a" cat'}),
    ]


def test_a_csv_row_has_the_number_of_the_line_on_which_it_begins(tmp_path):
    path = write(tmp_path / "a.csv", 'id,PROMPT\n1,"a ""red"" fox,\nrunning"\n\n2,an owl\n')

    prompts = list(read_prompts(path))

    assert prompts == [
        PromptLine(2, {"prompt": 'a "red" fox,\nrunning'}),
        PromptLine(5, {"prompt": "an owl"}),
    ]


def test_input_columns_become_fields_typed_as_json_where_they_can_be(tmp_path):
    names = ["seed", "draft", "size", "scale", "ratio", "zip", "list", "nan", "huge", "unset"]
    cells = ["7", "true", "1024*1024", "0.5", '"3"', "007", "[1]", "NaN", "1e999", ""]
    header = "\t".join(["prompt", *(f"input.{name}" for name in names)])
    path = write(tmp_path / "a.tsv", f"{header}\n" + "\t".join(["an owl", *cells]) + "\n")

    [prompt] = read_prompts(path)

    assert prompt.input == {
        "prompt": "an owl",
        "seed": 7,
        "draft": True,
        "size": "1024*1024",
        "scale": 0.5,
        "ratio": "3",
        "zip": "007",
        "list": "[1]",
        "nan": "NaN",
        "huge": "1e999",
    }


def test_another_column_can_be_the_prompt(tmp_path):
    path = write(tmp_path / "a.csv", "prompt,Caption\nx,an owl\n")

    [prompt] = read_prompts(path, prompt_column="caption")

    assert prompt.input == {"prompt": "an owl"}


def test_a_json_line_is_an_input_or_holds_one_or_is_a_prompt(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        '{"prompt": "an owl", "seed": 7}\n\n"a fox \\ud83e\\udd8a"\n{"input": {"prompt": "a"}, '
        '"id": 9}\n  {"messages": [{"role": "user", "content": "\\\\u0000"}]}\r\n',
    )

    prompts = list(read_prompts(path))

    assert prompts == [
        PromptLine(1, {"prompt": "an owl", "seed": 7}),
        PromptLine(3, {"prompt": "a fox 🦊"}),
        PromptLine(4, {"prompt": "a"}),
        PromptLine(5, {"messages": [{"role": "user", "content": r"\u0000"}]}),
    ]


def test_a_line_of_plain_text_is_a_prompt(tmp_path):
    path = write(tmp_path / "a.txt", "\n an owl, \u2028 awake \r\n\t\n{a fox}")

    prompts = list(read_prompts(path))

    assert prompts == [
        PromptLine(2, {"prompt": "an owl, \u2028 awake"}),
        PromptLine(4, {"prompt": "{a fox}"}),
    ]


@pytest.mark.parametrize("name", ["a.TSV", "a.csv", "a.ndjson.gz", "a.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name):
    content = codecs.BOM_UTF8 + ('"é"' if "json" in name else "prompt\né").encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)

    *_, last = read_prompts(path)

    assert last.input == {"prompt": "é"}


def test_a_format_that_is_given_stands_over_the_extension(tmp_path):
    path = write(tmp_path / "a.csv", '"an owl"\n')

    [prompt] = read_prompts(path, format=FileFormat.JSONL)

    assert prompt.input == {"prompt": "an owl"}


def test_rows_with_nothing_in_them_are_skipped(tmp_path):
    path = write(tmp_path / "a.csv", "\nid,prompt\n1,an owl\n,\n\n")

    prompts = list(read_prompts(path))

    assert prompts == [PromptLine(3, {"prompt": "an owl"})]


def test_a_file_larger_than_its_bound_on_memory_is_read_to_its_end(tmp_path):
    path = tmp_path / "large.tsv"
    rows = 100_000
    with path.open("w") as file:
        file.write("prompt\tnote\n")
        file.writelines(f"painting {number}\t{'x' * 300}\n" for number in range(rows))
    bound = 20_000_000
    assert path.stat().st_size > bound

    tracemalloc.start()
    try:
        read = sum(1 for _ in read_prompts(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read == rows
    assert peak < bound / 100


def test_an_open_quote_does_not_swallow_the_file(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write('prompt\nan owl\n"a fox\n')
        file.writelines(f"line {number}\n" for number in range(100_000))

    message = refuse(path)

    assert message.startswith("a.csv:3: row: came field larger than field limit (131072);")


UTF8 = "UTF-8: convert it with iconv -f {} -t UTF-8"
CSV_QUOTES = "CSV (is a quote left open? inside a cell it is doubled)"
JSON_INPUT = "an object with a prompt, or a string"
NOT_BLANK = "text that is not blank"
SENDABLE = "values that can be sent on"


@pytest.mark.parametrize(
    ("content", "where", "came", "wanted"),
    [
        ("", "a.tsv:1: file", "an empty file", "prompts"),
        ("\n\n", "a.txt:2: file", "nothing but blank lines", "prompts"),
        ("prompt,id\n", "a.csv:1: file", "no prompt below a header", "prompts"),
        (
            "Promt\tNote\nx\ty\n",
            "a.tsv:1: header",
            "'Promt', 'Note'",
            "a column 'prompt' (did you mean --prompt-column 'Promt'?)",
        ),
        (
            "id\tx\n",
            "a.tsv:1: header",
            "'id', 'x'",
            "a column 'prompt' (did you mean --prompt-column NAME?)",
        ),
        ("prompt\tPrompt\n", "a.tsv:1: header", "2 columns named 'prompt'", "one"),
        (
            "prompt\tinput.prompt\n",
            "a.tsv:1: header",
            "the column 'input.prompt'",
            "one column for each input field",
        ),
        ("prompt\nan owl\na\tfox\n", "a.tsv:3: row", "2 cells", "1, as in the header"),
        ("id,prompt\n1, \n", "a.csv:2: prompt", "''", NOT_BLANK),
        ("id,prompt\n1\n", "a.csv:2: prompt", "''", NOT_BLANK),
        ('prompt\n"an owl\n', "a.csv:2: row", "unexpected end of data", CSV_QUOTES),
        (
            '{"prompt": "x"}\n{"prompt": "x" "seed": 1}\n',
            "a.jsonl:2: JSON",
            "\"Expecting ',' delimiter\" at column 16",
            "an object or a string on each line",
        ),
        ("17\n", "a.jsonl:1: JSON", "17", JSON_INPUT),
        ('{"input": {}}\n', "a.jsonl:1: JSON", "{}", JSON_INPUT),
        ('{"prompt": " "}\n', "a.jsonl:1: prompt", "' '", NOT_BLANK),
        ('{"prompt": 17}\n', "a.jsonl:1: prompt", "17", NOT_BLANK),
        (
            '{"prompt": "x", "scale": Infinity}\n',
            "a.jsonl:1: JSON",
            "a number with no JSON form: Infinity",
            SENDABLE,
        ),
        (
            r'{"prompt": "x\u0000"}',
            "a.jsonl:1: JSON",
            "an escaped NUL, or one half of a surrogate pair",
            SENDABLE,
        ),
        (
            r'{"prompt": ["\ud800"]}',
            "a.jsonl:1: JSON",
            "an escaped NUL, or one half of a surrogate pair",
            SENDABLE,
        ),
        ("an owl\na\0b\n", "a.txt:2: line", "a NUL byte at column 2", "text"),
        (
            b"an owl\nun caf\xe9 noir\n",
            "a.txt:2: encoding",
            "byte 0xe9 at offset 13, not UTF-8; the file looks like Latin-1",
            UTF8.format("LATIN1"),
        ),
        (
            codecs.BOM_UTF8 + b"\x93an owl\x94\n",
            "a.txt:1: encoding",
            "byte 0x93 at offset 3, not UTF-8; the file looks like Windows-1252",
            UTF8.format("CP1252"),
        ),
        (
            "prompt\nan owl\n".encode("utf-16"),
            "a.tsv:1: encoding",
            "UTF-16",
            UTF8.format("UTF-16"),
        ),
    ],
)
def test_a_file_is_refused_in_one_line_that_says_where_and_why(
    tmp_path, content, where, came, wanted
):
    path = write(tmp_path / where.partition(":")[0], content)

    message = refuse(path)

    assert message == f"{where}: came {came}; wanted {wanted}"


def test_an_extension_that_names_no_format_is_refused(tmp_path):
    message = refuse(tmp_path / "a.xlsx")

    assert message == (
        "a.xlsx: extension: came '.xlsx'; wanted .tsv .csv .jsonl .ndjson .txt or --format"
    )


def test_a_line_that_is_too_long_is_refused_before_it_is_decoded(tmp_path):
    path = write(tmp_path / "a.txt", b"an owl\n" + b"\xff" * (MAX_LINE_BYTES + 1))

    message = refuse(path)

    assert message.startswith("a.txt:2: line: came a line of more than 10,000,000 bytes;")


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", "[" * 100_000)

    message = refuse(path)

    assert message.startswith("a.jsonl:1: JSON: came maximum recursion depth exceeded")


def test_a_gzipped_file_that_was_cut_off_is_refused_where_it_ends(tmp_path):
    content = "".join(f"painting {number * number}\n" for number in range(10_000))
    packed = gzip.compress(content.encode())
    path = write(tmp_path / "a.txt.gz", packed[: len(packed) // 2])
    read: list[PromptLine] = []

    with pytest.raises(PromptFileError) as refused:
        read.extend(read_prompts(path))

    assert 0 < len(read) < 10_000
    assert refused.value.line == len(read) + 1
    assert refused.value.came.startswith("a broken file")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    folder = tmp_path / "folder.tsv"
    folder.mkdir()

    assert refuse(tmp_path / "absent.tsv") == (
        "absent.tsv: file: came no such file or directory; wanted a file of prompts"
    )
    assert refuse(folder) == "folder.tsv: file: came is a directory; wanted a file of prompts"


def test_a_prompt_column_is_refused_for_a_file_without_columns(tmp_path):
    path = write(tmp_path / "a.txt", "an owl\n")

    message = refuse(path, prompt_column="caption")

    assert message == (
        "a.txt: --prompt-column: came 'caption' for a text file; wanted a tsv or csv file"
    )


def test_the_error_survives_a_pickle():
    error = PromptFileError(Path("a.tsv"), 3, "row", "2 cells", "1")

    assert str(pickle.loads(pickle.dumps(error))) == str(error)
