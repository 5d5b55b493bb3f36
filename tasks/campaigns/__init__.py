"""Campaigns: many requests from one specification, followed as one.

spec.py       what a specification says, and what is wrong with one
template.py   "{adjective} {subject}, studio light"
prompt_file.py   rows and prompts of a file
matrix.py     which combinations there are
items.py      rows times combinations: the requests
plan.py       what they come to, before a cent is spent
timetable.py  when it is run again and again     cron.py   when a cron fires
"""
