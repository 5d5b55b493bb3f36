"""What a campaign is to be: one file, YAML or JSON.

    name: spring-shoot
    endpoints: [black-forest-labs-flux-1-schnell, p-image-t2i]
    prompts:
      file: subjects.csv
      columns: {what: Subject}
    prompt: "{what} on a {surface}, studio light"
    input: {width: 1024, height: 1024}
    matrix:
      surface: [slate, linen]
      seed: [1, 2, 3]
    pace: {over: 2h}

An axis of the matrix that a template names goes where the template has it; any other is an input of
its own name. The same holds for the fields of a JSON row; of a table, columns named `input.<field>`
are inputs. `pressroom campaign schema` prints the JSON Schema, for editors.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.budget import MOST_USD, WARN_AT, AtCap
from models.errors import PressroomError
from models.fairness import HIGHEST, LOWEST
from models.job import OnUnknown
from tasks.campaigns.matrix import BadMatrix, Combination, combine
from tasks.campaigns.prompt_file import FileFormat
from tasks.campaigns.span import Duration
from tasks.campaigns.template import BadTemplate, find_names, read_template, read_templates
from tasks.campaigns.timetable import Timetable

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
MOST_BYTES = 4_000_000  # of a specification; many prompts go into a file of their own
MOST_JOBS = 1_000_000  # of a campaign that says nothing else
ENDPOINT = "endpoint"  # as an axis


class _Loader(yaml.CSafeLoader):
    """YAML 1.2: to 1.1, which PyYAML reads, 16:9 is the number 969, and `no` is false."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    _whole = re.compile(f"^(?:{_form})$")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _whole, _first)


class SpecError(PressroomError):
    """A specification that cannot be used; `problems` has a line for each thing that is wrong."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(source, problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


def _read_budget(said: object) -> object:
    is_amount = isinstance(said, int | float | str) and not isinstance(said, bool)
    return {"usd": said} if is_amount else said


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptFile(_Part):
    """Rows of a file, next to the specification or wherever its path leads."""

    file: str = Field(
        description="A path, from the folder of this file, or s3://BUCKET/KEY.", min_length=1
    )
    format: FileFormat | None = Field(None, description="If its ending does not tell.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="What templates call it, and the file's own name of it."
    )


class Matrix(_Part):
    """Axes by name, each a list of values."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: dict[str, list[Any]]
    include: list[dict[str, Any]] = Field(default_factory=list)
    exclude: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def axes(self) -> dict[str, list[Any]]:
        return dict(self.__pydantic_extra__)


class Pace(_Part):
    """How fast it goes; the endpoints' limits hold besides."""

    over: Duration | None = Field(None, description="Spread evenly: 90s, 30m, 2h.")
    max_in_flight: int | None = Field(None, ge=1, description="Jobs of it at once.")


class Retry(_Part):
    """What is done about a job that does not work out."""

    on_unknown: OnUnknown | None = Field(None, description="If a reply to /run is lost for good.")
    start_within: Duration | None = None
    finish_within: Duration | None = None


class BudgetPart(_Part):
    """What it may cost; the budgets of its tags, and of everybody, hold besides."""

    usd: Decimal = Field(gt=0, le=MOST_USD)
    warn_at: float = Field(WARN_AT, gt=0, le=1, description="A share of it: word is sent then.")
    at_cap: AtCap = Field(
        AtCap.PAUSE,
        description="pause: the rest waits for more. finish_in_flight: the rest is rejected. "
        "stop: what runs is cancelled, too.",
    )
    webhook: str | None = Field(None, pattern="^https?://", description="Is told of both.")


class CeleryTask(_Part):
    """A task of somebody's, that is given the campaign's figures."""

    task: str = Field(min_length=1)
    queue: str | None = Field(None, min_length=1)


class OnComplete(_Part):
    """Who is told once all has ended and its files are stored; it may be told twice."""

    webhook: str | None = Field(None, pattern="^https?://")
    celery: CeleryTask | None = None


