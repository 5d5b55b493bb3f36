"""Files are kept under the hash of their bytes, in whatever the settings name."""

import hashlib

import pytest

from workers.settings import Settings
from workers.store import file_key, open_store, thumbnail_key, write

SHA256 = hashlib.sha256(b"a fox").hexdigest()


@pytest.mark.parametrize("folder", ["store", "with a space", "50% #1 ü?", "a&b=c;d"])
async def test_a_file_is_found_on_disk_where_its_key_says(tmp_path, folder):
    settings = Settings(data_dir=tmp_path / folder)
    key = file_key(SHA256, ".png")

    await write(open_store(settings), key, b"a fox")

    assert (tmp_path / folder / "store" / key).read_bytes() == b"a fox"


async def test_the_same_bytes_written_twice_are_one_file(tmp_path):
    store = open_store(Settings(data_dir=tmp_path))

    for _ in range(2):
        await write(store, file_key(SHA256, ".png"), b"a fox")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / "store" / file_key(SHA256, ".png")
    ]


async def test_a_file_url_names_a_folder_elsewhere(tmp_path):
    elsewhere = tmp_path / "other disk"
    settings = Settings(data_dir=tmp_path / "data", store_url=elsewhere.as_uri())

    await write(open_store(settings), "files/x", b"a fox")

    assert (elsewhere / "files" / "x").read_bytes() == b"a fox"
    assert not (tmp_path / "data" / "store").exists()


@pytest.mark.parametrize(
    ("url", "kind"),
    [("s3://bucket/prefix", "S3Store"), ("gs://bucket", "GCSStore"), ("memory:///", "MemoryStore")],
)
def test_clouds_are_opened_by_their_url(monkeypatch, url, kind):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    store = open_store(Settings(store_url=url))

    assert type(store).__name__ == kind


def test_a_key_spreads_over_two_levels_of_folders():
    assert file_key(SHA256, ".png") == f"files/{SHA256[:2]}/{SHA256[2:4]}/{SHA256}.png"
    assert thumbnail_key(SHA256) == f"thumbnails/{SHA256[:2]}/{SHA256[2:4]}/{SHA256}.webp"
