import { useState } from "react";
import { useNames } from "@/components/use-names";
import { formatTime } from "@/format/time";
import { useTimeZone } from "@/session/time-zone";
import { Button, Collapse, Group, Pill, SegmentedControl, SimpleGrid, TextInput, useDisclosure } from "@/ui";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";
import type { PageSearch } from "@/url/search";
import { FacetSelect } from "./facet-select";
import {
  activeFilters,
  FACETS,
  type FacetName,
  FILTER_LABELS,
  NO_FILTERS,
  RANGE_WORDS,
  RANGES,
  type Range,
  REQUEST_SEARCH,
  type RequestFilters,
  type Span,
  valueWords,
} from "./filters";
import { SearchField } from "./search-field";

interface FilterBarProps {
  search: PageSearch<typeof REQUEST_SEARCH>;
  span: Span;
  servers: ReadonlySet<string>;
}

const FACET_NAMES = Object.keys(FACETS) as FacetName[];

/** The search field, the range, the filters, and what of them is in use. */
export function FilterBar({ search, span, servers }: FilterBarProps) {
  const { values } = search;
  const active = activeFilters(values);
  const [opened, { toggle }] = useDisclosure(false);
  const names = useNames(opened || active.length > 0);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  const clear = (name: keyof RequestFilters) =>
    search.change({ [name]: REQUEST_SEARCH[name].fallback }, "push");
  return (
    <>
      <Group gap="sm" align="center">
        <SegmentedControl
          aria-label="Range"
          data={RANGES.map((value) => ({ value, label: RANGE_WORDS[value] }))}
          value={values.since === null && values.until === null ? values.range : ""}
          onChange={(value) => search.change({ range: value as Range, since: null, until: null }, "push")}
        />
        <SearchField filters={values} onSearch={(patch) => search.change(patch, "push")} />
        <Button
          variant="default"
          leftSection={<Chevron size={16} aria-hidden />}
          onClick={toggle}
          aria-expanded={opened}
        >
          {active.length === 0 ? "Filters" : `Filters (${active.length})`}
        </Button>
      </Group>
      <Collapse expanded={opened}>
        {opened ? (
          <SimpleGrid cols={{ base: 2, sm: 3, md: 4, lg: 5 }} spacing="sm" verticalSpacing="xs">
            {FACET_NAMES.map((name) => (
              <FacetSelect
                key={name}
                name={name}
                filters={values}
                span={span}
                servers={servers}
                names={names}
                onChange={(value) =>
                  search.change({ [name]: value ?? REQUEST_SEARCH[name].fallback }, "push")
                }
              />
            ))}
            <TextFilters search={search} />
          </SimpleGrid>
        ) : null}
      </Collapse>
      <ActiveFilters
        values={values}
        names={names}
        onClear={clear}
        onClearAll={() => search.change(NO_FILTERS, "push")}
      />
    </>
  );
}

interface ActiveFiltersProps {
  values: RequestFilters;
  names: ReadonlyMap<string, string>;
  onClear: (name: keyof RequestFilters) => void;
  onClearAll: () => void;
}

function ActiveFilters({ values, names, onClear, onClearAll }: ActiveFiltersProps) {
  const zone = useTimeZone();
  const times = (["since", "until"] as const).flatMap((name) => {
    const iso = values[name];
    return iso === null
      ? []
      : [{ name, label: `${name === "since" ? "From" : "Before"}: ${formatTime(iso, zone)} (${zone})` }];
  });
  const filters = activeFilters(values).map(({ name, value }) => ({
    name,
    label: `${FILTER_LABELS[name]}: ${valueWords(name, value, names)}`,
  }));
  if (times.length + filters.length === 0) {
    return null;
  }
  return (
    <Group gap="xs" role="group" aria-label="Filters in use">
      {[...times, ...filters].map(({ name, label }) => (
        <Pill
          key={name}
          size="md"
          withRemoveButton
          onRemove={() => onClear(name)}
          removeButtonProps={{ "aria-label": `Remove ${label}`, "aria-hidden": undefined, tabIndex: 0 }}
        >
          {label}
        </Pill>
      ))}
      {filters.length > 1 ? (
        <Button variant="subtle" size="compact-xs" onClick={onClearAll}>
          Clear filters
        </Button>
      ) : null}
    </Group>
  );
}

const TYPED = [
  { name: "tag", placeholder: "NAME or NAME=VALUE" },
  { name: "min_cost_usd", placeholder: "0.01" },
  { name: "min_latency_ms", placeholder: "2000" },
] as const;

function TextFilters({ search }: { search: PageSearch<typeof REQUEST_SEARCH> }) {
  return TYPED.map(({ name, placeholder }) => {
    const value = search.values[name];
    return (
      <TypedFilter
        key={`${name} ${value}`}
        label={FILTER_LABELS[name]}
        placeholder={placeholder}
        value={value === REQUEST_SEARCH[name].fallback ? "" : String(value)}
        parse={(text) => (text === "" ? REQUEST_SEARCH[name].fallback : REQUEST_SEARCH[name].parse([text]))}
        onApply={(next) => search.change({ [name]: next }, "push")}
      />
    );
  });
}

interface TypedFilterProps {
  label: string;
  placeholder: string;
  value: string;
  parse: (text: string) => unknown;
  onApply: (value: unknown) => void;
}

/** A filter that is typed: it counts when the field is left or Enter is pressed. */
function TypedFilter({ label, placeholder, value, parse, onApply }: TypedFilterProps) {
  const [typed, setTyped] = useState(value);
  const parsed = parse(typed.trim());
  const apply = () => {
    if (parsed !== undefined && typed.trim() !== value) {
      onApply(parsed);
    }
  };
  return (
    <TextInput
      size="xs"
      label={label}
      placeholder={placeholder}
      value={typed}
      error={parsed === undefined ? "Not a valid value" : undefined}
      onChange={(event) => setTyped(event.currentTarget.value)}
      onBlur={apply}
      onKeyDown={(event) => {
        if (event.key === "Enter") {
          apply();
        }
      }}
    />
  );
}
