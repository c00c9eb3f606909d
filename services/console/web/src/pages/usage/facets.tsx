import { useState } from "react";
import { query } from "@/api/client";
import { formatCount } from "@/format/numbers";
import { Accordion, Button, Checkbox, Group, QueryState, Stack, Text, TextInput } from "@/ui";
import type { PageSearch } from "@/url/search";
import { useNames } from "./names";
import type { NameOf } from "./prepare";
import { FILTER_NAMES, FILTERS, type FilterName, NO_FILTERS, type USAGE_SEARCH, usageQuery } from "./search";
import { calm } from "./use-usage";

interface FacetsProps {
  search: PageSearch<typeof USAGE_SEARCH>;
  zone: string;
  nameOf: NameOf;
}

const MOST_VALUES = 50;
const TAG = /^[A-Za-z0-9_.-]{1,64}=/;

/** All filters; the values of one are loaded when it is opened. */
export function Facets({ search, zone }: FacetsProps) {
  const [opened, setOpened] = useState<string | null>("provider");
  return (
    <Stack>
      <Accordion value={opened} onChange={setOpened} variant="separated" order={3}>
        {FILTER_NAMES.map((name) => {
          const count = search.values[name].length;
          return (
            <Accordion.Item key={name} value={name}>
              <Accordion.Control>
                {FILTERS[name].label}
                {count > 0 ? ` (${count})` : ""}
              </Accordion.Control>
              <Accordion.Panel>
                {opened === name ? <Facet name={name} search={search} zone={zone} /> : null}
              </Accordion.Panel>
            </Accordion.Item>
          );
        })}
        <Accordion.Item value="tag">
          <Accordion.Control>Tag</Accordion.Control>
          <Accordion.Panel>
            <TagFilter search={search} />
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
      <Button variant="default" onClick={() => search.change(NO_FILTERS)}>
        Clear all filters
      </Button>
    </Stack>
  );
}

function Facet({ name, search, zone }: Pick<FacetsProps, "search" | "zone"> & { name: FilterName }) {
  const dimension = FILTERS[name].api;
  const nameOf = useNames([dimension]);
  const chosen = search.values[name];
  const span = usageQuery(search.values, zone, name);
  const values = query.useQuery("get", "/api/v1/usage/breakdown", {
    params: { query: { ...span, by: [dimension], sort: "requests", limit: MOST_VALUES } },
  });
  const toggle = (value: string, on: boolean) =>
    search.change({ [name]: on ? [...chosen, value] : chosen.filter((each) => each !== value) });
  return (
    <QueryState what="the values" query={calm(values)} height={120}>
      {(data) => (
        <Stack gap={6}>
          {data.rows.flatMap(({ keys: [key], figures }) => {
            if (!key || key.kind === "rest" || key.kind === "other") {
              return [];
            }
            const value = key.kind === "none" ? "" : (key.value ?? "");
            return (
              <Group key={value} justify="space-between" wrap="nowrap">
                <Checkbox
                  label={nameOf(key)}
                  checked={chosen.includes(value)}
                  onChange={(event) => toggle(value, event.currentTarget.checked)}
                />
                <Text size="sm" c="dimmed" className="tabular">
                  {formatCount(figures.requests)}
                </Text>
              </Group>
            );
          })}
          {data.rows.length === 0 ? (
            <Text size="sm" c="dimmed">
              No value in this time.
            </Text>
          ) : null}
          {data.rest_count ? (
            <Text size="sm" c="dimmed">
              {formatCount(data.rest_count)} more values have fewer requests.
            </Text>
          ) : null}
        </Stack>
      )}
    </QueryState>
  );
}

function TagFilter({ search }: Pick<FacetsProps, "search">) {
  const [typed, setTyped] = useState("");
  const valid = TAG.test(typed);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (valid) {
          search.change({ tag: [...new Set([...search.values.tag, typed])] });
          setTyped("");
        }
      }}
    >
      <Group align="flex-end">
        <TextInput
          label="Name=value"
          placeholder="project=alpha"
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          error={typed !== "" && !valid ? "A name, an equals sign and a value" : null}
        />
        <Button type="submit" variant="default" disabled={!valid}>
          Add
        </Button>
      </Group>
    </form>
  );
}
