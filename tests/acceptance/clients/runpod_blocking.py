"""The blocking classes of the `runpod` package, as its users write them.

Where they go is RUNPOD_ENDPOINT_BASE_URL, which the package reads for itself.
"""

import os

import runpod  # type: ignore[import-not-found]

runpod.api_key = os.environ["RUNPOD_API_KEY"]


def run():
    job = runpod.Endpoint("echo").run({"prompt": "a heron"})
    first = job.status()
    output = job.output(timeout=30)
    return {"first": first, "output": output, "last": job.status()}


def run_sync():
    return runpod.Endpoint("echo").run_sync({"input": {"prompt": "a heron"}}, timeout=60)


def stream():
    job = runpod.Endpoint("qwen3-32b-awq").run({"prompt": "herons", "max_tokens": 60})
    pieces = list(job.stream())
    return {"pieces": pieces, "output": job.output()}


def cancel():
    job = runpod.Endpoint("never-ends").run({"prompt": "a heron"})
    reply = job.cancel()
    job.output(timeout=20)
    return {"reply": reply, "status": job.status()}


def purge_queue():
    endpoint = runpod.Endpoint(os.environ["ONE_WORKER"])
    jobs = [endpoint.run({"prompt": f"heron {number}"}) for number in range(3)]
    reply = endpoint.purge_queue()
    statuses = [job.status() for job in jobs]
    for job in jobs:
        job.cancel()
    return {"reply": reply, "statuses": statuses}


def health():
    endpoint = runpod.Endpoint("echo")
    endpoint.run_sync({"prompt": "a heron"})
    return endpoint.health()


def failed():
    job = runpod.Endpoint("always-fails").run({"prompt": "a heron"})
    output = job.output(timeout=30)
    return {"status": job.status(), "output": output}


def wrong_key():
    return runpod.Endpoint("echo", api_key="prk_wrong").run_sync({"prompt": "a heron"})


def wrong_input():
    return runpod.Endpoint("black-forest-labs-flux-1-dev").run({"prompt": "a heron", "widht": 512})


def unknown_job():
    job = runpod.endpoint.Job("echo", "no-such-job", runpod.Endpoint("echo").rp_client)
    return job.status()
