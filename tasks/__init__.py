"""What happens: one file a stage, in the order of a job's life.

generate   a request comes in by Celery       intake.py   what every way in does with one
expand     a campaign's items become jobs     campaigns/  what its specification says
submit     POST /run                          each stage: claim, act, record, chain
poll       GET /status                        (workers/lane.py runs them)
archive    the files into our store           media.py    what a file is
notify     word to the producer               results.py  what a producer is told
revoke     a job is cancelled through Celery  completion.py  how its Celery task ends
spread     map and starmap of generations     previous.py  what is taken from the result before
batch      requests that waited, to jobs
sweep      rings for what is overdue          pause.py    a campaign that waits, and goes on
announce   word of campaigns and budgets      limits.py   budgets, and jobs in flight at once
tick       schedules whose time has come      schedules.py  what people do with them
job_trace.py  where a job's trace begins      call_traces.py  what its spans say
"""
