"""The prompts of a campaign, read from a file a line at a time.

    .tsv .csv       a header row; the column `prompt`, and `input.<field>` for other inputs
    .jsonl .ndjson  on each line an input object, {"input": {...}}, or a prompt in quotes
    .txt            a prompt on each line

`read_rows` gives what stands on each line under its own names, for a specification's templates.

All are UTF-8, and may be gzipped. No more than one row is held at once, so a
file may be larger than the memory. What cannot be read is refused with its
line: a prompt that was guessed at would be paid for.
"""

import codecs
import csv
import difflib
import enum
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MAX_LINE_BYTES = 10_000_000

_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WINDOWS_PUNCTUATION = re.compile(rb"[\x80-\x9f]")  # control characters in Latin-1
_SURROGATE = re.compile("[\ud800-\udfff]")
_WANTED_ENCODING = "UTF-8: convert it with iconv -f {} -t UTF-8"
_INPUT_PREFIX = "input."


class FileFormat(enum.StrEnum):
    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"
    TEXT = "text"


_EXTENSIONS = {
    ".tsv": FileFormat.TSV,
    ".csv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".txt": FileFormat.TEXT,
}


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One request's input, and the line of the file on which it begins, from 1."""

    line: int
    input: dict[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """What stands on one line, by the names of its columns or fields.

    Attributes:
        line: of the file, on which it begins, from 1.
        typed: its values are JSON; else they are the text of cells.
    """

    line: int
    values: dict[str, object]
    typed: bool


class PromptFileError(Exception):
    """The file holds something that is no prompt; `line` is None if it could not be opened."""

    def __init__(
        self, path: Path | str, line: int | None, field: str, came: str, wanted: str
    ) -> None:
        super().__init__(path, line, field, came, wanted)
        self.path = path
        self.line = line
        self.field = field
        self.came = came
        self.wanted = wanted

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.field}: came {self.came}; wanted {self.wanted}"


def read_prompts(
    path: Path,
    *,
    prompt_column: str | None = None,
    format: FileFormat | None = None,  # noqa: A002 -- the word of the command's option
) -> Iterator[PromptLine]:
    """Yield the prompts of `path` in order; `format` None goes by the file's extension.

    `prompt_column` names the column of a TSV or CSV file, where it is not `prompt`.

    Raises:
        PromptFileError: the file, or the line that was reached, cannot be read.
    """
    file_format = format or _find_format(path)
    is_table = file_format in {FileFormat.TSV, FileFormat.CSV}
    if prompt_column is not None and not is_table:
        came = f"{prompt_column!r} for a {file_format} file"
        raise PromptFileError(path, None, "--prompt-column", came, "a tsv or csv file")
    with _open_stream(path) as stream:
        lines = _Lines(stream, path)
        if is_table:
            rows = _split_tsv(lines) if file_format is FileFormat.TSV else _split_csv(lines)
            prompts = _read_table(lines, rows, prompt_column=prompt_column)
        else:
            prompts = _read_text(lines) if file_format is FileFormat.TEXT else _read_json(lines)
        first = next(prompts, None)
        if first is None:
            came = "no prompt below a header" if is_table else "nothing but blank lines"
            raise lines.error("file", came if lines.number else "an empty file", "prompts")
        yield first
        yield from prompts


def read_rows(
    path: Path,
    *,
    format: FileFormat | None = None,  # noqa: A002 -- as above
) -> Iterator[Row]:
    """Yield the rows of `path` in order; a line of text is a row with a `prompt`.

    Raises:
        PromptFileError: the file, or the line that was reached, cannot be read.
    """
    file_format = format or _find_format(path)
    with _open_stream(path) as stream:
        lines = _Lines(stream, path)
        rows: Iterator[Row]
        if file_format is FileFormat.TEXT:
            rows = (Row(one.line, one.input, typed=True) for one in _read_text(lines))
        elif file_format is FileFormat.JSONL:
            rows = (Row(line, value, typed=True) for line, value in _read_objects(lines))
        else:
            split = _split_tsv if file_format is FileFormat.TSV else _split_csv
            rows = _read_cells(lines, split(lines))
        first = next(rows, None)
        if first is None:
            raise lines.error("file", "no row" if lines.number else "an empty file", "rows")
        yield first
        yield from rows


