"""The guide's calls in Python, with another host and key."""

import os
import time

import requests

BASE = os.environ["RUNPOD_ENDPOINT_BASE_URL"]
KEY = os.environ["RUNPOD_API_KEY"]


def synchronous():
    response = requests.post(
        f"{BASE}/black-forest-labs-flux-1-dev/runsync",
        headers={
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
        },
        json={
            "input": {
                "prompt": "A serene mountain landscape at sunset",
                "width": 1024,
                "height": 1024,
                "num_inference_steps": 20,
                "guidance": 7.5,
            }
        },
    )

    result = response.json()
    return result["output"]["image_url"]


def asynchronous():
    response = requests.post(
        f"{BASE}/black-forest-labs-flux-1-dev/run",
        headers={
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
        },
        json={
            "input": {
                "prompt": "A futuristic cityscape with flying cars",
                "width": 1024,
                "height": 1024,
                "num_inference_steps": 50,
                "guidance": 8.0,
            }
        },
    )

    result = response.json()
    job_id = result["id"]

    while True:
        response = requests.get(
            f"{BASE}/black-forest-labs-flux-1-dev/status/{job_id}",
            headers={"Authorization": f"Bearer {KEY}"},
        )

        result = response.json()
        status = result["status"]

        if status == "COMPLETED":
            return result["output"]["image_url"]
        if status == "FAILED":
            raise RuntimeError(f"Job failed: {result}")
        time.sleep(2)
