// Asks every case with the openai package; prints what came back, one JSON object a line.
// Runs in a project folder that holds nothing but the package, 4.x or later.

import { readFileSync } from "node:fs";

import OpenAI from "openai";

const print = (value) => console.log(JSON.stringify(value));

/** Add a chunk of a stream, or a whole completion, to a report. */
function listen(report, chunk) {
  report.usage = chunk.usage ?? null;
  for (const choice of chunk.choices) {
    const said = choice.message ?? choice.delta;
    report.words += said.content ?? "";
    report.thought += said.reasoning_content ?? "";
    report.words += said.audio?.transcript ?? "";
    if (said.audio?.data !== undefined) report.sounds.push(said.audio.data);
    if (choice.finish_reason) report.finish.push(choice.finish_reason);
  }
}

/** An error by its class, HTTP status and code; without a code, its message. */
function told(error) {
  const { status = null, code } = error;
  return { name: error.constructor.name, status, code: code ?? String(error) };
}

/** The report of one case. */
async function ask({ base_url: baseURL, api_key: apiKey, retries: maxRetries, request, extra }) {
  const report = { words: "", thought: "", sounds: [], finish: [], usage: null, error: null };
  try {
    const client = new OpenAI({ baseURL, apiKey, maxRetries });
    const reply = await client.chat.completions.create({ ...request, ...extra });
    if (!request.stream) listen(report, reply);
    else for await (const chunk of reply) listen(report, chunk);
  } catch (error) {
    report.error = told(error);
  }
  return report;
}

const { version } = JSON.parse(readFileSync("node_modules/openai/package.json", "utf8"));
print({ version: `node ${process.versions.node.split(".")[0]}: ${version}` });
for (const one of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  print({ case: one.name, ...(await ask(one)) });
}
