import { sendRaw } from "@/api/client";

/** Fetch a file of the management API and hand it to the browser. Raises ApiError; nothing is saved then. */
export async function download(path: string, filename: string): Promise<void> {
  const response = await sendRaw("GET", path);
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = filename;
  link.click();
  // The browser has taken the data over once the click is handled.
  setTimeout(() => URL.revokeObjectURL(url), 0);
}

/** Return a query string of values that are set, with its question mark. */
export function toQuery(values: Record<string, string | number | boolean | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") {
      query.set(name, String(value));
    }
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}
