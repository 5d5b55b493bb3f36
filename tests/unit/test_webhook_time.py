"""A webhook carries the database's time, whatever this host's clock says."""

import datetime as dt

from models.base import new_id
from models.claims import Notice
from tasks.webhook import Message, sign


def test_a_webhook_is_signed_at_the_databases_time():
    now = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    notice = Notice(
        id=new_id(),
        lease=new_id(),
        endpoint="an-endpoint",
        job_id=new_id(),
        request={},
        tries=1,
        pending_seconds=0.0,
        now=now,
    )

    headers = sign(Message(notice, b"{}", secret=None))

    assert headers["webhook-timestamp"] == str(int(now.timestamp()))
