// npm install ai @runpod/ai-sdk-provider
// export PRESSROOM_KEY=YOUR_API_KEY
import { createRunpod } from "@runpod/ai-sdk-provider";
import { {{ call.function }}{% if call.renamed %} as {{ call.renamed }}{% endif %} } from "ai";
{% if call.file %}
import { writeFile } from "node:fs/promises";
{% endif %}

const runpod = createRunpod({
  apiKey: process.env.PRESSROOM_KEY,
{% if call.base %}
  baseURL: {{ call.base | javascript }},
{% endif %}
});
{% if call.own_download %}

// The SDK's own download refuses addresses of a private network, which the gateway's is.
async function download({ url }) {
  const response = await fetch(url);
  const data = new Uint8Array(await response.arrayBuffer());
  return { data, mediaType: response.headers.get("content-type") };
}
{% endif %}

const result = await {{ call.renamed or call.function }}({
  model: runpod{{ call.model }}({{ call.model_id | javascript }}),
{% for name, value in call.arguments.items() %}
  {{ name }}: {{ value | javascript(2) }},
{% endfor %}
{% if call.options or call.left_out %}
  providerOptions: {
    runpod: {
{% for name, value in call.options.items() %}
      {{ name | field }}: {{ value | javascript(6) }},
{% endfor %}
{% if call.left_out %}
      // Left to the endpoint; the provider would fill them in.
{% endif %}
{% for name in call.left_out %}
      {{ name | field }}: undefined,
{% endfor %}
    },
  },
{% endif %}
{% if call.own_download %}
  download,
{% endif %}
});
{% if call.file %}
const { uint8Array, mediaType } = result.{{ call.file }};
const path = `result.${mediaType.split("/")[1]}`;
await writeFile(path, uint8Array);
console.log(`Saved ${path}`);
{% else %}
console.log(result.text);
{% endif %}
