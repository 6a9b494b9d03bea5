// SPDX-License-Identifier: MIT
// The official openai JavaScript SDK, unchanged and with its default settings, through the gateway.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chunk, completion, DONE, events, failing, json, need, startGateway, startProvider, waitUntil } from "./support.mjs";

const OpenAI = need("openai");
const messages = [{ role: "user", content: "hi" }];
const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];
const keys = '{ name = "app", secret = "client-secret" }';

async function setup(t, handlers, options = {}) {
  const providers = [];
  for (const handler of handlers) providers.push(await startProvider(t, handler));
  const names = ["main", "spare"];
  const urls = Object.fromEntries(providers.map((p, i) => [names[i], p.baseURL]));
  const gateway = await startGateway(t, urls, { keys, ...options });
  const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: options.apiKey || "client-secret" });
  return { client, gateway, providers, ask: (more) => client.chat.completions.create({ model: "gpt-4o", messages, ...more }) };
}

const ok = (text) => (_, response) => json(response, 200, completion({ content: text }));
const talk = (...texts) => (_, response) =>
  events(response, chunk({ role: "assistant", content: "" }), ...texts.map((c) => chunk({ content: c })), chunk({}, "stop"), DONE).end();

async function collect(stream) {
  let text = "";
  for await (const part of stream) text += part.choices[0]?.delta?.content ?? "";
  return text;
}

test("chat: the model is unchanged, the client's key is not passed on", async (t) => {
  const { ask, providers: [up] } = await setup(t, [ok("hello there")]);
  const answer = await ask();
  assert.equal(answer.choices[0].message.content, "hello there");
  assert.equal(answer.usage.total_tokens, 8);
  assert.equal(JSON.parse(up.requests[0].body).model, "gpt-4o");
  assert.equal(up.requests[0].headers.authorization, "Bearer sk-main");
});

test("failover: one good answer while the first provider answers 429", async (t) => {
  const { ask, providers: [main, spare] } = await setup(t, [failing(429), ok("from the spare")]);
  assert.equal((await ask()).choices[0].message.content, "from the spare");
  assert.deepEqual([main.requests.length, spare.requests.length], [1, 1]);
});

test("stream: all deltas in order", async (t) => {
  const { ask } = await setup(t, [talk("one ", "two")]);
  assert.equal(await collect(await ask({ stream: true })), "one two");
});

test("stream: cut after its first content raises, and nobody else is asked", async (t) => {
  const { ask, providers: [main, spare] } = await setup(t, [
    (_, response) => { events(response, chunk({ content: "half" })); setTimeout(() => response.destroy(), 50); },
    talk("x")]);
  let seen = "";
  await assert.rejects(async () => {
    for await (const part of await ask({ stream: true })) seen += part.choices[0]?.delta?.content ?? "";
  });
  assert.equal(seen, "half");
  assert.deepEqual([main.requests.length, spare.requests.length], [1, 0]);
});

test("tools: a call comes through in both forms", async (t) => {
  const call = { id: "call_1", type: "function", function: { name: "look", arguments: '{"at":"moon"}' } };
  const { ask, client } = await setup(t, [(_, response, body) => {
    if (!JSON.parse(body).stream) return json(response, 200, completion({ content: null, tool_calls: [call] }, "tool_calls"));
    return events(response, chunk({ role: "assistant", content: null }),
      chunk({ tool_calls: [{ index: 0, ...call, function: { name: "look", arguments: "" } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '{"at":"moon"}' } }] }), chunk({}, "tool_calls"), DONE).end();
  }]);
  assert.equal((await ask({ tools })).choices[0].message.tool_calls[0].function.arguments, '{"at":"moon"}');
  const final = await client.chat.completions.stream({ model: "m", messages, tools }).finalChatCompletion();
  assert.equal(final.choices[0].message.tool_calls[0].function.arguments, '{"at":"moon"}');
});

