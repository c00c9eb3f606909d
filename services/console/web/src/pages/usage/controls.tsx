import { useState } from "react";
import { dayOf, nextDay, previousDay, startOfDay } from "@/format/zone";
import {
  Button,
  Drawer,
  Group,
  Pill,
  Popover,
  SegmentedControl,
  Select,
  Stack,
  Text,
  TextInput,
  useDisclosure,
} from "@/ui";
import { FilterIcon } from "@/ui/icons";
import type { PageSearch } from "@/url/search";
import { Facets } from "./facets";
import type { NameOf } from "./prepare";
import {
  FILTERS,
  NO_FILTERS,
  RANGE_NAMES,
  RANGES,
  type Range,
  SPLIT_NAMES,
  SPLITS,
  type Split,
  setFilters,
  type USAGE_SEARCH,
} from "./search";

interface ControlsProps {
  search: PageSearch<typeof USAGE_SEARCH>;
  zone: string;
  nameOf: NameOf;
}

/** Which time, which requests, split by what. */
export function Controls({ search, zone, nameOf }: ControlsProps) {
  const { values } = search;
  const [opened, drawer] = useDisclosure(false);
  const count = setFilters(values).length;
  return (
    <Group gap="sm" align="flex-end">
      <SegmentedControl
        aria-label="Time"
        value={values.since === null ? values.range : "custom"}
        onChange={(range) =>
          range === "custom" ? undefined : search.change({ range: range as Range, since: null, until: null })
        }
        data={[
          ...RANGES.map((range) => ({ value: range, label: RANGE_NAMES[range] })),
          ...(values.since === null ? [] : [{ value: "custom", label: "Custom" }]),
        ]}
      />
      <CustomSpan search={search} zone={zone} />
      <Button
        variant="default"
        leftSection={<FilterIcon size={16} aria-hidden />}
        onClick={drawer.open}
        aria-haspopup="dialog"
      >
        {count === 0 ? "Filters" : `Filters (${count})`}
      </Button>
      <Select
        aria-label="Split by"
        value={values.by}
        onChange={(by) => by && search.change({ by: by as Split })}
        data={SPLITS.map((split) => ({ value: split, label: `By ${SPLIT_NAMES[split].toLowerCase()}` }))}
        allowDeselect={false}
        w={170}
      />
      <Drawer opened={opened} onClose={drawer.close} title="Filters" position="right">
        <Facets search={search} zone={zone} nameOf={nameOf} />
      </Drawer>
    </Group>
  );
}

function CustomSpan({ search, zone }: Omit<ControlsProps, "nameOf">) {
  const { values } = search;
  const [opened, popover] = useDisclosure(false);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const open = () => {
    const today = dayOf(new Date().toISOString(), zone);
    setFrom(values.since === null ? today : dayOf(values.since, zone));
    setTo(values.until === null ? today : previousDay(dayOf(values.until, zone)));
    setProblem(null);
    popover.open();
  };
  const apply = () => {
    const since = startOfDay(from, zone);
    const until = to === "" ? null : startOfDay(nextDay(to), zone);
    if (since === null || (until !== null && Date.parse(until) <= Date.parse(since))) {
      setProblem("The last day must not be before the first.");
      return;
    }
    popover.close();
    search.change({ since, until: until !== null && Date.parse(until) > Date.now() ? null : until });
  };
  return (
    <Popover opened={opened} onClose={popover.close} trapFocus returnFocus>
      <Popover.Target>
        <Button variant="default" onClick={opened ? popover.close : open} aria-expanded={opened}>
          Choose days
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="sm">
          <TextInput
            type="date"
            label="First day"
            value={from}
            onChange={(event) => setFrom(event.currentTarget.value)}
          />
          <TextInput
            type="date"
            label="Last day"
            value={to}
            onChange={(event) => setTo(event.currentTarget.value)}
            error={problem}
          />
          <Text size="xs" c="dimmed">
            Days are {zone}.
          </Text>
          <Button onClick={apply}>Show these days</Button>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

/** The filters that are set, each with a way to take it back. */
export function FilterPills({ search, nameOf }: Omit<ControlsProps, "zone">) {
  const filters = setFilters(search.values);
  if (filters.length === 0) {
    return null;
  }
  return (
    <Group gap="xs">
      {filters.map(({ name, value }) => {
        const label = name === "tag" ? "Tag" : FILTERS[name].label;
        const text =
          name === "tag"
            ? value
            : nameOf({ dimension: FILTERS[name].api, kind: value === "" ? "none" : "value", value });
        return (
          <Pill
            key={`${name}=${value}`}
            size="md"
            withRemoveButton
            removeButtonProps={{
              "aria-label": `Remove the filter ${label}: ${text}`,
              tabIndex: 0,
              "aria-hidden": false,
            }}
            onRemove={() => search.change({ [name]: search.values[name].filter((each) => each !== value) })}
          >
            {label}: {text}
          </Pill>
        );
      })}
      <Button variant="subtle" size="compact-sm" onClick={() => search.change(NO_FILTERS)}>
        Clear
      </Button>
    </Group>
  );
}
