"""What an upstream quotes of a request's storage keys is not shown."""

import orjson
import pytest

from endpoints.outcomes import Fault, Refused, Unknown
from models.base import new_id
from models.job import OnUnknown
from models.transitions import Submission
from tasks import submit as submit_stage
from tests.integration.conftest import FLUX

KEYS = {"accessId": "AKIAEXAMPLE", "accessSecret": "wJalrXUtnFEMI", "bucketName": "shop"}


@pytest.mark.parametrize("kind", [Refused, Fault, Unknown])
async def test_storage_keys_are_masked_in_errors_and_their_bucket_is_not(
    runtime, monkeypatch, kind
):
    async def submit(_endpoint, _input, *, s3_config, **_options):
        said = orjson.dumps(s3_config).decode()
        return Unknown(said) if kind is Unknown else kind(said, 500)

    monkeypatch.setattr(runtime.upstream, "submit", submit)
    row = Submission(
        id=new_id(),
        lease=new_id(),
        endpoint=FLUX,
        attempt=1,
        input={},
        on_unknown=OnUnknown.FAIL,
        sealed=runtime.secret.seal(KEYS),
    )

    submitted = await submit_stage.act(runtime, row)

    assert isinstance(submitted.outcome, kind)
    assert submitted.outcome.error == (
        '{"accessId":"***","accessSecret":"***","bucketName":"shop"}'
    )
