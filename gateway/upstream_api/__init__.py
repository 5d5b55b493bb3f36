"""`/v2/...`: the upstream's own protocol, so that any client of it works here.

run_body.py     what /run and /runsync are sent
jobs.py         run, runsync, status, status-sync, cancel, retry, purge-queue, health, requests
batch.py        jobs that are collected, and handed in together
stream.py       the pieces of a job's output, as they come
openai.py       the OpenAI-compatible routes: passed through as they come (completion.py),
                and written down (call.py)
"""
