// The AI SDK with Runpod's provider, as its users write it.
//
// Its `baseURL` is one endpoint's, and moves text and images only: speech, video and transcription
// go where the model id says, if that is a URL.

import { createRunpod } from "@runpod/ai-sdk-provider";
import {
  experimental_generateVideo as generateVideo,
  generateImage,
  experimental_generateSpeech as generateSpeech,
  generateText,
  streamText,
  experimental_transcribe as transcribe,
} from "ai";

const base = process.env.RUNPOD_ENDPOINT_BASE_URL;
const apiKey = process.env.RUNPOD_API_KEY;
const runpod = createRunpod({ apiKey });
const text = createRunpod({ apiKey, baseURL: `${base}/qwen3-32b-awq/openai/v1` });
const image = createRunpod({ apiKey, baseURL: `${base}/black-forest-labs-flux-1-schnell` });
const flux = image.image("black-forest-labs/flux-1-schnell");
const often = { runpod: { pollIntervalMillis: 100, maxPollAttempts: 600 } };
const maxRetries = 0;

const base64 = (file) => Buffer.from(file.uint8Array).toString("base64");

// The AI SDK's own download refuses 127.0.0.1, as it does every private address.
async function download({ url }) {
  const response = await fetch(url);
  const data = new Uint8Array(await response.arrayBuffer());
  return { data, mediaType: response.headers.get("content-type") };
}

export async function generate_text() {
  const { text: said, finishReason, usage } = await generateText({
    model: text("qwen/qwen3-32b-awq"),
    system: "You watch birds.",
    prompt: "Tell me of herons.",
    maxOutputTokens: 60,
    maxRetries,
  });
  return { said, finishReason, usage };
}

export async function stream_text() {
  const result = streamText({
    model: text("qwen/qwen3-32b-awq"),
    prompt: "Tell me of herons.",
    maxOutputTokens: 60,
    maxRetries,
  });
  const pieces = [];
  for await (const piece of result.textStream) {
    pieces.push(piece);
  }
  return { pieces, finishReason: await result.finishReason, usage: await result.usage };
}

export async function generate_image() {
  const result = await generateImage({
    model: flux,
    prompt: "a heron",
    size: "512x768",
    seed: 7,
    maxRetries,
  });
  const [{ url, cost }] = result.providerMetadata.runpod.images;
  return { mediaType: result.image.mediaType, base64: base64(result.image), url, cost };
}

export async function generate_speech() {
  const { audio } = await generateSpeech({
    model: runpod.speech(`${base}/chatterbox-turbo`),
    text: "A heron stands\nin the reeds.",
    voice: "lucy",
    maxRetries,
  });
  return { mediaType: audio.mediaType, base64: base64(audio) };
}

export async function generate_video() {
  const { video } = await generateVideo({
    model: runpod.video(`${base}/p-video`),
    prompt: "a heron",
    aspectRatio: "1:1",
    duration: 1,
    providerOptions: often,
    maxRetries,
    download,
  });
  return { mediaType: video.mediaType, base64: base64(video) };
}

export async function transcribe_with_an_endpoint_of_ones_own() {
  const reply = transcribe({
    model: runpod.transcription(`${base}/echo`),
    audio: Buffer.from("RIFF    WAVE"),
    providerOptions: often,
    maxRetries,
  });
  // An echo holds no text, so the client ends by saying so, and names the job that it followed.
  const error = await reply.catch((error) => error);
  const { id } = JSON.parse(error.responses[0].body);
  const headers = { Authorization: `Bearer ${apiKey}` };
  const status = await fetch(`${base}/echo/status/${id}`, { headers });
  return { said: error.message, job: await status.json() };
}

export async function transcribe_with_a_withdrawn_endpoint() {
  const model = runpod.transcription(`${base}/whisper-v3-large`);
  return await transcribe({ model, audio: Buffer.from("RIFF    WAVE"), maxRetries });
}

export async function failed() {
  const model = runpod.video(`${base}/always-fails`);
  return await generateVideo({ model, prompt: "a heron", providerOptions: often, maxRetries });
}

export async function wrong_key() {
  const model = createRunpod({ apiKey: "prk_wrong", baseURL: `${base}/echo` }).image("echo");
  return await generateImage({ model, prompt: "a heron", maxRetries });
}

export async function wrong_input() {
  const providerOptions = { runpod: { widht: 512 } };
  return await generateImage({
    model: flux,
    prompt: "a heron",
    size: "512x768",
    providerOptions,
    maxRetries,
  });
}
