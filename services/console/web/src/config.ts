/** What the console service has written into the page. */

export interface ConsoleConfig {
  /** The base URL of the API for apps, without `/v1`. */
  readonly apiUrl: string;
  readonly version: string;
}

function readConfig(): ConsoleConfig {
  const text = document.getElementById("console-config")?.textContent ?? "";
  try {
    const { api_url: apiUrl, version } = JSON.parse(text);
    return { apiUrl: String(apiUrl), version: String(version) };
  } catch {
    return { apiUrl: window.location.origin, version: "unknown" };
  }
}

export const CONFIG = readConfig();

/** Return the nonce that styles of this page need under its content security policy. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
}