class _Lines:
    """The lines of a file as text, with their ends; `number` is that of the last one read."""

    def __init__(self, stream: io.BufferedIOBase, path: Path) -> None:
        self.number = 0
        self._stream = stream
        self._path = path

    def error(
        self, field: str, came: str, wanted: str, *, line: int | None = None
    ) -> PromptFileError:
        return PromptFileError(self._path, line or max(self.number, 1), field, came, wanted)

    def __iter__(self) -> Iterator[str]:
        offset = 0
        while raw := self._read_line():
            self.number += 1
            offset += len(raw)
            if self.number == 1:
                if raw.startswith(_UTF16_MARKS):
                    raise self.error("encoding", "UTF-16", _WANTED_ENCODING.format("UTF-16"))
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if len(raw) > MAX_LINE_BYTES:
                came = f"a line of more than {MAX_LINE_BYTES:,} bytes"
                raise self.error("line", came, "a shorter one (are the line ends missing?)")
            if b"\0" in raw:
                raise self.error("line", f"a NUL byte at column {raw.index(0) + 1:,}", "text")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                raise self._explain(raw, error, start=offset - len(raw)) from None

    def _read_line(self) -> bytes:
        try:
            return self._stream.readline(MAX_LINE_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            self.number += 1
            raise self.error("file", f"a broken file ({error})", "a readable one") from error

    def _explain(self, raw: bytes, error: UnicodeDecodeError, *, start: int) -> PromptFileError:
        byte = f"byte 0x{raw[error.start]:02x} at offset {start + error.start:,}, not UTF-8"
        is_windows = _WINDOWS_PUNCTUATION.search(raw) is not None
        likeness, charset = ("Windows-1252", "CP1252") if is_windows else ("Latin-1", "LATIN1")
        came = f"{byte}; the file looks like {likeness}"
        return self.error("encoding", came, _WANTED_ENCODING.format(charset))


def _find_format(path: Path) -> FileFormat:
    name = Path(path.name.lower().removesuffix(".gz"))
    if name.suffix not in _EXTENSIONS:
        wanted = f"{' '.join(_EXTENSIONS)} or --format"
        raise PromptFileError(path, None, "extension", repr(name.suffix), wanted)
    return _EXTENSIONS[name.suffix]


@contextmanager
def _open_stream(path: Path) -> Iterator[io.BufferedIOBase]:
    try:
        file = path.open("rb")
    except OSError as error:
        came = (error.strerror or str(error)).lower()
        raise PromptFileError(path, None, "file", came, "a file of prompts") from error
    with file:
        is_gzip = file.peek(2).startswith(_GZIP_MAGIC)
        yield gzip.GzipFile(fileobj=file) if is_gzip else file


def _read_text(lines: _Lines) -> Iterator[PromptLine]:
    for text in lines:
        if prompt := text.strip():
            yield PromptLine(lines.number, {"prompt": prompt})


def _read_objects(lines: _Lines) -> Iterator[tuple[int, dict[str, object]]]:
    """What stands on each line as JSON; a string is a prompt."""
    for text in lines:
        if text.isspace():
            continue
        try:
            value = _decode_json(text)
        except json.JSONDecodeError as error:
            came = f"{error.msg!r} at column {error.colno}"
            raise lines.error("JSON", came, "an object or a string on each line") from None
        except (ValueError, RecursionError) as error:
            raise lines.error("JSON", str(error), "values that can be sent on") from None
        if isinstance(value, str):
            value = {"prompt": value}
        if not isinstance(value, dict) or not value:
            raise lines.error("JSON", f"{value!r:.40}", "an object with a prompt, or a string")
        yield lines.number, value


def _read_json(lines: _Lines) -> Iterator[PromptLine]:
    for line, found in _read_objects(lines):
        value = found.get("input", found)
        if not isinstance(value, dict) or not value:
            raise lines.error("JSON", f"{value!r:.40}", "an object with a prompt, or a string")
        if "prompt" in value:
            _refuse_blank(lines, value["prompt"], line=line)
        yield PromptLine(line, value)


def _read_table(
    lines: _Lines, rows: Iterator[tuple[int, list[str]]], *, prompt_column: str | None
) -> Iterator[PromptLine]:
    """Read rows, each with the line on which it begins, under a header."""
    names, body = _read_header(lines, rows)
    if not names:
        return
    prompt_index = _find_column(lines, names, prompt_column)
    fields = _find_fields(lines, names, prompt_index)
    for line, cells in body:
        prompt = cells[prompt_index].strip() if prompt_index < len(cells) else ""
        _refuse_blank(lines, prompt, line=line)
        given = ((name, cells[index]) for name, index in fields.items() if index < len(cells))
        others = {name: read_cell(cell) for name, cell in given if cell and not cell.isspace()}
        yield PromptLine(line, {"prompt": prompt, **others})


def _read_cells(lines: _Lines, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    """Read rows by the names in the header; a row that is too short has no text in the rest."""
    names, body = _read_header(lines, rows)
    for name in names:
        if name and names.count(name) > 1:
            raise lines.error("header", f"{names.count(name)} columns named {name!r}", "one")
    for line, cells in body:
        texts = [cell.strip() for cell in cells] + [""] * (len(names) - len(cells))
        yield Row(line, dict(zip(names, texts, strict=True)), typed=False)


def _read_header(
    lines: _Lines, rows: Iterator[tuple[int, list[str]]]
) -> tuple[Sequence[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the rows below them that are not blank."""
    filled = (row for row in rows if any(cell and not cell.isspace() for cell in row[1]))
    names = [name.strip() for name in next(filled, (0, []))[1]]

    def read_body() -> Iterator[tuple[int, list[str]]]:
        for line, cells in filled:
            if len(cells) > len(names):
                wanted = f"{len(names)}, as in the header"
                raise lines.error("row", f"{len(cells)} cells", wanted, line=line)
            yield line, cells

    return names, read_body()


def _find_fields(lines: _Lines, names: Sequence[str], prompt_index: int) -> dict[str, int]:
    """Find the columns of inputs other than the prompt, each under its field's name."""
    fields: dict[str, int] = {}
    for index, name in enumerate(names):
        if index == prompt_index or not name.casefold().startswith(_INPUT_PREFIX):
            continue
        field = name[len(_INPUT_PREFIX) :]
        if field in {"", "prompt", *fields}:
            raise lines.error("header", f"the column {name!r}", "one column for each input field")
        fields[field] = index
    return fields


def _split_tsv(lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    for text in lines:  # a quote is a part of its text
        yield lines.number, text.rstrip("\r\n").split("\t")


def _split_csv(lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(lines, strict=True)
    while True:
        line = lines.number + 1
        try:
            yield line, next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            wanted = "CSV (is a quote left open? inside a cell it is doubled)"
            raise lines.error("row", str(error), wanted, line=line) from None


def _find_column(lines: _Lines, names: Sequence[str], prompt_column: str | None) -> int:
    wanted = prompt_column or "prompt"
    found = [index for index, name in enumerate(names) if name.casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise lines.error("header", f"{len(found)} columns named {wanted!r}", "one")
    lowered = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(wanted.casefold(), lowered, n=1)
    known = repr(lowered[close[0]]) if close else "NAME"
    wanted = f"a column {wanted!r} (did you mean --prompt-column {known}?)"
    raise lines.error("header", ", ".join(map(repr, names)), wanted)


def _refuse_blank(lines: _Lines, prompt: object, *, line: int) -> None:
    if not isinstance(prompt, str) or not prompt or prompt.isspace():
        raise lines.error("prompt", f"{prompt!r:.40}", "text that is not blank", line=line)


def read_cell(cell: str) -> object:
    """Read a number, true, false, null or a quoted string as JSON; the rest is text."""
    with suppress(ValueError, RecursionError):
        value = _decode_json(cell)
        return cell if isinstance(value, dict | list) else value
    return cell


def _decode_json(text: str) -> object:
    """Decode JSON, and refuse with a ValueError what no JSON could carry on to a server."""
    value: object = _JSON.decode(text)
    if "\\u" in text:
        said_again = json.dumps(value, ensure_ascii=False).replace(r"\\", "")
        if r"\u0000" in said_again or _SURROGATE.search(said_again):
            raise ValueError("an escaped NUL, or one half of a surrogate pair")
    return value


def _read_finite(digits: str) -> float:
    if math.isfinite(number := float(digits)):
        return number
    raise ValueError(f"a number with no JSON form: {digits}")


_JSON = json.JSONDecoder(parse_float=_read_finite, parse_constant=_read_finite)
