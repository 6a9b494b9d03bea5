// SPDX-License-Identifier: MIT
// opencode, a real agent program, with the gateway as its provider. It runs in a folder of its own, HOME included, with everything
// switched off that would reach for another network than the loopback.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AGENTS, ended, failing, need, startGateway, startProvider, waitUntil } from "./support.mjs";

const { LLMock } = need("@copilotkit/aimock");

function configuration(baseURL) {
  const models = { "gpt-4o": { name: "gpt-4o" }, "gpt-4o-mini": { name: "gpt-4o-mini" } };
  return {
    autoupdate: false, share: "disabled", enabled_providers: ["gate"],
    model: "gate/gpt-4o", small_model: "gate/gpt-4o-mini",
    provider: { gate: { npm: "@ai-sdk/openai-compatible", name: "gate", options: { baseURL, apiKey: "any" }, models } },
  };
}

/** Starts it. `.end(patience)` waits until it has ended, by itself or after so many milliseconds, and tells how. */
function opencode(t, baseURL, prompt) {
  const home = mkdtempSync(join(tmpdir(), "opencode-"));
  const folder = join(home, "project");
  mkdirSync(folder);
  const off = ["AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD", "SHARE", "PROJECT_CONFIG", "CLAUDE_CODE"];
  const env = {
    PATH: process.env.PATH, HOME: home, NO_PROXY: "*", OPENCODE_PURE: "1",
    XDG_CONFIG_HOME: join(home, "config"), XDG_DATA_HOME: join(home, "data"),
    XDG_CACHE_HOME: join(home, "cache"), XDG_STATE_HOME: join(home, "state"),
    OPENCODE_CONFIG_CONTENT: JSON.stringify(configuration(baseURL)),
    ...Object.fromEntries(off.map((name) => [`OPENCODE_DISABLE_${name}`, "1"])),
  };
  const child = spawn(join(AGENTS, "node_modules/.bin/opencode"), ["run", "--format", "json", prompt],
    { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(async () => {
    child.kill("SIGKILL");
    await ended(child);
    rmSync(home, { recursive: true, force: true });
  });
  let stdout = "", stderr = "";
  child.stdout.on("data", (d) => { stdout += d; });
  child.stderr.on("data", (d) => { stderr += d; });
  async function end(patience) {
    const status = await ended(child, patience);
    const said = stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    return { status, said, stderr, text: said.filter((e) => e.type === "text").map((e) => e.part.text).join("") };
  }
  return { child, end };
}

test("one turn completes while the primary answers 429", { timeout: 240_000 }, async (t) => {
  const main = await startProvider(t, failing(429, "rate_limit_exceeded"));
  const spare = new LLMock({ port: 0 });
  spare.on({ predicate: () => true }, { content: "The moon gate is open." });
  await spare.start();
  t.after(() => spare.stop());
  const gateway = await startGateway(t, { main: main.baseURL, spare: `${spare.url}/v1` });

  const run = await opencode(t, gateway.baseURL, "Say something about the gate.").end(150_000);
  assert.equal(run.status, 0, run.stderr);
  assert.equal(run.text, "The moon gate is open.");
  assert.ok(main.requests.length >= 1);
  const log = await gateway.entries(1);
  assert.ok(log.some((e) => e.stream && e.attempts.length === 2 && e.attempts[0].status === 429 && e.end === "complete"),
    JSON.stringify(log));
});

// E03: opencode made over 600 calls in 40 s against a stream that ended cleanly without an end marker.
test("E03 a stream without an end marker does not make it loop", { timeout: 240_000 }, async (t) => {
  const chunk = (delta) => `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m",
    choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`;
  const main = await startProvider(t, (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(chunk({ role: "assistant" }) + chunk({ content: "half" }) + chunk({ content: " of it" }));
  });
  const gateway = await startGateway(t, { main: main.baseURL });
  const agent = opencode(t, gateway.baseURL, "Say something.");
  await waitUntil(() => main.requests.length > 0 || agent.child.exitCode !== null, "opencode to call", 150_000);
  const run = await agent.end(20_000);
  t.diagnostic(`${main.requests.length} calls, exit status ${run.status ?? "none, ended after 20 s"}`);
  assert.ok(main.requests.length > 0 && main.requests.length < 20, `${main.requests.length} calls`);
});
