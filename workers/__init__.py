"""What runs it: settings, the Celery app, the lane that every stage works, and the local stack.

    settings.py            what the environment says   operator_settings.py   what operators set
    app.py                 the Celery app              kombu_fix.py           a repair of kombu
    lane.py, bell.py       how a stage works, and how it is woken
    runtime.py, loop.py    what a process holds: one event loop, one database pool, one client
    sweep_watch.py         a worker that misses the sweep runs it itself
    watch.py, pulse.py     a worker that takes no messages notices, and ends
    clock.py               the time that all hosts agree on
    at_once.py             how requests are taken     taken.py              and given back
    consumer.py, beat.py   Celery's, sooner back after an outage and blind to steps of clocks
    store.py               where files are kept        telemetry.py           logs
    redaction.py           what logs hide
    tracing.py             whether spans are made      span_export.py         where they go
    tracer.py              what makes them             run_trace.py           of a lane's run
    trace_context.py       a job's place in a trace
    health.py              is each part well, and what to do if not
    stack/                 `pressroom up`: every process on one machine, supervised

Workers start the tasks by name; this package knows none of them.
"""
