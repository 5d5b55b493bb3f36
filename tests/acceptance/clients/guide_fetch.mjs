// The guide's calls in JavaScript, with another host and key.

const base = process.env.RUNPOD_ENDPOINT_BASE_URL;
const key = process.env.RUNPOD_API_KEY;

async function submitJob() {
  const response = await fetch(`${base}/black-forest-labs-flux-1-dev/run`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${key}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({
      input: {
        prompt: "A futuristic cityscape with flying cars",
        width: 1024,
        height: 1024,
        num_inference_steps: 50,
        guidance: 8.0,
      },
    }),
  });

  const result = await response.json();
  return result;
}

async function checkStatus(jobId) {
  while (true) {
    const response = await fetch(`${base}/black-forest-labs-flux-1-dev/status/${jobId}`, {
      headers: {
        Authorization: `Bearer ${key}`,
      },
    });

    const result = await response.json();

    if (result.status === "COMPLETED") {
      return result;
    } else if (result.status === "FAILED") {
      throw new Error(`Job failed: ${JSON.stringify(result)}`);
    }

    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

export async function synchronous() {
  const response = await fetch(`${base}/black-forest-labs-flux-1-dev/runsync`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${key}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({
      input: {
        prompt: "A serene mountain landscape at sunset",
        width: 1024,
        height: 1024,
        num_inference_steps: 20,
        guidance: 7.5,
      },
    }),
  });

  const result = await response.json();
  return result.output.image_url;
}

export async function asynchronous() {
  const { id } = await submitJob();
  const result = await checkStatus(id);
  return result.output.image_url;
}
