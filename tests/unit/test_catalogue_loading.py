"""A broken file of the catalogue is refused at start, by name."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from endpoints.catalogue import CatalogueError, Limit, Operation
from endpoints.catalogue.loading import read_catalogue

P_IMAGE_PRICE = "price: {per: job, usd: 0.005}"
QWEN_PRICE = "price: {per: job, usd: 0.02}"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(str(files("endpoints.catalogue") / "data"), tmp_path / "data"))


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "minimum: 256",
            "minimun: 256",
            "black-forest-labs-flux-1-dev: input.properties.width.minimun",
        ),
        ("kind: image", "kind: picture", "image.yaml: kind: Input should be 'image'"),
        ("name: P-Image T2I\n    ", "", "p-image-t2i: name: Field required"),
        (
            "default: 28",
            "default: 99",
            "input.num_inference_steps.default: input: 99 is not between",
        ),
        (
            "default: 1024\n    minimum",
            "default: 1000\n    minimum",
            "width.default: input: 1000 is not a multiple",
        ),
        ("required: [prompt]", "required: [promt]", "input.promt: required, but not described"),
        (P_IMAGE_PRICE, "price: {per: job, usd: much}", "p-image-t2i: price.usd"),
        (P_IMAGE_PRICE, "price: {per: job, cost: 1, usd: 1}", "p-image-t2i: price.cost"),
        (QWEN_PRICE, "price: {per: pixel, usd: 1}", "price: 'width' is not an input"),
        (
            P_IMAGE_PRICE,
            "price: {per: job, by: [size], usd: {a: 1}}",
            "price: 'size' is not an input",
        ),
        (P_IMAGE_PRICE, "price: {per: second, usd: 1}", "price.length: missing, wanted one of"),
        (", {enum: [1140, 1328]}]", "]", "width.anyOf: List should have at least 2 items"),
        ("[{multipleOf: 64}", "[{multipleof: 64}", "width.anyOf.0.multipleof: Extra inputs"),
        ("[{multipleOf: 64}", "[{}", "input.anyOf: an option is one keyword"),
        ("[{multipleOf: 64}", "[{required: [width]}", "input.anyOf: an option is one keyword"),
        ("{required: [image]}", "{enum: [1]}", "qwen-image-edit: input.anyOf: an option is one"),
        ("{required: [images]}", "{required: [imgs]}", "input.imgs: required, but not described"),
        ("least_pixels: 589824", "most_pixels: 589824", "'most_pixels' stands here twice"),
        (
            "least_pixels: 589824",
            "pixels: 589824",
            "wan-2-6-t2i: frame.least_pixels: Field required",
        ),
        (
            "least_pixels: 589824",
            "least_pixels: 1048577",
            "wan-2-6-t2i: input.size.default: size: '1024*1024' is not between 1048577 and",
        ),
        (
            P_IMAGE_PRICE,
            P_IMAGE_PRICE + "\n    frame: {least_pixels: 1, most_pixels: 2, most_ratio: 1}",
            "p-image-t2i: frame: 'size' is no input of this endpoint",
        ),
        ("additionalProperties: false", "additionalProperties: true", "additionalProperties"),
        ("p-image-t2i:", "z-image-turbo:", "'z-image-turbo' stands here twice"),
        ("aliases: [google-nano-banana-edit]", "aliases: [p-image-t2i]", "'p-image-t2i' is taken"),
        ("kind: image", "kind: [", "image.yaml: while parsing"),
    ],
)
def test_a_broken_file_is_refused_with_file_endpoint_and_field(folder, old, new, message):
    replace(folder / "image.yaml", old, new)

    with pytest.raises(CatalogueError) as refused:
        read_catalogue(folder)

    assert refused.value.file == "image.yaml"
    assert message in str(refused.value)


def test_a_missing_file_is_refused(folder):
    (folder / "text.yaml").unlink()

    with pytest.raises(CatalogueError, match=r"^text\.yaml: .*No such file"):
        read_catalogue(folder)


def test_an_empty_file_is_refused(folder):
    (folder / "limits.yaml").write_text("")

    with pytest.raises(CatalogueError, match=r"^limits\.yaml: NoneType is not a mapping"):
        read_catalogue(folder)


def test_an_operation_that_does_not_exist_has_no_limit(folder):
    replace(folder / "limits.yaml", "runsync:", "runsink:")

    with pytest.raises(CatalogueError, match=r"^limits\.yaml: runsink"):
        read_catalogue(folder)


def test_an_endpoint_may_have_limits_of_its_own(folder):
    replace(
        folder / "image.yaml",
        P_IMAGE_PRICE,
        P_IMAGE_PRICE + "\n    limits: {run: {per_window: 50, window_seconds: 10, concurrent: 5}}",
    )

    catalogue = read_catalogue(folder)

    assert catalogue.limit("p-image-t2i", Operation.RUN) == Limit(50, 10, 5)
    assert catalogue.limit("p-image-t2i", Operation.STATUS) == Limit(2000, 10, 400)
    assert catalogue.limit("p-image-edit", Operation.RUN) == Limit(1000, 10, 200)
