import { useState } from "react";
import { query } from "@/api/client";
import { asJson } from "@/api/json";
import { formatCompact } from "@/format/numbers";
import { Select } from "@/ui";
import {
  FACETS,
  type FacetName,
  FILTER_LABELS,
  type RequestFilters,
  type Span,
  usageQuery,
  valueWords,
} from "./filters";

const MOST_VALUES = 100;

interface FacetSelectProps {
  name: FacetName;
  filters: RequestFilters;
  span: Span;
  servers: ReadonlySet<string>;
  names: ReadonlyMap<string, string>;
  onChange: (value: string | null) => void;
}

/** Choose a value of a filter among those that occur, with the attempts of each; they are counted when it is opened. */
export function FacetSelect({ name, filters, span, servers, names, onChange }: FacetSelectProps) {
  const [opened, setOpened] = useState(false);
  const { query: others } = usageQuery(filters, servers, name);
  const by = name === "provider" ? (["provider", "endpoint"] as const) : ([FACETS[name]] as const);
  const breakdown = query.useQuery(
    "get",
    "/api/v1/usage/breakdown",
    {
      params: {
        query: {
          ...others,
          since: span.since,
          until: span.until,
          by: [...by],
          sort: "attempts",
          limit: MOST_VALUES,
        },
      },
    },
    { enabled: opened, staleTime: 30_000, select: (data) => asJson(data) },
  );
  const chosen = filters[name] === "" ? null : filters[name];
  const options = (breakdown.data?.rows ?? []).flatMap((row) => {
    const value = row.keys[1]?.value ?? row.keys[0]?.value;
    return value
      ? [{ value, label: `${valueWords(name, value, names)} (${formatCompact(row.figures.attempts)})` }]
      : [];
  });
  if (name === "outcome" && !options.some((option) => option.value === "refused")) {
    options.push({ value: "refused", label: "Refused" });
  }
  if (chosen !== null && !options.some((option) => option.value === chosen)) {
    options.unshift({ value: chosen, label: valueWords(name, chosen, names) });
  }
  return (
    <Select
      label={FILTER_LABELS[name]}
      placeholder="Any"
      data={options}
      value={chosen}
      onChange={onChange}
      onDropdownOpen={() => setOpened(true)}
      searchable
      clearable
      nothingFoundMessage={
        breakdown.isFetching
          ? "Counting…"
          : breakdown.error
            ? "The values could not be loaded."
            : "None in this time."
      }
      size="xs"
    />
  );
}
