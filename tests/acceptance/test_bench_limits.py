"""The benchmarks of quota, fairness and latency run, and what they find of safety holds."""


def test_a_limit_is_used_and_never_exceeded(run_bench):
    figures = run_bench("quota")

    assert figures.find("1 worker", "submits taken") > 0
    assert figures.find("1 worker", "refused (429)") == 0
    assert figures.find("1 worker", "most in a window") <= 1000
    assert figures.find("1 worker", "most at once") <= 200
    assert {bar["sense"] for bar in figures.bars} == {"at least", "at most"}


def test_a_single_job_and_one_of_high_priority_pass_a_backlog(run_bench):
    figures = run_bench("fairness")

    for part in ("single", "priority"):
        assert figures.find(part, "handed in to taken upstream, p95") > 0
    assert 1.5 < figures.find("weights", "served for each of the other's, weight 3") < 6


def test_what_is_added_to_a_single_job_is_told_beside_the_floor(run_bench):
    figures = run_bench("latency")

    parts = {row["part"] for row in figures.rows}
    assert parts == {
        f"to {what}, {how}" for what in ("send", "read") for how in ("webhooks", "no webhooks")
    }
    assert all(row["value"] > 0 and row["beside"] > 0 for row in figures.rows)
