import { Group, Select, Switch, TextInput } from "@/ui";
import type { PageSearch } from "@/url/search";
import { CAPABILITIES, type CATALOG_SEARCH, type Model, providersOf } from "./catalog";

interface FilterBarProps {
  search: PageSearch<typeof CATALOG_SEARCH>;
  models: readonly Model[];
}

/** The filters of the catalog. */
export function CatalogFilterBar({ search, models }: FilterBarProps) {
  const { values, change } = search;
  const providers = [...new Set(models.flatMap(providersOf))].sort();
  return (
    <Group align="flex-end" gap="sm">
      <TextInput
        type="search"
        label="Search"
        placeholder="Name, maker or provider"
        value={values.q}
        onChange={(event) => change({ q: event.currentTarget.value })}
      />
      <Select
        label="Capability"
        placeholder="Any"
        data={CAPABILITIES.map((value) => ({ value, label: value.replaceAll("_", " ") }))}
        value={values.capability}
        clearable
        clearButtonProps={{ "aria-label": "Any capability" }}
        onChange={(value) => change({ capability: CAPABILITIES.find((each) => each === value) ?? null })}
      />
      <Select
        label="Provider"
        placeholder="Any"
        data={providers}
        value={values.provider || null}
        clearable
        clearButtonProps={{ "aria-label": "Any provider" }}
        searchable
        onChange={(value) => change({ provider: value ?? "" })}
      />
      <Switch
        label="In the EU"
        checked={values.eu}
        onChange={(event) => change({ eu: event.currentTarget.checked })}
      />
      <Switch
        label="Available to me"
        checked={values.mine}
        onChange={(event) => change({ mine: event.currentTarget.checked })}
      />
    </Group>
  );
}