class CampaignSpec(_Part):
    """A campaign of Pressroom: many generations, planned, priced and followed as one."""

    name: str = Field(min_length=1, max_length=200)
    endpoint: str | None = None
    endpoints: list[str] | None = Field(None, min_length=1)
    prompts: list[str | dict[str, Any]] | PromptFile | None = Field(
        None, description="Rows: texts, objects of named values, or a file."
    )
    prompt: str | None = Field(None, description="A template; without it, a row's `prompt`.")
    input: dict[str, Any] = Field(
        default_factory=dict, description="Of every job; its texts may be templates."
    )
    matrix: Matrix = Field(default_factory=Matrix)
    max_jobs: int = Field(MOST_JOBS, ge=1, description="More than that are refused.")
    id: str | None = Field(None, description="A template for the id of an item.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list)
    priority: int | None = Field(None, ge=LOWEST, le=HIGHEST)
    pace: Pace = Field(default_factory=Pace)
    retry: Retry = Field(default_factory=Retry)
    budget: (
        Annotated[
            BudgetPart, BeforeValidator(_read_budget, json_schema_input_type=BudgetPart | float)
        ]
        | None
    ) = Field(None, description="An amount in USD, or what else is to be said of it.")
    on_complete: OnComplete = Field(default_factory=OnComplete)
    reuse: bool = Field(
        default=False, description="Take the stored results of equal requests with a fixed seed."
    )
    schedule: Timetable | None = Field(
        None, description="When it is run again and again: `pressroom schedules add`."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [self.endpoint is not None, self.endpoints is not None]
        named.append(ENDPOINT in self.matrix.axes or self._each_included_names_one())
        if sum(named) != 1:
            raise ValueError("one of endpoint, endpoints and an axis `endpoint` was wanted")
        if isinstance(self.prompts, list) and not self.prompts:
            raise ValueError("prompts: at least one was wanted, an empty list came")
        try:
            combinations = self.combinations()
            used = self.template_names
            if self.id is not None:
                read_template(self.id)
        except (BadMatrix, BadTemplate) as error:
            where = "matrix" if isinstance(error, BadMatrix) else "template"
            raise ValueError(f"{where}: {error}") from error
        for one in combinations:
            if not isinstance(one[ENDPOINT], str):
                said = f"matrix: endpoint: a name was wanted, {one[ENDPOINT]!r} came"
                raise ValueError(said)  # noqa: TRY004 -- pydantic's word for it
        if "prompt" in used and self.prompts is None:
            raise ValueError("prompt: {prompt} is a row's, and there are no prompts")
        return self

    @property
    def template_names(self) -> frozenset[str]:
        """What the templates of `prompt` and `input` name."""
        return find_names(read_templates([self.prompt or "", self.input]))

    def gap_seconds(self, jobs: int | None) -> float:
        """Between one job and the next, if so many are spread over a time."""
        return (self.pace.over or 0.0) / max((jobs or 1) - 1, 1)

    def combinations(self) -> list[Combination]:
        """Of the endpoints and the matrix; each has an `endpoint`.

        Raises:
            BadMatrix: too many, or none.
        """
        axes = self.matrix.axes
        given = [self.endpoint] if self.endpoint is not None else self.endpoints
        if given is not None:
            axes = {ENDPOINT: list(dict.fromkeys(given)), **axes}
        made = list(combine(axes, include=self.matrix.include, exclude=self.matrix.exclude))
        for one in made:
            if ENDPOINT not in one:
                raise BadMatrix(f"include: {dict(one)!r} names no endpoint")
        return made

    def _each_included_names_one(self) -> bool:
        include = self.matrix.include
        return not self.matrix.axes and bool(include) and all(ENDPOINT in one for one in include)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a specification, as editors use it."""
    return {"$schema": SCHEMA_ID, **CampaignSpec.model_json_schema()}


def read_spec(path: Path) -> CampaignSpec:
    """
    Raises:
        SpecError: with everything that is wrong, each with the line where it stands.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(str(path), [f"{path}: {reason}; a specification was wanted"]) from error
    return parse_spec(content, source=str(path))


def parse_spec(content: bytes, *, source: str) -> CampaignSpec:
    """
    Args:
        source: what to call it in messages.

    Raises:
        SpecError: as `read_spec`.
    """
    if len(content) > MOST_BYTES:
        said = f"{source}: {len(content):,} bytes; at most {MOST_BYTES:,} are taken"
        raise SpecError(source, [f"{said}: put the prompts into a file of their own"])
    try:
        node = yaml.compose(content.decode(), _Loader)
        value = yaml.load(content, _Loader)  # noqa: S506 -- a safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(source, [_say_unreadable(source, error)]) from error
    if not isinstance(value, dict) or node is None:
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        said = f"{source}:1: an object with name and endpoint was wanted, {kind} came"
        raise SpecError(source, [said])
    if repeated := list(_find_repeated(node)):
        raise SpecError(
            source, [f"{source}:{line}: {name}: stands here twice" for name, line in repeated]
        )
    try:
        return CampaignSpec.model_validate(value)
    except ValidationError as error:
        raise SpecError(source, list(_say_problems(error, node, source))) from error


def _say_unreadable(source: str, error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{source}:{mark.line + 1}:{mark.column + 1}: no YAML: {error.problem}"
    return f"{source}: no YAML: {str(error).splitlines()[0]}"


def _find_repeated(node: yaml.Node) -> Iterator[tuple[str, int]]:
    """Keys that stand twice in one object: YAML takes the last, and says nothing."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield str(key.value), key.start_mark.line + 1
            seen.add(key.value)
            yield from _find_repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _find_repeated(value)


def _say_problems(error: ValidationError, node: yaml.Node, source: str) -> Iterator[str]:
    said = set()
    for problem in error.errors(include_url=False):
        path = [step for step in problem["loc"] if not _is_of_a_union(step, problem["loc"])]
        place, line = _locate(node, path)
        message = _say_problem(problem)
        text = f"{source}:{line}: {place}: {message}" if place else f"{source}:{line}: {message}"
        if text not in said:
            said.add(text)
            yield text


def _say_problem(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "no such field"
    if problem["type"] == "missing":
        return "is wanted"
    message = str(problem["msg"]).removeprefix("Value error, ")
    came = problem["input"]
    if problem["type"] == "value_error" or isinstance(came, dict | list):
        return message
    return f"{message[:1].lower()}{message[1:]}; {came!r:.60} came"


_UNION_STEPS = ("str", "dict[str,any]", "list[union[str,dict[str,any]]]", "PromptFile")


def _is_of_a_union(step: int | str, loc: tuple[int | str, ...]) -> bool:
    """Pydantic names the member of a union that it tried; nobody wrote that."""
    return loc[0] == "prompts" and step in _UNION_STEPS


def _locate(node: yaml.Node, path: list[int | str]) -> tuple[str, int]:
    """How to call the place, and its line; of what is not there, the line of what it is not in."""
    line = node.start_mark.line + 1
    for step in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    found, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and step in range(len(node.value)):
            found = node.value[int(step)]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return ".".join(map(str, path)), line
