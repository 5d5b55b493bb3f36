"""`pressroom up`: every process on one machine, without Docker, supervised.

plan.py         which processes there are, and how each is started
postgres.py     the embedded PostgreSQL        valkey.py   the embedded Valkey
supervisor.py   supervisord: starts them, and brings them back when they die
watchdog.py     ends those that live and do nothing
lifecycle.py    up, down, status, in order
"""
