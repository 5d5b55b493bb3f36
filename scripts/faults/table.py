"""Every fault, in the order in which they are run."""

from collections.abc import Mapping

from scripts.faults import (
    of_celery,
    of_clock,
    of_disk,
    of_hosts,
    of_load,
    of_postgres,
    of_processes,
    of_redis,
    of_upstream,
    of_webhooks,
    poison,
)
from scripts.faults.fault import Fault

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        of_processes.kill_one_worker,
        of_processes.kill_all_workers,
        of_processes.kill_all_twenty_times,
        of_processes.kill_beat,
        of_processes.kill_gateway,
        of_processes.sigstop_then_kill_worker,
        of_processes.term_and_quit_mid_run,
        of_processes.two_beats,
        of_redis.flushall,
        of_redis.redis_restart_empty,
        of_redis.redis_paused,
        of_redis.redis_oom,
        of_redis.redis_stopped_three_times_in_10_s,
        of_postgres.postgres_restart,
        of_postgres.postgres_paused,
        of_postgres.postgres_cut,
        of_disk.disk_full,
        of_upstream.upstream_500s,
        of_upstream.upstream_429_storm,
        of_upstream.upstream_hang,
        of_upstream.upstream_html,
        of_upstream.reset_after_accept,
        of_upstream.reset_after_accept_no_webhook,
        of_upstream.reset_after_accept_webhooks_cease,
        of_upstream.slow_bytes,
        of_upstream.garbage,
        of_upstream.truncated_json,
        of_upstream.job_lost,
        of_upstream.results_gone_early,
        of_upstream.network_cut,
        of_webhooks.duplicate_webhooks,
        of_webhooks.webhooks_of_unknown_jobs,
        of_clock.clock_step,
        of_celery.duplicate_bells,
        of_celery.short_visibility_timeout,
        poison.poison,
        of_load.backlog,
        of_load.flower_probes,
        of_hosts.host_cut_off,
    )
}
