// SPDX-License-Identifier: MIT
// What the client tests stand on: the gateway as a process, a provider whose answers a test scripts, the packages.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const CLIENTS = process.env.MOONGATE_CLIENTS || join(ROOT, "build/clients");
export const AGENTS = process.env.MOONGATE_AGENTS || join(ROOT, "build/agents");
/** require() of what install.sh brought. */
export const need = createRequire(join(CLIENTS, "package.json"));

const BINARY = process.env.MOONGATE_BIN
  || ["build/asan/moongate", "build/moongate"].map((p) => join(ROOT, p)).find(existsSync);
const PATIENCE = 90_000;

export async function waitUntil(condition, what, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${patience / 1000} s in vain for ${what}`);
    await new Promise((go) => setTimeout(go, 20));
  }
}

/** Waits for a child to end; what it does not do by itself in time is done for it. */
export function ended(child, patience = PATIENCE) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((go) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), patience);
    child.once("exit", (code) => { clearTimeout(timer); go(code); });
  });
}

/**
 * Starts a gateway; `t.after` stops it and insists on a clean end. providers: { name: base URL } or { name: its fields }, all of them
 * targets in this order with the client's model, unless the settings (Lua text) name others.
 */
export async function startGateway(t, providers, { settings = "", keys = "" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "moongate-"));
  const names = Object.keys(providers);
  const fields = (n) => ({ dialect: "openai", api_key: `sk-${n}`, ...(typeof providers[n] === "string" ? { base_url: providers[n] } : providers[n]) });
  const entries = names.map((n) => `${n} = { ${Object.entries(fields(n)).map(([k, v]) => `${k} = "${v}"`).join(", ")} },`);
  const targets = settings.includes("targets") ? "" : `targets = { ${names.map((n) => `"${n}"`).join(", ")} },`;
  writeFileSync(join(folder, "gateway.lua"), `return {
    listen = "127.0.0.1:0", workers = 1, log = { access = "stdout" }, limits = { drain_time = 2 },
    keys = { ${keys} },
    providers = { ${entries.join("\n")} },
    routes = { { name = "all", path = "/v1/*", policy = "failover", settings = { ${targets} ${settings} } } },
  }\n`);
  const child = spawn(BINARY, ["serve", "-c", join(folder, "gateway.lua")], { stdio: ["ignore", "pipe", "pipe"] });
  const gateway = { stderr: "", stdout: "" };
  child.stdout.on("data", (d) => { gateway.stdout += d; });
  child.stderr.on("data", (d) => { gateway.stderr += d; });
  t.after(async () => {
    child.kill("SIGTERM");
    const code = await ended(child);
    rmSync(folder, { recursive: true, force: true });
    if (code !== 0 || /Sanitizer|runtime error:/.test(gateway.stderr)) {
      throw new Error(`the gateway ended with ${code}:\n${gateway.stderr}`);
    }
  });
  const address = await waitUntil(() => {
    if (child.exitCode !== null) throw new Error(`the gateway did not start:\n${gateway.stderr}`);
    return /listening on (127\.0\.0\.1:\d+)/.exec(gateway.stderr)?.[1];
  }, "the gateway to listen");
  gateway.baseURL = `http://${address}/v1`;
  gateway.log = () => gateway.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  gateway.entries = (n) => waitUntil(() => gateway.log().length >= n && gateway.log(), `${n} lines in the access log`);
  return gateway;
}

/** A provider: handler(request, response, body) answers; .requests has every request with its body. */
export async function startProvider(t, handler) {
  const provider = { requests: [], open: 0 };
  const server = createServer((request, response) => {
    const parts = [];
    provider.open += 1;
    response.on("close", () => { provider.open -= 1; });
    request.on("data", (d) => parts.push(d));
    request.on("end", () => {
      const body = Buffer.concat(parts);
      provider.requests.push({ method: request.method, url: request.url, headers: request.headers, body });
      handler(request, response, body);
    });
  });
  await new Promise((go) => server.listen(0, "127.0.0.1", go));
  t.after(() => { server.closeAllConnections(); server.close(); });
  provider.baseURL = `http://127.0.0.1:${server.address().port}/v1`;
  return provider;
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

export const failing = (status, code = null) => (_, response) =>
  json(response, status, { error: { message: `it went wrong: ${status}`, type: "error", param: null, code } });

export const completion = (message, finish = "stop") => ({
  id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m",
  choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finish }],
  usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
});

export const chunk = (delta, finish = null) => `data: ${JSON.stringify({
  id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m",
  choices: [{ index: 0, delta, finish_reason: finish }],
})}\n\n`;

export const DONE = "data: [DONE]\n\n";

export function events(response, ...texts) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const text of texts) response.write(text);
  return response;
}
