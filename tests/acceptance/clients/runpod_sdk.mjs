// The `runpod-sdk` package, as its users write it.

import runpodSdk from "runpod-sdk";

const baseUrl = process.env.RUNPOD_ENDPOINT_BASE_URL;
const runpod = runpodSdk(process.env.RUNPOD_API_KEY, { baseUrl });
const heron = { input: { prompt: "a heron" } };

async function ended(endpoint, id) {
  let job;
  do {
    job = await endpoint.statusSync(id, 5000);
  } while (!job.completed);
  return job;
}

export async function run() {
  const endpoint = runpod.endpoint("echo");
  const { id, status } = await endpoint.run(heron);
  const { output } = await ended(endpoint, id);
  const last = await endpoint.status(id);
  return { first: status, output, last: last.status };
}

export async function run_sync() {
  const job = await runpod.endpoint("echo").runSync(heron);
  return job.succeeded && job.output;
}

export async function stream() {
  const endpoint = runpod.endpoint("qwen3-32b-awq");
  const { id } = await endpoint.run({ input: { prompt: "herons", max_tokens: 60 } });
  const pieces = [];
  for await (const piece of endpoint.stream(id)) {
    pieces.push(piece.output);
  }
  const { output } = await endpoint.status(id);
  return { pieces, output };
}

export async function cancel() {
  const endpoint = runpod.endpoint("never-ends");
  const { id } = await endpoint.run(heron);
  const reply = await endpoint.cancel(id);
  const { status } = await ended(endpoint, id);
  return { reply, status };
}

export async function purge_queue() {
  const endpoint = runpod.endpoint(process.env.ONE_WORKER);
  const jobs = await Promise.all([1, 2, 3].map(() => endpoint.run(heron)));
  const reply = await endpoint.purgeQueue();
  const statuses = [];
  for (const { id } of jobs) {
    statuses.push((await endpoint.status(id)).status);
    await endpoint.cancel(id);
  }
  return { reply, statuses };
}

export async function health() {
  const endpoint = runpod.endpoint("echo");
  await endpoint.runSync(heron);
  return await endpoint.health();
}

export async function failed() {
  const { status, output = null, error } = await runpod.endpoint("always-fails").runSync(heron);
  return { status, output, error };
}

export async function wrong_key() {
  return await runpodSdk("prk_wrong", { baseUrl }).endpoint("echo").run(heron);
}

export async function wrong_input() {
  const endpoint = runpod.endpoint("black-forest-labs-flux-1-dev");
  return await endpoint.run({ input: { prompt: "a heron", widht: 512 } });
}

export async function unknown_job() {
  return await runpod.endpoint("echo").status("no-such-job");
}
