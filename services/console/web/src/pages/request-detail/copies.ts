/** What can be copied of a request: a command that sends it again, and a bundle for support. Pure. */

import type { RequestRecords } from "./records";

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Return a curl command that sends a request like this one. `body` is the stored request; without it the prompt is a placeholder. */
export function asCurl(records: RequestRecords, apiUrl: string, body: string | null): string {
  const request = records.request;
  const decision = records.decisions[0];
  const embedding = request?.kind === "embedding";
  const path = embedding ? "/v1/embeddings" : "/v1/chat/completions";
  const model = request?.model_asked ?? decision?.model_asked ?? "MODEL";
  const placeholder = embedding
    ? { model, input: "YOUR TEXT" }
    : {
        model,
        messages: [{ role: "user", content: "YOUR PROMPT" }],
        ...((request?.stream ?? decision?.stream) ? { stream: true } : {}),
      };
  const operation = request?.operation ?? decision?.operation;
  const tags = Object.entries(request?.tags ?? {});
  const lines = [
    `curl ${quoted(`${apiUrl}${path}`)}`,
    '-H "Authorization: Bearer $KEYFERRY_TOKEN"',
    "-H 'Content-Type: application/json'",
    ...(operation ? [`-H ${quoted(`X-Operation: ${operation}`)}`] : []),
    ...(decision?.asked_level ? [`-H ${quoted(`X-Power-Level: ${decision.asked_level}`)}`] : []),
    ...(tags.length > 0
      ? [
          `-H ${quoted(`x-keyferry-tags: ${tags.map(([name, value]) => `${name}=${String(value)}`).join(", ")}`)}`,
        ]
      : []),
    `-d ${quoted(body ?? JSON.stringify(placeholder))}`,
  ];
  return lines.join(" \\\n  ");
}

/** Fields that are left out of the bundle: proofs of payment, and who made the request. */
const LEFT_OUT = new Set(["reservation", "traceparent", "client_token_id", "member", "tags", "conversation"]);

function withoutPrivate(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(withoutPrivate);
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([name, each]) => !LEFT_OUT.has(name) && each !== null)
        .map(([name, each]) => [name, withoutPrivate(each)]),
    );
  }
  return value;
}

/** Return what support needs to explain a request, as JSON: neither prompt nor answer, no key, no token, nobody's name. */
export function supportBundle(records: RequestRecords, version: string, now: Date): string {
  const bundle = {
    kind: "keyferry-support-bundle",
    console_version: version,
    made_at: now.toISOString(),
    records: withoutPrivate(records),
  };
  return JSON.stringify(bundle, null, 2);
}
