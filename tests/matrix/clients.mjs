// SPDX-License-Identifier: MIT
// One official JavaScript SDK, unchanged, through all its cells: the counterpart of clients.py, which says how it is spoken to. It judges nothing.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const need = createRequire(join(process.env.MOONGATE_CLIENTS, "package.json"));
const { system: SYSTEM, question, tools: TOOLS, results: RESULTS, cases: CASES } = JSON.parse(readFileSync(join(here, "cases.json")));
const IMAGE = Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.from(Array.from({ length: 20_000 }, (_, n) => (n * 7) % 251))]);
const { z } = need("zod");
const GATE = z.object({ name: z.string(), rooms: z.number().int() });
const AT_ONCE = 4;
const PATIENCE = 60_000;

const chat = {
  connect(base, apiKey) {
    const OpenAI = need("openai");
    return new OpenAI({ baseURL: `${base}/v1`, apiKey, timeout: PATIENCE });
  },
  request(model, c) {
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${IMAGE.toString("base64")}` } };
    const content = c.image ? [{ type: "text", text: c.question }, image] : c.question;
    return {
      model, messages: [{ role: "system", content: SYSTEM }, { role: "user", content }], ...c.options,
      ...(c.tools && { tools: TOOLS.map((t) => ({ type: "function", function: { name: t.name, description: t.description, parameters: t.schema } })) }),
      ...(c.choice && { tool_choice: { type: "function", function: { name: c.choice } } }),
      ...(c.thinking && { reasoning_effort: "low" }),
    };
  },
  whole(sdk, request, c) {
    const { zodResponseFormat } = need("openai/helpers/zod");
    if (c.structured) return sdk.chat.completions.parse({ ...request, response_format: zodResponseFormat(GATE, "gate") });
    return sdk.chat.completions.create(request);
  },
  async* stream(sdk, request, seen, end) {
    const stream = sdk.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
      seen("chunk");
      if (chunk.choices[0]?.delta?.content) yield chunk.choices[0].delta.content;
    }
    end.answer = await stream.finalChatCompletion();
  },
  result(answer) {
    const { message, finish_reason } = answer.choices[0], u = answer.usage;
    return {
      text: message.content ?? "", stop: finish_reason, refusal: message.refusal, parsed: message.parsed ?? undefined,
      calls: (message.tool_calls ?? []).map((t) => [t.function.name, JSON.parse(t.function.arguments)]),
      usage: u && [u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details?.cached_tokens ?? 0, u.completion_tokens_details?.reasoning_tokens ?? 0],
    };
  },
  follow(request, answer) {
    const { role, content, tool_calls } = answer.choices[0].message;
    request.messages.push({ role, content, tool_calls: tool_calls.map(({ id, type, function: f }) => ({ id, type, function: { name: f.name, arguments: f.arguments } })) });
    for (const call of tool_calls) request.messages.push({ role: "tool", tool_call_id: call.id, content: RESULTS[call.function.name] });
  },
};

class ResponseFailed extends Error {}

const responses = {
  connect: chat.connect,
  request(model, c) {
    const content = [{ type: "input_text", text: c.question }];
    if (c.image) content.push({ type: "input_image", detail: "auto", image_url: `data:image/png;base64,${IMAGE.toString("base64")}` });
    const { max_tokens, ...options } = c.options ?? {};
    return {
      model, instructions: SYSTEM, input: [{ role: "user", content }], store: false, ...options, ...(max_tokens && { max_output_tokens: max_tokens }),
      ...(c.tools && { tools: TOOLS.map((t) => ({ type: "function", name: t.name, description: t.description, parameters: t.schema, strict: true })) }),
      ...(c.choice && { tool_choice: { type: "function", name: c.choice } }),
      ...(c.thinking && { reasoning: { effort: "low", summary: "auto" }, include: ["reasoning.encrypted_content"] }),
    };
  },
  whole(sdk, request, c) {
    const { zodTextFormat } = need("openai/helpers/zod");
    return c.structured ? sdk.responses.parse({ ...request, text: { format: zodTextFormat(GATE, "gate") } }) : sdk.responses.create(request);
  },
  async* stream(sdk, request, seen, end) {
    const stream = sdk.responses.stream(request);
    let number = -1;
    for await (const event of stream) {
      number += 1;
      if (event.sequence_number !== number) seen(`sequence_number ${event.sequence_number}`);
      seen(event.type);
      if (event.type === "response.output_text.delta") yield event.delta;
      if (event.type === "response.failed") throw new ResponseFailed(JSON.stringify(event.response.error));
    }
    end.answer = await stream.finalResponse();
  },
  result(answer) {
    const u = answer.usage;
    return {
      text: answer.output.filter((i) => i.type === "message").flatMap((i) => i.content).map((p) => p.text ?? "").join(""),
      stop: answer.incomplete_details?.reason ?? answer.status, parsed: answer.output_parsed ?? undefined,
      calls: answer.output.filter((i) => i.type === "function_call").map((i) => [i.name, JSON.parse(i.arguments)]),
      thinking: answer.output.filter((i) => i.type === "reasoning").flatMap((i) => i.summary).map((s) => s.text).join(""),
      usage: [u.input_tokens, u.output_tokens, u.input_tokens_details?.cached_tokens ?? 0, u.output_tokens_details?.reasoning_tokens ?? 0],
    };
  },
  follow(request, answer) {
    const own = new Set(["parsed_arguments", "parsed"]); // what the SDK's helpers add for the user
    request.input.push(...JSON.parse(JSON.stringify(answer.output, (name, value) => (own.has(name) ? undefined : value))));
    for (const item of answer.output) {
      if (item.type === "function_call") request.input.push({ type: "function_call_output", call_id: item.call_id, output: RESULTS[item.name] });
    }
  },
};

const anthropic = {
  connect(baseURL, apiKey) {
    const Anthropic = need("@anthropic-ai/sdk");
    return new Anthropic({ baseURL, apiKey, timeout: PATIENCE });
  },
  request(model, c) {
    const content = [{ type: "text", text: c.question }];
    if (c.image) content.unshift({ type: "image", source: { type: "base64", media_type: "image/png", data: IMAGE.toString("base64") } });
    const { stop, temperature, ...options } = c.options ?? {}; // API version 2026-10-21 has no temperature
    return {
      model, max_tokens: 4096, system: SYSTEM, messages: [{ role: "user", content }], ...options, ...(stop && { stop_sequences: stop }),
      ...(c.tools && { tools: TOOLS.map((t) => ({ name: t.name, description: t.description, input_schema: t.schema })) }),
      ...(c.choice && { tool_choice: { type: "tool", name: c.choice } }),
      ...(c.thinking && { thinking: { type: "enabled", budget_tokens: 2048 } }),
    };
  },
  whole(sdk, request, c) {
    const { zodOutputFormat } = need("@anthropic-ai/sdk/helpers/zod");
    return c.structured ? sdk.messages.parse({ ...request, output_config: { format: zodOutputFormat(GATE) } }) : sdk.messages.create(request);
  },
  async* stream(sdk, request, seen, end) {
    const stream = sdk.messages.stream(request);
    for await (const event of stream) {
      seen(event.type);
      if (event.delta?.type === "text_delta") yield event.delta.text;
    }
    end.answer = await stream.finalMessage();
  },
  result(answer) {
    const of = (type) => answer.content.filter((b) => b.type === type), u = answer.usage;
    const cached = u.cache_read_input_tokens ?? 0, written = u.cache_creation_input_tokens ?? 0;
    return {
      text: of("text").map((b) => b.text).join(""), stop: answer.stop_reason, calls: of("tool_use").map((b) => [b.name, b.input]),
      thinking: of("thinking").map((b) => b.thinking).join(""), parsed: answer.parsed_output ?? undefined,
      usage: [u.input_tokens + cached + written, u.output_tokens, cached, u.output_tokens_details?.thinking_tokens ?? null],
    };
  },
  follow(request, answer) {
    const results = answer.content.filter((b) => b.type === "tool_use").map((b) => ({ type: "tool_result", tool_use_id: b.id, content: RESULTS[b.name] }));
    request.messages.push({ role: "assistant", content: answer.content.map(({ parsed_output, ...b }) => b) }, { role: "user", content: results });
  },
};

const parts = (answer) => answer.candidates?.[0]?.content?.parts ?? [];
const genai = {
  connect(baseUrl, apiKey) {
    const { GoogleGenAI } = need("@google/genai");
    return new GoogleGenAI({ apiKey, httpOptions: { baseUrl, timeout: PATIENCE } });
  },
  request(model, c) {
    const said = [{ text: c.question }];
    if (c.image) said.push({ inlineData: { mimeType: "image/png", data: IMAGE.toString("base64") } });
    const { max_tokens, stop, ...options } = c.options ?? {};
    const config = {
      systemInstruction: SYSTEM, ...options, ...(max_tokens && { maxOutputTokens: max_tokens }), ...(stop && { stopSequences: stop }),
      ...(c.tools && { tools: [{ functionDeclarations: TOOLS.map((t) => ({ name: t.name, description: t.description, parametersJsonSchema: t.schema })) }] }),
      ...(c.choice && { toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: [c.choice] } } }),
      ...(c.structured && { responseMimeType: "application/json", responseJsonSchema: z.toJSONSchema(GATE) }),
      ...(c.thinking && { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 } }),
    };
    return { model, contents: [{ role: "user", parts: said }], config };
  },
  whole: (sdk, request) => sdk.models.generateContent(request),
  async* stream(sdk, request, seen, end) {
    const all = [];
    let last;
    for await (const chunk of await sdk.models.generateContentStream(request)) {
      seen("chunk");
      last = chunk;
      all.push(...parts(chunk));
      const said = parts(chunk).filter((p) => p.text && !p.thought).map((p) => p.text).join("");
      if (said) yield said;
    }
    if (last?.candidates?.[0]) last.candidates[0].content = { role: "model", parts: all };
    end.answer = last;
  },
  result(answer, c) {
    const u = answer.usageMetadata ?? {}, thoughts = u.thoughtsTokenCount ?? 0, all = parts(answer);
    const blocked = answer.promptFeedback?.blockReason, text = all.filter((p) => p.text && !p.thought).map((p) => p.text).join("");
    return {
      text, thinking: all.filter((p) => p.text && p.thought).map((p) => p.text).join(""), stop: blocked ? `blocked: ${blocked}` : answer.candidates[0].finishReason,
      calls: all.filter((p) => p.functionCall).map((p) => [p.functionCall.name, p.functionCall.args]),
      usage: [u.promptTokenCount, (u.candidatesTokenCount ?? 0) + thoughts, u.cachedContentTokenCount ?? 0, thoughts],
      ...(c.structured && { parsed: GATE.parse(JSON.parse(text)) }),
    };
  },
  follow(request, answer) {
    const results = parts(answer).filter((p) => p.functionCall).map(({ functionCall: f }) => ({ functionResponse: { id: f.id, name: f.name, response: { result: RESULTS[f.name] } } }));
    request.contents.push({ role: "model", parts: parts(answer) }, { role: "user", parts: results });
  },
};

/** Vercel's ai over one of its providers: `thinking` are the provider's options for thinking, `always` those for all else. */
const ai = (connect, thinking, always) => ({
  connect,
  request(_, c) {
    const content = [{ type: "text", text: c.question }];
    if (c.image) content.push({ type: "file", data: IMAGE, mediaType: "image/png" });
    return { messages: [{ role: "user", content }], case: c };
  },
  options(sdk, { messages, case: c }, model) {
    const { tool, jsonSchema, Output } = need("ai");
    const { max_tokens, stop, temperature } = c.options ?? {};
    return {
      model: sdk(model), system: SYSTEM, messages, maxRetries: 0, abortSignal: AbortSignal.timeout(PATIENCE),
      ...(max_tokens && { maxOutputTokens: max_tokens }), ...(stop && { stopSequences: stop }), ...(temperature && { temperature }),
      ...(c.tools && { tools: Object.fromEntries(TOOLS.map((t) => [t.name, tool({ description: t.description, inputSchema: jsonSchema(t.schema) })])) }),
      ...(c.choice && { toolChoice: { type: "tool", toolName: c.choice } }),
      ...(c.structured && { output: Output.object({ schema: GATE }) }),
      providerOptions: c.thinking ? thinking : always,
    };
  },
  async whole(sdk, request, c, model) {
    const { generateText } = need("ai");
    return this.settled(await generateText(this.options(sdk, request, model)), c);
  },
  async* stream(sdk, request, seen, end, model) {
    const { streamText } = need("ai");
    const stop = new AbortController();
    const options = this.options(sdk, request, model);
    const result = streamText({ ...options, abortSignal: AbortSignal.any([stop.signal, options.abortSignal]), onError() {} });
    try {
      for await (const part of result.fullStream) {
        seen(part.type);
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta" && part.text) yield part.text;
      }
    } finally {
      stop.abort();
    }
    end.answer = await this.settled(result, request.case);
  },
  async settled(result, c) {
    return {
      text: await result.text, finishReason: await result.finishReason, usage: await result.usage, toolCalls: await result.toolCalls,
      thinking: await result.reasoningText, messages: (await result.response).messages ?? (await result.finalStep)?.response?.messages ?? [],
      ...(c.structured && { output: await result.output }),
    };
  },
  result(answer) {
    const u = answer.usage;
    return {
      text: answer.text, stop: answer.finishReason, thinking: answer.thinking ?? "", parsed: answer.output,
      calls: answer.toolCalls.map((t) => [t.toolName, t.input]),
      usage: [u.inputTokens, u.outputTokens, u.inputTokenDetails?.cacheReadTokens ?? 0, u.outputTokenDetails?.reasoningTokens ?? 0],
    };
  },
  follow(request, answer) {
    const results = answer.toolCalls.map((t) => ({ type: "tool-result", toolCallId: t.toolCallId, toolName: t.toolName, output: { type: "text", value: RESULTS[t.toolName] } }));
    request.messages.push(...answer.messages, { role: "tool", content: results });
  },
});

const OPENAI_THINKS = { openai: { reasoningEffort: "low", reasoningSummary: "auto", store: false, forceReasoning: true, include: ["reasoning.encrypted_content"] } };
const DIALECTS = {
  chat, responses, anthropic, genai,
  "ai-chat": ai((base, apiKey) => need("@ai-sdk/openai").createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat, { openai: { reasoningEffort: "low", forceReasoning: true } }),
  "ai-responses": ai((base, apiKey) => need("@ai-sdk/openai").createOpenAI({ baseURL: `${base}/v1`, apiKey }), OPENAI_THINKS, { openai: { store: false } }),
  "ai-anthropic": ai((base, apiKey) => need("@ai-sdk/anthropic").createAnthropic({ baseURL: `${base}/v1`, apiKey }),
    { anthropic: { thinking: { type: "enabled", budgetTokens: 2048 } } }),
  "ai-google": ai((base, apiKey) => need("@ai-sdk/google").createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey }),
    { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 } } }),
};

/** The types of a stream's events in order, repetitions said once. */
function recorder() {
  const list = [];
  const seen = (name) => { if (list.at(-1) !== name) list.push(name); };
  return { list, seen };
}

async function turn(client, sdk, request, c, model, out) {
  if (!c.stream) return client.whole(sdk, request, c, model);
  const { list, seen } = recorder(), end = {};
  Object.assign(out, { deltas: 0, events: list });
  for await (const delta of client.stream(sdk, request, seen, end, model)) {
    out.partial = (out.partial ?? "") + delta;
    out.deltas += 1;
    if (c.abort) return null;
  }
  return end.answer;
}

function raised(e) {
  return {
    type: e.constructor?.name === "Error" || /^AI_/.test(e.name) ? e.name : e.constructor.name, status: e.status ?? e.statusCode ?? null,
    code: e.code ?? null, kind: e.type ?? null, message: String(e.message).slice(0, 600) + (e.cause ? ` (${e.cause.message ?? e.cause})`.slice(0, 200) : ""),
  };
}

async function cell(client, sdk, model, c) {
  const out = {};
  try {
    const request = client.request(model, c);
    let answer = await turn(client, sdk, request, c, model, out);
    if (c.follow) {
      out.first = client.result(answer, c);
      out.first_events = out.events;
      client.follow(request, answer);
      answer = await turn(client, sdk, request, c, model, out);
    }
    if (answer) Object.assign(out, client.result(answer, c));
  } catch (e) {
    out.error = raised(e);
  }
  return out;
}

globalThis.AI_SDK_LOG_WARNINGS = false;
process.on("unhandledRejection", (e) => process.stderr.write(`unhandled: ${e.stack}\n`));
const job = JSON.parse(readFileSync(0));
const client = DIALECTS[process.argv[2]];
const sdk = client.connect(job.base, job.key);
// The question names the cell, for the provider's record.
const asked = (one) => ({ ...CASES.find((c) => c.name === one.case), question: `${question} [cell ${one.cell}]` });
const left = [...job.cells];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let one; (one = left.shift());) {
    const started = performance.now();
    const seen = await cell(client, sdk, one.model, asked(one));
    process.stdout.write(`${JSON.stringify({ id: one.id, seen, seconds: (performance.now() - started) / 1000 })}\n`);
  }
}));
process.exit(0);
