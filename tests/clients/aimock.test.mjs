// SPDX-License-Identifier: MIT
// @copilotkit/aimock as the provider: nobody here wrote it, so both sides of the gateway cannot share a mistake.

import assert from "node:assert/strict";
import { test } from "node:test";
import { need, startGateway } from "./support.mjs";

const OpenAI = need("openai");
const { LLMock } = need("@copilotkit/aimock");
const messages = [{ role: "user", content: "what is a moon gate?" }];

async function aimock(t, text, options) {
  const mock = new LLMock({ port: 0 });
  mock.on({ predicate: () => true }, { content: text }, options);
  await mock.start();
  t.after(() => mock.stop());
  return mock;
}

async function setup(t, main, spare, settings) {
  const gateway = await startGateway(t, { main: `${main.url}/v1`, spare: `${spare.url}/v1` }, { settings });
  return { gateway, client: new OpenAI({ baseURL: gateway.baseURL, apiKey: "any" }) };
}

async function collect(stream) {
  let text = "";
  for await (const part of stream) text += part.choices[0]?.delta?.content ?? "";
  return text;
}

for (const stream of [false, true]) {
  const kind = stream ? "stream" : "plain";

  test(`${kind}: the primary answers`, async (t) => {
    const main = await aimock(t, "A round opening in a garden wall.");
    const spare = await aimock(t, "from the spare");
    const { client } = await setup(t, main, spare);
    const answer = await client.chat.completions.create({ model: "gpt-4o", messages, stream });
    const text = stream ? await collect(answer) : answer.choices[0].message.content;
    assert.equal(text, "A round opening in a garden wall.");
    assert.deepEqual([main.getRequests().length, spare.getRequests().length], [1, 0]);
  });

  test(`${kind}: 429 on the primary, the spare answers`, async (t) => {
    const main = await aimock(t, "never");
    const spare = await aimock(t, "from the spare");
    main.nextRequestError(429, { message: "slow down", type: "rate_limit_error", code: "rate_limit_exceeded" });
    const { client, gateway } = await setup(t, main, spare);
    const answer = await client.chat.completions.create({ model: "gpt-4o", messages, stream });
    assert.equal(stream ? await collect(answer) : answer.choices[0].message.content, "from the spare");
    const [entry] = await gateway.entries(1);
    assert.deepEqual(entry.attempts.map((a) => [a.target, a.outcome, a.status]),
      [["main/gpt-4o", "rate_limited", 429], ["spare/gpt-4o", "ok", 200]]);
  });
}

test("a stream that aimock cuts after some chunks raises, and is not begun again", async (t) => {
  const main = await aimock(t, "one two three four five six", { chunkSize: 4, latency: 20, truncateAfterChunks: 3 });
  const spare = await aimock(t, "from the spare");
  const { client, gateway } = await setup(t, main, spare);
  let seen = "";
  await assert.rejects(async () => {
    const stream = await client.chat.completions.create({ model: "gpt-4o", messages, stream: true });
    for await (const part of stream) seen += part.choices[0]?.delta?.content ?? "";
  });
  assert.ok(seen.length > 0 && "one two three four five six".startsWith(seen), seen);
  assert.equal((await gateway.entries(1))[0].end, "upstream_cut");
  assert.equal(spare.getRequests().length, 0);
});

test("chaos: with every fourth answer a 500, no client notices", async (t) => {
  const main = await aimock(t, "from the main one");
  const spare = await aimock(t, "from the spare");
  const { client } = await setup(t, main, spare);
  for (let n = 0; n < 12; n++) {
    if (n % 4 === 0) main.nextRequestError(500, { message: "chaos", type: "server_error" });
    const answer = await client.chat.completions.create({ model: "gpt-4o", messages });
    assert.equal(answer.choices[0].message.content, n % 4 === 0 ? "from the spare" : "from the main one");
  }
});

test("tools and embeddings", async (t) => {
  const main = new LLMock({ port: 0 });
  main.onMessage("moon", { toolCalls: [{ name: "look", arguments: '{"at":"moon"}' }] });
  main.onEmbedding(/.*/, { embedding: [0.5, 0.25] });
  await main.start();
  t.after(() => main.stop());
  const { client } = await setup(t, main, main);
  const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];
  const answer = await client.chat.completions.create({ model: "gpt-4o", messages, tools });
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, "look");
  const vector = await client.embeddings.create({ model: "text-embedding-3-small", input: "moon", encoding_format: "float" });
  assert.deepEqual(Array.from(vector.data[0].embedding), [0.5, 0.25]);
});
