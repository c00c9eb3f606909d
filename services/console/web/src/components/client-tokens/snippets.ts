/** Programs that call the gateway, as text to copy. Pure. */

export type Language = "curl" | "python" | "typescript" | "langchain" | "cli" | "env";

export interface SnippetValues {
  /** The base URL with its version, such as `https://gateway.example.com/v1`. */
  readonly baseUrl: string;
  readonly token: string;
  readonly model: string;
  readonly tenant: string;
  /** The address of this console, where the command line signs in. */
  readonly consoleUrl: string;
}

export const LANGUAGE_NAMES: Record<Language, string> = {
  curl: "curl",
  python: "Python",
  typescript: "TypeScript",
  langchain: "LangChain",
  cli: "CLI",
  env: ".env",
};

/** Stands in the snippets for a token that was not made yet. */
export const TOKEN_PLACEHOLDER = "YOUR_CLIENT_TOKEN";

const PROMPT = "Say hello";

/** Return a program in a language that sends one chat. */
export function snippetOf(
  language: Language,
  { baseUrl, token, model, tenant, consoleUrl }: SnippetValues,
): string {
  const named = JSON.stringify(model);
  const url = JSON.stringify(baseUrl);
  const secret = JSON.stringify(token);
  switch (language) {
    case "curl":
      return `curl ${shell(`${baseUrl}/chat/completions`)} \\
  -H ${shell(`Authorization: Bearer ${token}`)} \\
  -H "Content-Type: application/json" \\
  -d ${shell(JSON.stringify({ model, messages: [{ role: "user", content: PROMPT }] }))}`;
    case "python":
      return `from openai import OpenAI

client = OpenAI(base_url=${url}, api_key=${secret})
answer = client.chat.completions.create(
    model=${named},
    messages=[{"role": "user", "content": "${PROMPT}"}],
)
print(answer.choices[0].message.content)`;
    case "typescript":
      return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${url}, apiKey: ${secret} });
const answer = await client.chat.completions.create({
  model: ${named},
  messages: [{ role: "user", content: "${PROMPT}" }],
});
console.log(answer.choices[0].message.content);`;
    case "langchain":
      return `from langchain_openai import ChatOpenAI

chat = ChatOpenAI(base_url=${url}, api_key=${secret}, model=${named})
print(chat.invoke("${PROMPT}").content)`;
    case "cli":
      return `keyferry login --url ${shell(consoleUrl)}
keyferry chat "${PROMPT}" --model ${shell(model)} --tenant ${shell(tenant)} --explain`;
    case "env":
      return `OPENAI_BASE_URL=${baseUrl}
OPENAI_API_KEY=${token}`;
  }
}

/** Return a word of a shell command, in single quotes: nothing in it is expanded. */
export function shell(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}
