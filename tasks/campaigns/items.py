"""The items of a campaign: each row with each combination of the matrix is one request.

They come in a fixed order, rows first, so that an item has the same position whenever its file is
read again; no more than a row is held, however many there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoints.catalogue import Catalogue
from tasks.campaigns.matrix import Combination
from tasks.campaigns.prompt_file import PromptFileError, Row, read_cell, read_rows
from tasks.campaigns.spec import ENDPOINT, CampaignSpec, PromptFile
from tasks.campaigns.template import (
    BadTemplate,
    fill_templates,
    find_names,
    read_template,
    read_templates,
    suggest,
)
from tasks.input_parts import overlay, prompt_input

PROMPT, INPUT, ID, ROW = "prompt", "input", "id", "row"
INPUT_PREFIX = "input."


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a campaign.

    Attributes:
        position: from 0, the same at each reading.
        place: where it comes from, as messages say it: a file with a line.
        custom_id: as the specification's `id` has it; None if it has none.
    """

    position: int
    place: str
    endpoint: str
    input: Mapping[str, Any]
    custom_id: str | None


@dataclass(frozen=True, slots=True)
class BadItem:
    """An item that cannot be made, and why; the text begins with its place."""

    position: int
    problem: str


class Items:
    """The items of a specification.

    Args:
        folder: that its file's path starts from.
        local: where the file is, if it is not where its path says.

    Attributes:
        unused: columns of the file that nothing names, once a row was read.
    """

    def __init__(
        self, spec: CampaignSpec, catalogue: Catalogue, *, folder: Path, local: Path | None = None
    ) -> None:
        self.spec = spec
        self.catalogue = catalogue
        self.unused: Sequence[str] = ()
        self.templates = read_templates(spec.input)
        self.input_names = find_names(self.templates)
        self.prompt = None if spec.prompt is None else read_template(spec.prompt)
        self.id = None if spec.id is None else read_template(spec.id)
        self._folder = folder
        self._local = local
        self._combinations = spec.combinations()
        self._columns = spec.prompts.columns if isinstance(spec.prompts, PromptFile) else {}
        self.variables = spec.template_names | {*self._columns, *self._columns.values()}
        named = spec.template_names | {ENDPOINT}
        self.own_axes = frozenset[str]().union(*self._combinations) - named

    @property
    def per_row(self) -> int:
        return len(self._combinations)

    @property
    def file(self) -> Path | None:
        """Where the rows stand, if in a file."""
        if not isinstance(self.spec.prompts, PromptFile):
            return None
        return self._local or self._folder / self.spec.prompts.file

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each with its place.

        Raises:
            PromptFileError: the file, or the line that was reached, cannot be read.
        """
        prompts = self.spec.prompts
        if prompts is None:
            yield "the specification", Row(0, {}, typed=True)
        elif isinstance(prompts, PromptFile):
            path = self.file
            assert path is not None  # noqa: S101 -- there is one
            try:
                for row in read_rows(path, format=prompts.format):
                    place = f"{prompts.file}:{row.line}"
                    yield place, Row(row.line, self._rename(row), row.typed)
            except PromptFileError as error:
                error.path = Path(prompts.file)  # as it was written, wherever it was read from
                raise
        else:
            for number, given in enumerate(prompts, start=1):
                values: dict[str, object]
                values = {PROMPT: given} if isinstance(given, str) else dict(given)
                yield f"prompts[{number - 1}]", Row(number, values, typed=True)

    def read(self, *, start: int = 0) -> Iterator[Item | BadItem]:
        """The items from that position on. One that cannot be made comes as what is wrong with it.

        Raises:
            PromptFileError: as `rows`.
        """
        each = self.per_row
        for index, (place, row) in enumerate(self.rows()):
            if index == 0:
                self.unused = self._find_unused(row)
            if (index + 1) * each <= start:
                continue
            line = _Line(self, place, row)
            for number, combination in enumerate(self._combinations):
                position = index * each + number
                if position < start:
                    continue
                try:
                    yield line.make(position, combination)
                except BadTemplate as error:
                    yield BadItem(position, f"{place}: {error}")

    def _rename(self, row: Row) -> dict[str, object]:
        """Under the names that templates use; a `Prompt` is a `prompt` where none is."""
        values = dict(row.values)
        for name, column in self._columns.items():
            if column not in row.values:
                raise PromptFileError(
                    self.file or self._folder,
                    row.line,
                    f"columns.{name}",
                    ", ".join(map(repr, row.values)),
                    f"a column {column!r} ({suggest(column, row.values)})",
                )
            values[name] = row.values[column]
        if PROMPT not in values:
            for name in row.values:
                if name.casefold() == PROMPT:
                    values[PROMPT] = values[name]
        return values

    def _find_unused(self, row: Row) -> Sequence[str]:
        if row.typed and INPUT not in row.values:
            return []
        used = {*self.variables, *find_names(self.id), INPUT, ID}
        if self.prompt is None:
            used |= {name for name in row.values if name.casefold() == PROMPT}
        return [
            name
            for name in row.values
            if name and name not in used and not name.startswith(INPUT_PREFIX)
        ]


class _Line:
    """One row, of which each combination makes an item."""

    def __init__(self, items: Items, place: str, row: Row) -> None:
        self._items = items
        self._place = place
        self._texts = {**row.values, ROW: row.line}
        self._typed = {
            name: value if row.typed else read_cell(str(value))
            for name, value in row.values.items()
            if name in items.input_names
        }
        self._typed[ROW] = row.line
        self._row = row

    def make(self, position: int, combination: Combination) -> Item:
        """
        Raises:
            BadTemplate: a template names what is not there, or the prompt is blank.
        """
        items = self._items
        endpoint = combination[ENDPOINT]
        texts = {**self._texts, **combination}
        made: dict[str, Any] = {}
        if items.prompt is not None or PROMPT in self._texts:
            prompt = texts[PROMPT] if items.prompt is None else items.prompt.fill(texts)
            if not isinstance(prompt, str) or not prompt.strip():
                raise BadTemplate(f"prompt: {prompt!r:.40} came; text that is not blank was wanted")
            made = prompt_input(items.catalogue.find(endpoint), prompt)
        typed = {**self._typed, **combination}
        axes = {name: value for name, value in combination.items() if name in items.own_axes}
        own = _own_inputs(self._row, items.variables)
        for part in (fill_templates(items.templates, typed), own, axes):
            made = overlay(made, part)
        custom_id = None if items.id is None else str(items.id.fill(texts))
        return Item(position, self._place, endpoint, made, custom_id)


def _own_inputs(row: Row, variables: frozenset[str]) -> Mapping[str, Any]:
    """What a row says of the input itself.

    In a table, `input.<field>`. In JSON, an object `input`; without one, each field that is no
    variable of a template.
    """
    if not row.typed:
        return {
            name.removeprefix(INPUT_PREFIX): read_cell(str(cell))
            for name, cell in row.values.items()
            if name.startswith(INPUT_PREFIX) and cell
        }
    if INPUT not in row.values:
        other = {PROMPT, ID, *variables}
        return {name: value for name, value in row.values.items() if name not in other}
    own = row.values[INPUT]
    if not isinstance(own, dict):
        raise BadTemplate(f"input: {own!r:.40} came; an object was wanted")
    return own
