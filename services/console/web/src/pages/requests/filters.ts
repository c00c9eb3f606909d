/** The filters of the request log: in the address of the page, for the API of requests, and for that of usage. */

import {
  FAILURE_WORDS,
  type FailureClass,
  KEY_SOURCE_WORDS,
  type KeySource,
  LEVEL_WORDS,
  OUTCOME_WORDS,
  type RequestOutcome,
} from "@/components/request-words";
import { integer, oneOf, optionOf, type SearchValues, text, time } from "@/url/search";

const NAME = /^[A-Za-z0-9_.-]{0,64}$/;

export const RANGES = ["1h", "24h", "7d", "30d"] as const;
export type Range = (typeof RANGES)[number];
export const RANGE_WORDS: Record<Range, string> = {
  "1h": "1 hour",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
};
const HOURS: Record<Range, number> = { "1h": 1, "24h": 24, "7d": 168, "30d": 720 };

function names<T extends string>(words: Record<T, string>): T[] {
  return Object.keys(words) as T[];
}

export const REQUEST_SEARCH = {
  range: oneOf(RANGES, "24h"),
  since: time(),
  until: time(),
  outcome: optionOf<RequestOutcome>(names(OUTCOME_WORDS)),
  error_class: optionOf<FailureClass>(names(FAILURE_WORDS)),
  provider: text(/^[a-z0-9_-]{0,63}$/),
  model: text(/^[^\p{Cc}\p{Cs}]{0,300}$/u),
  operation: text(NAME),
  level: optionOf(names(LEVEL_WORDS)),
  key_source: optionOf<KeySource>(names(KEY_SOURCE_WORDS)),
  key_id: text(/^([a-z0-9_]{5,64})?$/),
  client_token: text(/^[\x21-\x7e]{0,200}$/),
  team: text(NAME),
  member: text(NAME),
  tag: text(/^([A-Za-z0-9_.-]{1,64}(=[^\p{Cc}\p{Cs}]*)?)?$/u),
  min_cost_usd: text(/^(\d{1,9}(\.\d{1,6})?)?$/),
  min_latency_ms: integer(0, 0, 86_400_000),
  id: text(/^([\x21-\x7e]{8,200})?$/),
  text: text(/^[^\p{Cc}\p{Cs}]{0,200}$/u),
};

export type RequestFilters = SearchValues<typeof REQUEST_SEARCH>;
export type FilterName = Exclude<keyof RequestFilters, "range" | "since" | "until">;

export const FILTER_LABELS: Record<FilterName, string> = {
  outcome: "Outcome",
  error_class: "Failure",
  provider: "Provider or server",
  model: "Model",
  operation: "Operation",
  level: "Power level",
  key_source: "Whose key",
  key_id: "Provider key",
  client_token: "Client token",
  team: "Team",
  member: "Member",
  tag: "Tag",
  min_cost_usd: "Cost at least, USD",
  min_latency_ms: "Latency at least, ms",
  id: "ID",
  text: "Words of the failure",
};
const FILTER_NAMES = names(FILTER_LABELS);

/** The values that clear all filters but the range. */
export const NO_FILTERS: Partial<RequestFilters> = Object.fromEntries(
  FILTER_NAMES.map((name) => [name, REQUEST_SEARCH[name].fallback]),
);

export interface Span {
  readonly since: string;
  /** Null for now. */
  readonly until: string | null;
}

/** Return the span of time of the filters; a relative range ends at `now`. */
export function spanOf(filters: Pick<RequestFilters, "range" | "since" | "until">, now: Date): Span {
  if (filters.since !== null) {
    return { since: filters.since, until: filters.until };
  }
  const end = filters.until === null ? now : new Date(filters.until);
  const begin = new Date(end.getTime() - HOURS[filters.range] * 3_600_000);
  return { since: begin.toISOString(), until: filters.until };
}

/** Return the filters that are set, as text, in the order in which they are shown. */
export function activeFilters(filters: RequestFilters): { name: FilterName; value: string }[] {
  return FILTER_NAMES.filter((name) => filters[name] !== REQUEST_SEARCH[name].fallback).map((name) => ({
    name,
    value: String(filters[name]),
  }));
}

/** Return how the value of a filter is shown. */
export function valueWords(
  name: FilterName,
  value: string,
  keyNames: ReadonlyMap<string, string> = new Map(),
): string {
  const words: Partial<Record<FilterName, Record<string, string>>> = {
    outcome: OUTCOME_WORDS,
    error_class: FAILURE_WORDS,
    level: LEVEL_WORDS,
    key_source: KEY_SOURCE_WORDS,
  };
  return words[name]?.[value] ?? keyNames.get(value) ?? value;
}

/** Return the query of the API of requests. */
export function requestQuery(filters: RequestFilters, span: Span): Record<string, string> {
  return {
    ...Object.fromEntries(activeFilters(filters).map(({ name, value }) => [name, value])),
    since: span.since,
    ...(span.until === null ? {} : { until: span.until }),
  };
}

/** Under which names the API of usage has the filters; it has none for the others. */
const USAGE_NAMES = {
  outcome: "outcome",
  error_class: "error_class",
  provider: "provider",
  model: "model",
  operation: "operation",
  level: "power_level",
  key_source: "key_source",
  key_id: "key",
  client_token: "client_token",
  team: "team",
  member: "member",
} as const;
type UsageName = (typeof USAGE_NAMES)[keyof typeof USAGE_NAMES] | "tag" | "endpoint";

export interface UsageQuery {
  readonly query: Partial<Record<UsageName, string[]>>;
  /** The filters that usage cannot have: figures are without them. */
  readonly ignored: readonly FilterName[];
}

/** Return the query of the API of usage, without the filter `except`. `servers` are the names of the tenant's own servers. */
export function usageQuery(
  filters: RequestFilters,
  servers: ReadonlySet<string>,
  except: FilterName | null = null,
): UsageQuery {
  const query: Partial<Record<UsageName, string[]>> = {};
  const ignored: FilterName[] = [];
  for (const { name, value } of activeFilters(filters)) {
    if (name === except) {
      continue;
    }
    if (name === "tag" && value.includes("=")) {
      query.tag = [value];
    } else if (name === "provider" && servers.has(value)) {
      query.endpoint = [value];
    } else if (name in USAGE_NAMES && value !== "refused") {
      query[USAGE_NAMES[name as keyof typeof USAGE_NAMES]] = [value];
    } else {
      ignored.push(name);
    }
  }
  return { query, ignored };
}

/** Which filters have a list of values with counts, and the dimension of usage that they are. */
export const FACETS = {
  outcome: "outcome",
  error_class: "error_class",
  provider: "provider",
  model: "model",
  operation: "operation",
  level: "power_level",
  key_source: "key_source",
  key_id: "key",
  client_token: "client_token",
  team: "team",
  member: "member",
} as const;
export type FacetName = keyof typeof FACETS;

/** What somebody has typed into the search field: an id that can be looked up, or words. */
export function readSearchText(typed: string): { kind: "request" | "id" | "text" | "none"; value: string } {
  const value = typed.trim();
  if (value === "") {
    return { kind: "none", value };
  }
  if (/^req_[0-9a-zA-Z]{20,40}$/.test(value)) {
    return { kind: "request", value };
  }
  const isId = /^(req|att|dec)_[0-9a-zA-Z]{4,40}$/.test(value) || /^[0-9a-f]{8,32}$/.test(value);
  return { kind: isId ? "id" : "text", value: value.slice(0, 200) };
}
