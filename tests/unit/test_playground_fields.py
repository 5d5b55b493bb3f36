"""The form of every endpoint of the catalogue."""

import pytest

from endpoints.catalogue import load_catalogue
from gateway.endpoint_facts import sample_input
from gateway.web.playground.fields import (
    FieldKind,
    find_fields,
    flatten,
    is_telling,
    nest,
    say_wanted,
)

ENDPOINTS = list(load_catalogue())


def leaves(schema, outer=""):
    for name, inner in schema["properties"].items():
        if inner["type"] == "object":
            yield from leaves(inner, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", inner


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.id)
def test_each_property_has_a_field_that_fits_it(endpoint):
    fields = {field.name: field for field in find_fields(endpoint.schema)}

    assert set(fields) == {name for name, _ in leaves(endpoint.schema)}
    for name, schema in leaves(endpoint.schema):
        field = fields[name]
        assert field.kind is not FieldKind.JSON
        assert set(schema.get("enum", ())) <= set(field.options)
        assert field.default == schema.get("default")
        if schema.get("format") == "uri":
            assert field.kind is FieldKind.FILE
            assert field.accept.endswith("/*")
    labels = [field.label for field in fields.values()]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.id)
def test_a_form_filled_with_an_input_gives_that_input(endpoint):
    sample = sample_input(endpoint)
    fields = find_fields(endpoint.schema)

    flat = flatten(sample, fields)
    given = {field.name: flat[field.name] for field in fields if field.name in flat}

    assert nest(given) == sample
    assert all(is_telling(field, flat[field.name]) for field in fields if field.name in flat)
    assert endpoint.check(nest(given)) == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.id)
def test_what_is_required_is_not_folded(endpoint):
    folded = {field.name for field in find_fields(endpoint.schema) if field.advanced}
    either = {name for one in endpoint.schema.get("anyOf", ()) for name in one["required"]}

    assert not folded & {*endpoint.schema.get("required", ()), *either, "prompt", "seed"}


def test_what_is_the_default_anyway_is_not_sent():
    schema = {"properties": {"steps": {"type": "integer", "default": 4, "minimum": 1}}}
    [steps] = find_fields(schema)

    assert not is_telling(steps, 4)
    assert is_telling(steps, 5)
    assert not is_telling(steps, "")


def test_what_the_form_does_not_know_is_written_as_json():
    schema = {"properties": {"odd": {"type": "array", "items": {"type": "number"}}}}

    assert [field.kind for field in find_fields(schema)] == [FieldKind.JSON]


def test_limits_are_said_in_words():
    side = {"type": "integer", "minimum": 256, "maximum": 2048}

    assert say_wanted(side) == "256 to 2048"
    assert say_wanted({**side, "multipleOf": 64}) == "256 to 2048, in steps of 64"
    also = {**side, "anyOf": [{"multipleOf": 64}, {"enum": [1140, 1328]}]}
    assert say_wanted(also) == "256 to 2048, in steps of 64 (also 1140, 1328)"
