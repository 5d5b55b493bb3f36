"""The upstream: what its endpoints take and cost, how it is called, and a stand-in for it.

    catalogue/   what each endpoint takes, gives back and costs
    client.py    the calls; replies.py reads what was answered, outcomes.py says what it means
    quota.py     the upstream's limits, kept by all workers together
    forecast.py  when a job is likely to be done
    download.py  fetching the files of a result
    emulator/    an honest stand-in for the upstream, on 127.0.0.1

All HTTP to the upstream is here. Nothing here knows of Celery or of our tables.
"""
