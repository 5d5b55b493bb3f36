"""What is true: tables, states, and every SQL statement.

Postgres is the queue and the record. Nothing here knows of Celery, Redis or the upstream.

    job        a request and where it is       transitions.py   every write to jobs.state
    attempt    one `/run` ever sent            claims.py        what a stage takes to work on
    artifact   one file of a result            campaign.py      jobs followed as one
    delivery   one message that a job ended    lane.py          where a stage is held up, and why
    endpoint   what was learned of an endpoint setting.py       what operators change at run time
"""