for (const [status, name] of [[400, "BadRequestError"], [404, "NotFoundError"], [409, "ConflictError"],
  [422, "UnprocessableEntityError"], [429, "RateLimitError"], [500, "InternalServerError"], [503, "InternalServerError"]]) {
  test(`errors: ${status} is a ${name}, after exactly one call`, async (t) => {
    const { ask, gateway, providers: [up] } = await setup(t, [failing(status, "odd")]);
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof OpenAI[name], `${error}`);
      assert.deepEqual([error.status, error.code], [status, "odd"]);
      return true;
    });
    assert.equal(up.requests.length, 1);
    assert.equal((await gateway.entries(1)).length, 1);
  });
}

test("errors: the provider's refusal of the gateway's key is a 502", async (t) => {
  const { ask, providers: [up] } = await setup(t, [failing(401, "invalid_api_key")]);
  await assert.rejects(ask(), (error) => error instanceof OpenAI.InternalServerError && error.status === 502);
  assert.equal(up.requests.length, 1);
});

test("errors: a wrong client key is an AuthenticationError, and no provider is asked", async (t) => {
  const { ask, providers: [up] } = await setup(t, [ok("never")], { apiKey: "wrong" });
  await assert.rejects(ask(), (error) => error instanceof OpenAI.AuthenticationError && error.status === 401);
  assert.equal(up.requests.length, 0);
});

// A19: gateway requests=1, P=2
test("A19 always 503, one gateway retry: the SDK does not multiply it", async (t) => {
  const { ask, gateway, providers: [up] } = await setup(t, [failing(503)], { settings: "retries = 1, backoff = { base = 0.01 }," });
  await assert.rejects(ask(), OpenAI.InternalServerError);
  assert.equal(up.requests.length, 2);
  assert.equal((await gateway.entries(1)).length, 1);
});

test("abort in mid-stream ends the provider's stream", async (t) => {
  const { ask, gateway, providers: [up] } = await setup(t, [(_, response) => {
    events(response, chunk({ content: "tick" }));
    const timer = setInterval(() => response.write(chunk({ content: "tick" })), 20);
    response.on("close", () => clearInterval(timer));
  }]);
  const stream = await ask({ stream: true });
  let n = 0;
  for await (const _ of stream) if (++n === 3) break; // leaving the loop aborts
  await waitUntil(() => up.open === 0, "the provider to be left");
  assert.equal((await gateway.entries(1))[0].end, "client_gone");
});

test("an image of 8 MB arrives byte for byte, at the second provider, too", async (t) => {
  const url = `data:image/png;base64,${randomBytes(6_200_000).toString("base64")}`;
  const { client, providers } = await setup(t, [failing(500), ok("a moon gate")]);
  const content = [{ type: "image_url", image_url: { url } }];
  const answer = await client.chat.completions.create({ model: "gpt-4o", messages: [{ role: "user", content }] });
  assert.equal(answer.choices[0].message.content, "a moon gate");
  for (const up of providers) {
    assert.equal(up.requests.length, 1);
    assert.ok(JSON.parse(up.requests[0].body).messages[0].content[0].image_url.url === url);
  }
});

test("models.list() names what the routes offer", async (t) => {
  const { client } = await setup(t, [ok("never")], { settings: 'targets = { "main/gpt-4o", "main/gpt-4o-mini" },' });
  const ids = (await client.models.list()).data.map((m) => m.id);
  assert.ok(ids.includes("gpt-4o") && ids.includes("gpt-4o-mini"), ids.join());
});

test("a file of 3 MiB is uploaded from a stream, chunked", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "upload-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const content = randomBytes(3 << 20);
  writeFileSync(join(folder, "training.jsonl"), content);
  const { client, providers: [up] } = await setup(t, [(_, response) => json(response, 200, { id: "file-1", object: "file" })]);
  const file = await client.files.create({ file: createReadStream(join(folder, "training.jsonl")), purpose: "fine-tune" });
  assert.equal(file.id, "file-1");
  assert.ok(up.requests[0].body.includes(content));
  assert.match(up.requests[0].headers["content-type"], /^multipart\/form-data; ?boundary=/);
});

test("speech: a binary answer comes through unchanged", async (t) => {
  const sound = randomBytes(2 << 20);
  const { client } = await setup(t, [(_, response) => {
    response.writeHead(200, { "content-type": "audio/mpeg" });
    response.end(sound);
  }]);
  const answer = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "moon" });
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(sound));
});
