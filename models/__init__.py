"""What is true: tables, states, and every SQL statement.

Postgres is the queue and the record. Nothing here knows of Celery, Redis or the upstream.

    job        a request and where it is       transitions.py   every write to jobs.state
    attempt    one `/run` ever sent            claims.py        what a stage takes to work on
    artifact   one file of a result            interventions.py cancel, retry, give up
    delivery   one message that a job ended    campaign.py      jobs followed as one
    endpoint   what was learned of an endpoint lane.py          where a stage is held up, and why
    key        who may call the gateway        handle.py        a job that was handed in before
    batch      requests that wait to be jobs   hold.py          queued jobs that may not be sent
    event      something came to a new state   result_cache.py  a result that is there already
    pulse      since when a part is at work    poison.py        rows that workers die of
    budget     what may be spent               slots.py         a campaign's jobs in flight at once
    reservation  the price of one `/run`       room.py          what ends lets others go on
    movement   a line of a budget's ledger     spend.py         what was paid
    announcement  word of campaigns, budgets   pace.py          when a campaign's jobs come due
    setting    what operators change at run time
    schedule   a campaign run again and again  schedule_run.py  what was decided of its fires
"""
