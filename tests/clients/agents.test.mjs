// SPDX-License-Identifier: MIT
// Agent programs, each finishing a turn with a tool call while its own provider fails and one of another dialect answers. The provider that answers is
// tests/support/providers/serve.py: strict about what it is sent, it asks the agent to read a file by the agent's own tool. Each agent runs in a folder of
// its own, HOME included, with everything switched off that would reach for another network than the loopback.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { AGENTS, ROOT, ended, failing, startGateway, startProvider } from "./support.mjs";

const PATIENCE = 180_000;

/** A folder for an agent: HOME, a project in it, and in that a file with a word that is nowhere else. */
function scratch(t) {
  const home = mkdtempSync(join(tmpdir(), "agent-"));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const project = join(home, "project"), word = `moon-${randomBytes(6).toString("hex")}`, file = join(project, "secret.txt");
  mkdirSync(project);
  writeFileSync(file, `The word is ${word}.\n`);
  return { home, project, word, file, prompt: `Read the file ${file} and tell me the word that it says.` };
}

/** The provider that answers; .calls: what it was asked, once the agent has ended. */
async function answering(t, file) {
  const child = spawn(join(ROOT, "build/venv/bin/python"), ["-B", join(ROOT, "tests/support/providers/serve.py"), file], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => ended(child, 20_000));
  t.after(() => child.stdin.end());
  const calls = [];
  const lines = createInterface({ input: child.stdout });
  const address = await new Promise((go) => lines.once("line", (line) => go(line.split(" ").at(-1))));
  lines.on("line", (line) => calls.push(JSON.parse(line)));
  return { address, calls };
}

async function run(t, place, program, args, env) {
  const child = spawn(join(AGENTS, "node_modules/.bin", program), args, {
    cwd: place.project, stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, LANG: "C.UTF-8", HOME: place.home, NO_PROXY: "*", ...env } });
  let stdout = "", stderr = "";
  child.stdout.on("data", (d) => { stdout += d; });
  child.stderr.on("data", (d) => { stderr += d; });
  t.after(async () => { child.kill("SIGKILL"); await ended(child); });
  const status = await ended(child, PATIENCE);
  return { status, stdout, stderr };
}

/** What every agent must have done: asked its own provider in vain, called the tool, and said what the tool found. */
async function check({ said, run: done, place, own, spare, gateway, outcome }) {
  const refused = spare.calls.filter((c) => c.complaint);
  assert.deepEqual(refused, [], "the provider refused what it was sent");
  assert.equal(done.status, 0, `${done.stderr}\n${done.stdout}`);
  assert.ok(said.includes(place.word), `it said: ${said}\n${done.stderr}`);
  assert.ok(own.requests.length >= 2, "its own provider was asked");
  assert.ok(spare.calls.some((c) => Object.values(c.results).some((r) => r.includes(place.word))), "the tool's result arrived at the other provider");
  const log = (await gateway.entries(2)).filter((e) => e.attempts.length === 2 && e.attempts[0].outcome === outcome && e.attempts[1].outcome === "ok");
  assert.ok(log.length >= 2 && log.every((e) => e.end === "complete"), JSON.stringify(await gateway.entries(1)));
}

test("Claude Code: Anthropic is overloaded, an OpenAI chat provider answers", { timeout: 300_000 }, async (t) => {
  const place = scratch(t), own = await startProvider(t, failing(529)), spare = await answering(t, place.file);
  const gateway = await startGateway(t, {
    own: { dialect: "anthropic", base_url: own.baseURL },
    spare: { dialect: "openai", base_url: `http://${spare.address}/v1`, api_key: "sk-openai" },
  }, { settings: 'targets = { "own", "spare/any--agent" }' });
  const off = ["DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER", "DISABLE_BUG_COMMAND", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"];
  const done = await run(t, place, "claude", ["-p", place.prompt, "--output-format", "json", "--allowedTools", "Read"], {
    ANTHROPIC_BASE_URL: gateway.baseURL.replace(/\/v1$/, ""), ANTHROPIC_API_KEY: "any", ANTHROPIC_MODEL: "claude-sonnet-4-5",
    ...Object.fromEntries(off.map((name) => [name, "1"])),
  });
  await check({ said: JSON.parse(done.stdout || "{}").result ?? "", run: done, place, own, spare, gateway, outcome: "overloaded" });
});

test("Codex CLI: the responses provider fails, Anthropic answers", { timeout: 300_000 }, async (t) => {
  const place = scratch(t), own = await startProvider(t, failing(500)), spare = await answering(t, place.file);
  const gateway = await startGateway(t, {
    own: { dialect: "responses", base_url: own.baseURL },
    spare: { dialect: "anthropic", base_url: `http://${spare.address}/v1`, api_key: "sk-anthropic" },
  }, { settings: 'targets = { "own", "spare/any--agent--claude-sonnet-4-5" }' });
  const codex = join(place.home, ".codex");
  mkdirSync(codex);
  writeFileSync(join(codex, "config.toml"), `
model = "gpt-5"
model_provider = "gate"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.gate]
name = "gate"
base_url = "${gateway.baseURL}"
env_key = "GATE_KEY"
wire_api = "responses"
`);
  const done = await run(t, place, "codex", ["exec", "--skip-git-repo-check", "--json", place.prompt], { GATE_KEY: "any" });
  const said = done.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
    .filter((e) => e.item?.type === "agent_message").map((e) => e.item.text).join("\n");
  await check({ said, run: done, place, own, spare, gateway, outcome: "server_error" });
});

test("opencode: OpenAI's rate limit is reached, Gemini answers", { timeout: 300_000 }, async (t) => {
  const place = scratch(t), own = await startProvider(t, failing(429, "rate_limit_exceeded")), spare = await answering(t, place.file);
  const gateway = await startGateway(t, {
    own: { dialect: "openai", base_url: own.baseURL },
    spare: { dialect: "gemini", base_url: `http://${spare.address}/v1beta`, api_key: "sk-gemini" },
  }, { settings: 'targets = { "own", "spare/any--agent--gemini-2.5-flash" }' });
  const models = { "gpt-4o": { name: "gpt-4o", tool_call: true } };
  const config = {
    autoupdate: false, share: "disabled", enabled_providers: ["gate"], model: "gate/gpt-4o", small_model: "gate/gpt-4o", permission: { "*": "allow" },
    provider: { gate: { npm: "@ai-sdk/openai-compatible", name: "gate", options: { baseURL: gateway.baseURL, apiKey: "any" }, models } },
  };
  const off = ["AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD", "SHARE", "PROJECT_CONFIG", "CLAUDE_CODE"];
  const done = await run(t, place, "opencode", ["run", "--format", "json", place.prompt], {
    OPENCODE_PURE: "1", OPENCODE_CONFIG_CONTENT: JSON.stringify(config), ...Object.fromEntries(off.map((name) => [`OPENCODE_DISABLE_${name}`, "1"])),
    ...Object.fromEntries(["CONFIG", "DATA", "CACHE", "STATE"].map((name) => [`XDG_${name}_HOME`, join(place.home, name.toLowerCase())])),
  });
  const said = done.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
    .filter((e) => e.type === "text").map((e) => e.part.text).join("\n");
  await check({ said, run: done, place, own, spare, gateway, outcome: "rate_limited" });
});
