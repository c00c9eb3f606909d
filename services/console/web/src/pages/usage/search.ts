/** The state of the page in its address, and what it asks the API for. Pure. */

import { oneOf, type SearchValues, texts, time } from "@/url/search";

export const RANGES = ["24h", "7d", "30d", "90d"] as const;
export type Range = (typeof RANGES)[number];

export const RANGE_NAMES: Record<Range, string> = {
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
  "90d": "90 days",
};

/** By what amounts can be split. */
export const SPLITS = [
  "provider",
  "model",
  "operation",
  "power_level",
  "key_source",
  "client_token",
  "team",
  "member",
] as const;
export type Split = (typeof SPLITS)[number];

export const SPLIT_NAMES: Record<Split, string> = {
  provider: "Provider",
  model: "Model",
  operation: "Operation",
  power_level: "Power level",
  key_source: "Who pays",
  client_token: "Client token",
  team: "Team",
  member: "Member",
};

export const SHOWN = ["spend", "requests", "tokens"] as const;
export type Shown = (typeof SHOWN)[number];

export const SORTS = ["spend", "requests", "tokens", "errors", "p95"] as const;
export type SortId = (typeof SORTS)[number];
const SORT_VALUES = [
  "-spend",
  "spend",
  "-requests",
  "requests",
  "-tokens",
  "tokens",
  "-errors",
  "errors",
  "-p95",
  "p95",
] as const;

const NAMES = /^[^\p{Cc}\p{Cs}]{0,300}$/u;

export const USAGE_SEARCH = {
  range: oneOf(RANGES, "30d"),
  since: time(),
  until: time(),
  by: oneOf(SPLITS, "provider"),
  show: oneOf(SHOWN, "spend"),
  sort: oneOf(SORT_VALUES, "-spend"),
  provider: texts(NAMES),
  model: texts(NAMES),
  operation: texts(NAMES),
  level: texts(NAMES),
  key_source: texts(NAMES),
  key_id: texts(NAMES),
  client_token: texts(NAMES),
  team: texts(NAMES),
  member: texts(NAMES),
  outcome: texts(NAMES),
  error_class: texts(NAMES),
  tag: texts(/^[A-Za-z0-9_.-]{1,64}=[^\p{Cc}\p{Cs}]*$/u),
};

export type UsageSearch = SearchValues<typeof USAGE_SEARCH>;

/** The filters, in the order in which they are shown, with the names that the API of usage has for them. */
export const FILTERS = {
  provider: { label: "Provider", api: "provider" },
  model: { label: "Model", api: "model" },
  operation: { label: "Operation", api: "operation" },
  level: { label: "Power level", api: "power_level" },
  key_source: { label: "Who pays", api: "key_source" },
  key_id: { label: "Provider key", api: "key" },
  client_token: { label: "Client token", api: "client_token" },
  team: { label: "Team", api: "team" },
  member: { label: "Member", api: "member" },
  outcome: { label: "Outcome", api: "outcome" },
  error_class: { label: "Failure", api: "error_class" },
} as const;
export type FilterName = keyof typeof FILTERS;
export type Dimension = (typeof FILTERS)[FilterName]["api"];
export const FILTER_NAMES = Object.keys(FILTERS) as FilterName[];

/** The values that clear all filters but the span of time. */
export const NO_FILTERS: Partial<UsageSearch> = {
  ...Object.fromEntries(FILTER_NAMES.map((name) => [name, []])),
  tag: [],
};

export interface SetFilter {
  readonly name: FilterName | "tag";
  readonly value: string;
}

/** Return the filters that are set, one for each value. */
export function setFilters(values: UsageSearch): readonly SetFilter[] {
  return [...FILTER_NAMES, "tag" as const].flatMap((name) => values[name].map((value) => ({ name, value })));
}

type FilterQuery = Partial<Record<Dimension | "tag", string[]>>;

export interface SpanQuery extends FilterQuery {
  period?: string;
  since?: string;
  until?: string;
  tz: string;
}

/** Return the span of time and the filters as the API of usage takes them; without the filter `except`. */
export function usageQuery(values: UsageSearch, tz: string, except: FilterName | null = null): SpanQuery {
  const query: SpanQuery = { tz };
  if (values.since !== null) {
    query.since = values.since;
    if (values.until !== null) {
      query.until = values.until;
    }
  } else {
    query.period = values.range;
  }
  for (const name of FILTER_NAMES) {
    if (values[name].length > 0 && name !== except) {
      query[FILTERS[name].api] = [...values[name]];
    }
  }
  if (values.tag.length > 0) {
    query.tag = [...values.tag];
  }
  return query;
}

const HOUR_MS = 3_600_000;

/** Return how long the buckets of a series are: at most 1500 cells of nine lines. */
export function bucketOf(
  values: Pick<UsageSearch, "range" | "since" | "until">,
  now: Date,
): "hour" | "day" | "week" {
  if (values.since === null) {
    return values.range === "24h" ? "hour" : "day";
  }
  const end = values.until === null ? now.getTime() : Date.parse(values.until);
  const hours = (end - Date.parse(values.since)) / HOUR_MS;
  return hours <= 72 ? "hour" : hours <= 24 * 120 ? "day" : "week";
}

/** Under which names the request log has the filters of this page; it takes one value of each. */
const LOG_NAMES: Record<FilterName | "tag", string> = {
  provider: "provider",
  model: "model",
  operation: "operation",
  level: "level",
  key_source: "key_source",
  key_id: "key_id",
  client_token: "client_token",
  team: "team",
  member: "member",
  outcome: "outcome",
  error_class: "error_class",
  tag: "tag",
};

export type LogFilters = Partial<Record<FilterName | "tag", string>>;

/**
 * Return the search of the request log for the same span and filters, and more of them; null if the log cannot have them: it
 * takes one value of each filter, and none that stands for requests without a value.
 */
export function requestsSearch(
  values: UsageSearch,
  span: { readonly since: string; readonly until: string },
  more: LogFilters = {},
): string | null {
  const search = new URLSearchParams({ since: span.since, until: span.until });
  for (const name of [...FILTER_NAMES, "tag" as const]) {
    const extra = more[name];
    const given = extra === undefined ? values[name] : [extra];
    if (given.length > 1 || given.includes("")) {
      return null;
    }
    if (given[0] !== undefined) {
      search.set(LOG_NAMES[name], given[0]);
    }
  }
  return `?${search.toString()}`;
}

/** Return the sorting of the table as the API takes it; what it cannot sort by is sorted here, from the rows with the most spend. */
export function apiSort(sort: UsageSearch["sort"]): "spend" | "requests" | "tokens" {
  const id = sort.replace("-", "");
  return id === "requests" || id === "tokens" ? id : "spend";
}

/** Return a query string of values that may be repeated. */
export function repeatedQuery(query: Record<string, string | readonly string[] | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of typeof value === "string" ? [value] : (value ?? [])) {
      search.append(name, each);
    }
  }
  return `?${search.toString()}`;
}
