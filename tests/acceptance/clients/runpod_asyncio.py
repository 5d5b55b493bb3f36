"""The asyncio classes of the `runpod` package, as its users write them.

They never look at an HTTP status: whatever the reply, they take `id` and `status` out of its JSON.
"""

import asyncio
import os

import aiohttp
import runpod  # type: ignore[import-not-found]

runpod.api_key = os.environ["RUNPOD_API_KEY"]


async def run():
    async with aiohttp.ClientSession() as session:
        job = await runpod.AsyncioEndpoint("echo", session).run({"prompt": "a heron"})
        first = await job.status()
        output = await job.output(timeout=30)
        return {"first": first, "output": output, "last": await job.status()}


async def stream():
    async with aiohttp.ClientSession() as session:
        endpoint = runpod.AsyncioEndpoint("qwen3-32b-awq", session)
        job = await endpoint.run({"prompt": "herons", "max_tokens": 60})
        pieces = [piece async for piece in job.stream()]
        return {"pieces": pieces, "output": await job.output(timeout=30)}


async def cancel():
    async with aiohttp.ClientSession() as session:
        job = await runpod.AsyncioEndpoint("never-ends", session).run({"prompt": "a heron"})
        reply = await job.cancel()
        await job.output(timeout=20)
        return {"reply": reply, "status": await job.status()}


async def purge_queue():
    async with aiohttp.ClientSession() as session:
        endpoint = runpod.AsyncioEndpoint(os.environ["ONE_WORKER"], session)
        inputs = [{"prompt": f"heron {number}"} for number in range(3)]
        jobs = await asyncio.gather(*(endpoint.run(values) for values in inputs))
        reply = await endpoint.purge_queue()
        statuses = await asyncio.gather(*(job.status() for job in jobs))
        await asyncio.gather(*(job.cancel() for job in jobs))
        return {"reply": reply, "statuses": statuses}


async def health():
    async with aiohttp.ClientSession() as session:
        endpoint = runpod.AsyncioEndpoint("echo", session)
        await (await endpoint.run({"prompt": "a heron"})).output(timeout=30)
        return await endpoint.health()


async def failed():
    async with aiohttp.ClientSession() as session:
        job = await runpod.AsyncioEndpoint("always-fails", session).run({"prompt": "a heron"})
        output = await job.output(timeout=30)
        return {"status": await job.status(), "output": output}


async def wrong_key():
    async with aiohttp.ClientSession() as session:
        endpoint = runpod.AsyncioEndpoint("echo", session, api_key="prk_wrong")
        await endpoint.run({"prompt": "a heron"})
