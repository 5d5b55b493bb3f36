"""Files come out of the store as they went in, or not at all."""

import hashlib

import pytest

from gateway.cli.artifacts import DamagedFile, NotCopied, save_file
from workers.app import make_app
from workers.runtime import open_runtime
from workers.settings import Settings

KEY = "files/ab/abcd.bin"
CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def runtime(tmp_path):
    """A store in a folder; no server is ever connected to."""
    settings = Settings(data_dir=tmp_path / "data")
    stored = tmp_path / "data" / "store" / KEY
    stored.parent.mkdir(parents=True)
    stored.write_bytes(CONTENT)
    async with open_runtime(settings, make_app(settings), name="tests") as runtime:
        yield runtime


async def test_a_file_is_copied_into_a_folder_that_did_not_exist(runtime, tmp_path):
    target = tmp_path / "out" / "deep" / "copy.bin"

    await save_file(runtime, KEY, target, sha256=SHA256)

    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


async def test_a_file_that_was_damaged_in_the_store_replaces_nothing(runtime, tmp_path):
    target = tmp_path / "out" / "copy.bin"
    target.parent.mkdir()
    target.write_bytes(b"earlier")

    with pytest.raises(DamagedFile, match=f"is now {SHA256}"):
        await save_file(runtime, KEY, target, sha256="0" * 64)

    assert target.read_bytes() == b"earlier"
    assert list(target.parent.iterdir()) == [target]


async def test_a_file_that_the_store_lacks_is_named_and_leaves_nothing(runtime, tmp_path):
    target = tmp_path / "copy.bin"

    with pytest.raises(NotCopied, match=r"the store did not give files/gone\.bin"):
        await save_file(runtime, "files/gone.bin", target, sha256=SHA256)

    assert not target.exists()
    assert not target.with_name("copy.bin.part").exists()


async def test_a_target_below_a_file_is_said_to_be_unwritable(runtime, tmp_path):
    (tmp_path / "taken").write_bytes(b"")

    with pytest.raises(NotCopied, match="could not be written"):
        await save_file(runtime, KEY, tmp_path / "taken" / "copy.bin", sha256=SHA256)
