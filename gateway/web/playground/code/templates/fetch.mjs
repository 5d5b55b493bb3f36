// For Node 20 or newer, as a file that ends in .mjs.
// export PRESSROOM_KEY=YOUR_API_KEY
{% if wanted.mode == "run" and wanted.has_files %}
import { writeFile } from "node:fs/promises";

{% endif %}
const base = {{ wanted.url | javascript }};
const headers = {
  Authorization: `Bearer ${process.env.PRESSROOM_KEY}`,
  "Content-Type": "application/json",
};

async function ask(path, options) {
  const response = await fetch(`${base}/${path}`, { headers, ...options });
  if (!response.ok) {
    throw new Error(`${response.status}: ${await response.text()}`);
  }
  return response.json();
}

{{ "let" if wanted.mode == "run" else "const" }} job = await ask("{{ wanted.mode }}", {
  method: "POST",
  body: JSON.stringify({{ {"input": wanted.input} | javascript(2) }}),
});
{% if wanted.mode == "run" %}
console.log(`Job ${job.id}`);

while (["IN_QUEUE", "IN_PROGRESS"].includes(job.status)) {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  job = await ask(`status/${job.id}`);
}
{% endif %}
if (job.status !== "COMPLETED") {
  throw new Error(`${job.status}: ${job.error} (job ${job.id})`);
}
console.log(job.output);
{% if wanted.mode == "run" and wanted.has_files %}

// Save its files here.
for (const value of Object.values(job.output)) {
  if (typeof value === "string" && value.startsWith("http")) {
    const file = await fetch(value);
    if (!file.ok) {
      throw new Error(`${file.status}: ${value}`);
    }
    const path = new URL(value).pathname.split("/").at(-1);
    await writeFile(path, Buffer.from(await file.arrayBuffer()));
    console.log(`Saved ${path}`);
  }
}
{% endif %}
