"""`/v2`: where a webhook may go is said when it is handed in."""

import pytest
from sqlalchemy import text

from models.key import Scope
from tests.integration.conftest import FLUX, client_of, open_app

FOX = {"input": {"prompt": "a fox"}}


async def count_rows(database):
    """Jobs, and webhooks of theirs."""
    async with database.begin() as session:
        return await session.scalar(
            text("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM deliveries)")
        )


FORBIDDEN = [
    "http://127.0.0.1/hook",
    "http://localhost:8000/hook",
    "http://[::1]/hook",
    "http://10.0.0.7/hook",
    "https://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://service.internal/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "example.com/hook",
    "https://user:secret@example.com/",
    "https://example.com:0/",
    "https://example.com/\n",
    "https://" + "a" * 2100,
    "",
    7,
    {"url": "https://example.com/"},
    ["https://example.com/"],
    True,
]


async def test_a_webhook_that_may_not_be_called_is_refused(client, database):
    for url in FORBIDDEN:
        response = await client.post(f"/v2/{FLUX}/run", json={**FOX, "webhook": url})

        assert response.status_code == 400, url
        assert response.json()["status"] == "FAILED"
        assert "webhook" in response.json()["error"]

    assert await count_rows(database) == 0


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:9000/hook", 200),
        ("http://inside.internal/hook", 200),
        ("http://127.0.0.1:9001/hook", 400),
        ("http://other.internal/hook", 400),
        ("http://user@inside.internal/hook", 400),
        ("https://203.0.114.7/hook", 200),
    ],
)
async def test_hosts_that_the_setting_names_may_be_called(settings, issue, database, url, status):
    allowed = settings.model_copy(update={"allowed_hosts": ("127.0.0.1:9000", "inside.internal")})
    key, _ = await issue("tests", Scope.RUN)
    async with open_app(allowed) as app, client_of(app, key) as client:
        response = await client.post(f"/v2/{FLUX}/run", json={**FOX, "webhook": url})

    assert response.status_code == status, response.text
    assert await count_rows(database) == (2 if status == 200 else 0)
