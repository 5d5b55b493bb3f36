"""A form made from an endpoint's own schema, which says what is wrong with it as one types."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request
from nicegui import app
from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.datastructures import UploadFile

from endpoints.catalogue.problem import Fault, InputCheck, Problem
from endpoints.client import RUN_BODY_BYTES
from gateway.web.addresses import GATEWAY
from gateway.web.playground.fields import Field, FieldKind, find_fields, flatten, is_telling, nest
from gateway.web.sessions import find_visitor
from gateway.words import say_bytes

FILE_BYTES = 7_300_000  # as text in JSON it is a third larger
HELD_MOST = 14  # files that one form keeps: as many as any endpoint takes
WHOLE = Field(name="", label="Input as JSON", kind=FieldKind.JSON, required=True)


class Form(Element, component="form.js"):
    """`values` is the input as it would be sent; `problems` what stops it, a line each.

    Args:
        endpoint: its detail from the API. Without an `input_schema` (it is not in the catalogue)
            the input is written as JSON.
        values: an input to begin with.
        on_change: is told after each change.
        on_run: Ctrl-Enter was pressed.
        draft: whether what was typed in this tab before is brought back.
    """

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        values: Mapping[str, Any] | None,
        on_change: Callable[[], object],
        *,
        on_run: Callable[[], object] | None = None,
        draft: bool = False,
    ) -> None:
        super().__init__()
        schema = endpoint.get("input_schema")
        self._fields = [WHOLE] if schema is None else find_fields(schema)
        self._check = None if schema is None else InputCheck(schema)
        self._files: dict[str, str] = {}
        self._flat: dict[str, Any] = self._first(values or {})
        self._on_change = on_change
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []
        self.lacks = ""  # the label of what is to be filled in yet, if nothing else is wrong
        self._url = f"/_playground/{self.client.id}/{self.id}"
        self.props["endpoint"] = endpoint["id"]
        self.props["fields"] = [
            {**field.describe(), "exact": _is_exact(schema, field)} for field in self._fields
        ]
        self.props["initial"] = {name: self._shown(one) for name, one in self._flat.items()}
        self.props["url"] = self._url
        self.props["draft"] = draft
        self.props["told"] = {}
        self._read()
        app.add_api_route(self._url, self._receive, methods=["POST"], include_in_schema=False)
        self.on("change", self._changed)
        if on_run:
            self.on("run", on_run)

    @property
    def seed_field(self) -> str | None:
        """The path of its seed; None if it takes none."""
        return next((one.name for one in self._fields if one.kind is FieldKind.SEED), None)

    def set_value(self, name: str, value: Any) -> None:
        """Put it into the field of that path, as if it were typed."""
        self._flat[name] = value
        self._read()
        self.run_method("set", name, value)

    def with_seed(self, seed: int) -> dict[str, Any]:
        """The values, with this seed if it takes one."""
        field = self.seed_field
        if field is None:
            return self.values
        outer, _, name = field.rpartition(".")
        values = dict(self.values)
        if not outer:
            return {**values, name: seed}
        return {**values, outer: {**values.get(outer, {}), name: seed}}

    def _first(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if self._check is None:
            return {"": json.dumps(values, indent=2, ensure_ascii=False) if values else "{}"}
        return flatten(values, self._fields)

    def _changed(self, event: GenericEventArguments) -> None:
        if isinstance(event.args, dict):
            self._flat = {str(name): self._whole(one) for name, one in event.args.items()}
            self._read()
            self._on_change()

    def _read(self) -> None:
        if self._check is None:
            told = self._read_json()
        else:
            known = {one.name: one for one in self._fields}
            given = {
                name: self._parsed(known[name], one)
                for name, one in self._flat.items()
                if name in known and is_telling(known[name], one)
            }
            self.values = nest(given)
            told = self._say_problems(self._check.problems(self.values))
        size = len(json.dumps(self.values))
        if size > RUN_BODY_BYTES:
            said = f"the input is {say_bytes(size)}, up to {say_bytes(RUN_BODY_BYTES)} is taken"
            self.problems.append(said)
        self.props["told"] = told

    def _read_json(self) -> dict[str, str]:
        self.problems = []
        try:
            read = json.loads(self._flat.get("", "") or "{}")
        except ValueError as error:
            self.problems = [f"the input is no JSON: {error}"]
            return {"": self.problems[0]}
        if not isinstance(read, dict):
            self.problems = ["the input is no JSON object: { ... } is wanted"]
            return {"": self.problems[0]}
        self.values = read
        return {}

    def _say_problems(self, found: list[Problem]) -> dict[str, str]:
        """The words of each field; those of the whole are in `problems` alone."""
        told: dict[str, str] = {}
        self.problems = []
        missing = [one.field for one in found if one.fault is Fault.MISSING]
        labels = [field.label for field in self._fields if field.name in missing]
        self.lacks = labels[0] if labels and len(missing) == len(found) else ""
        for problem in found:
            field = next((one for one in self._fields if _is_of(problem.field, one.name)), None)
            words = str(problem)
            if field is not None and field.wanted and problem.fault is Fault.INVALID:
                words = f"{words}; {field.wanted} is taken"
            self.problems.append(words)
            if field is not None:
                told.setdefault(field.name, words)
        return told

    def _parsed(self, field: Field, value: Any) -> Any:
        if field.kind is not FieldKind.JSON or not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value

    def _whole(self, value: Any) -> Any:
        """With the files that were put in."""
        if isinstance(value, list):
            return [self._whole(one) for one in value]
        if isinstance(value, dict) and set(value) == {"ref"}:
            return self._files.get(str(value["ref"]))
        return value

    def _shown(self, value: Any) -> Any:
        """For the browser: a file within an input as one that was put in."""
        if isinstance(value, list):
            return [self._shown(one) for one in value]
        if isinstance(value, str) and value.startswith("data:"):
            picture = value.startswith("data:image/")
            return {
                "ref": self._hold(value),
                "name": f"a file of {say_bytes(len(value) * 3 // 4)}",
                "preview": value if picture else "",
            }
        return value

    def _hold(self, data_url: str) -> str:
        while len(self._files) > HELD_MOST:
            del self._files[next(iter(self._files))]
        ref = uuid4().hex
        self._files[ref] = data_url
        return ref

    async def _receive(self, request: Request) -> dict[str, str]:
        gateway: FastAPI = request.scope[GATEWAY]
        if await find_visitor(gateway.state.gateway, request) is None:
            raise HTTPException(401, "you are signed out")
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > FILE_BYTES + 10_000:
            raise HTTPException(413, f"up to {say_bytes(FILE_BYTES)} is taken")
        async with request.form(max_files=1) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "a file is wanted")
            data = base64.b64encode(await file.read()).decode()
            kind = file.content_type or "application/octet-stream"
        return {"ref": self._hold(f"data:{kind};base64,{data}")}

    def _handle_delete(self) -> None:
        app.remove_route(self._url)
        super()._handle_delete()


def _is_of(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}[", f"{name}."))


def _is_exact(schema: Mapping[str, Any] | None, field: Field) -> bool:
    """Whether nothing but its options will do."""
    return schema is not None and "enum" in schema["properties"].get(field.name, {})
