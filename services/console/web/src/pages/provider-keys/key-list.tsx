import { useState } from "react";
import { query } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import { looksLikeKey } from "@/components/looks-like-key";
import { type ProviderKey, STATUS_NAMES } from "@/components/provider-keys/key-status";
import {
  Button,
  EmptyState,
  Group,
  Panel,
  QueryState,
  Select,
  Stack,
  Text,
  TextInput,
  useDebouncedCallback,
} from "@/ui";
import { SearchIcon } from "@/ui/icons";
import { KeyTable } from "./key-table";

const PAGE = 100;

interface Filters {
  readonly provider: string;
  readonly status: keyof typeof STATUS_NAMES | null;
  readonly q: string;
}

interface KeyListProps {
  values: Filters;
  /** How many keys there are at all. */
  keys: number;
  onChange: (patch: Partial<Filters>) => void;
}

/** The keys in the order in which they are used: searched, filtered and paged by the API. */
export function KeyList({ values, keys, onChange }: KeyListProps) {
  const list = query.useInfiniteQuery(
    "get",
    "/api/v1/provider-keys",
    {
      params: {
        query: {
          limit: PAGE,
          ...(values.provider ? { provider: values.provider } : {}),
          ...(values.status ? { status: values.status } : {}),
          ...(values.q ? { text: values.q } : {}),
        },
      },
    },
    { ...BY_PAGES, placeholderData: (before) => before },
  );
  const shown: ProviderKey[] = list.data?.pages.flatMap((page) => page.data) ?? [];
  const filtered = values.provider !== "" || values.status !== null || values.q !== "";
  return (
    <Panel title="Keys" actions={<Filters values={values} onChange={onChange} />}>
      <QueryState what="the keys" query={list} height={280}>
        {() =>
          shown.length === 0 ? (
            <EmptyState
              title={filtered ? "No key matches" : "No keys"}
              action={
                filtered ? (
                  <Button
                    variant="default"
                    size="xs"
                    onClick={() => onChange({ provider: "", status: null, q: "" })}
                  >
                    Clear filters
                  </Button>
                ) : null
              }
            />
          ) : (
            <Stack gap="xs">
              <KeyTable keys={shown} />
              <Group justify="space-between">
                <Text size="xs" c="dimmed" role="status">
                  {filtered ? `${shown.length} shown` : `${shown.length} of ${keys} shown`}, in the order of
                  use
                </Text>
                {list.hasNextPage ? (
                  <Button
                    variant="default"
                    size="xs"
                    loading={list.isFetchingNextPage}
                    onClick={() => void list.fetchNextPage()}
                  >
                    Show more
                  </Button>
                ) : null}
              </Group>
            </Stack>
          )
        }
      </QueryState>
    </Panel>
  );
}

function Filters({ values, onChange }: Pick<KeyListProps, "values" | "onChange">) {
  const [typed, setTyped] = useState(values.q);
  const [refused, setRefused] = useState(false);
  const search = useDebouncedCallback((q: string) => onChange({ q }), 250);
  return (
    <Group gap="xs" align="flex-start">
      <TextInput
        type="search"
        aria-label="Search keys"
        placeholder="Name, last characters, fingerprint"
        autoComplete="off"
        w={{ base: "100%", xs: 280 }}
        leftSection={<SearchIcon size={16} aria-hidden />}
        error={
          refused ? "This looks like a key, so it was removed. Search by name or last characters." : undefined
        }
        value={typed}
        onChange={(event) => {
          const text = event.currentTarget.value;
          // A key that is pasted here must reach neither the address nor the API.
          const secret = looksLikeKey(text);
          setRefused(secret);
          setTyped(secret ? "" : text);
          search(secret ? "" : text.trim());
        }}
      />
      <Select
        aria-label="Status"
        placeholder="Any status"
        clearable
        w={160}
        data={Object.entries(STATUS_NAMES).map(([value, label]) => ({ value, label }))}
        value={values.status}
        onChange={(status) => onChange({ status: (status as Filters["status"]) ?? null })}
      />
    </Group>
  );
}
