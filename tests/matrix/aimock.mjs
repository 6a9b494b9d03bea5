// SPDX-License-Identifier: MIT
// @copilotkit/aimock as the provider of every dialect: nobody here wrote it, so both sides of the gateway cannot share a mistake. It reads what it answers,
// { play: { text, calls, then } }, from its first argument, says where it listens, and ends with its standard input. `then` is said once results are there.

import { createRequire } from "node:module";
import { join } from "node:path";

const need = createRequire(join(process.env.MOONGATE_CLIENTS, "package.json"));
const { LLMock } = need("@copilotkit/aimock");
const usage = {
  prompt_tokens: 12, completion_tokens: 9, total_tokens: 21, input_tokens: 12, output_tokens: 9, promptTokenCount: 12, candidatesTokenCount: 9, totalTokenCount: 21,
};

const mock = new LLMock({ port: 0, chunkSize: 8, latency: 0, logLevel: "silent" });
for (const [play, { text, calls, then }] of Object.entries(JSON.parse(process.argv[2]))) {
  const model = new RegExp(`--${play}(--|$)`);
  if (then) mock.on({ model, hasToolResult: true }, { content: then, usage });
  const toolCalls = calls?.map((c) => ({ ...c, arguments: JSON.stringify(c.arguments) }));
  mock.on({ model }, { ...(text && { content: text }), ...(toolCalls && { toolCalls }), usage });
}
await mock.start();
process.stdout.write(`listening on ${mock.url}\n`);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
