"""Read a body as one of the forms: bounded, and after its sender was admitted.

FastAPI would read it before it asks who sends it, whole, and let NaN pass.
"""

from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from gateway.api.forms import Form
from gateway.bodies import read_object
from gateway.errors import ApiError

FORM_BYTES = 1_000_000

F = TypeVar("F", bound=Form)


def body_of(form: type[Form]) -> dict[str, Any]:
    """The body of a route in the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{form.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_form(request: Request, form: type[F], *, most_bytes: int = FORM_BYTES) -> F:
    """
    Raises:
        ApiError: 415 it is not JSON, 413 too large, 400 malformed, 422 not of this form.
    """
    return hold_to(form, await read_object(request, most_bytes=most_bytes))


def hold_to(form: type[F], given: object) -> F:
    """
    Raises:
        ApiError: 422 with everything that is wrong.
    """
    try:
        return form.model_validate(given)
    except ValidationError as error:
        problems = [
            ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ApiError(422, "; ".join(problems), problems=problems) from error
