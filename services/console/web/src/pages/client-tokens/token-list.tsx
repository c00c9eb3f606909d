import { type ReactNode, useState } from "react";
import { query } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import { type ClientToken, STATE_NAMES, type TokenState } from "@/components/client-tokens/token-state";
import { looksLikeKey } from "@/components/looks-like-key";
import { useRefetchOn } from "@/live/live";
import { useSession } from "@/session/session";
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
import { TokenTable } from "./token-table";

const PAGE = 50;
const TOPICS = ["tokens"] as const;
const PATHS = ["/api/v1/client-tokens", "/api/v1/budgets"] as const;

export interface TokenFilters {
  readonly q: string;
  readonly state: TokenState | null;
  /** The id of a member; empty for all. */
  readonly member: string;
}

interface TokenListProps {
  values: TokenFilters;
  create: ReactNode;
  onChange: (patch: Partial<TokenFilters>) => void;
}

/** The tokens, newest first: searched, filtered and paged by the API. */
export function TokenList({ values, create, onChange }: TokenListProps) {
  const list = query.useInfiniteQuery(
    "get",
    "/api/v1/client-tokens",
    {
      params: {
        query: {
          limit: PAGE,
          order: "newest",
          ...(values.state ? { state: values.state } : {}),
          ...(values.q ? { text: values.q } : {}),
          ...(values.member ? { member: values.member } : {}),
        },
      },
    },
    { ...BY_PAGES, placeholderData: (before) => before },
  );
  useRefetchOn(TOPICS, PATHS);
  const shown: ClientToken[] = list.data?.pages.flatMap((page) => page.data) ?? [];
  const filtered = values.q !== "" || values.state !== null || values.member !== "";
  return (
    <Panel title="Tokens" actions={<Filters values={values} onChange={onChange} />}>
      <QueryState what="the client tokens" query={list} height={320}>
        {() =>
          shown.length > 0 ? (
            <Stack gap="xs">
              <TokenTable tokens={shown} />
              <Group justify="space-between">
                <Text size="xs" c="dimmed" role="status">
                  {shown.length}
                  {list.hasNextPage ? "+" : ""} shown, newest first
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
          ) : filtered ? (
            <EmptyState
              title="No token matches"
              action={
                <Button
                  variant="default"
                  size="xs"
                  onClick={() => onChange({ q: "", state: null, member: "" })}
                >
                  Clear filters
                </Button>
              }
            />
          ) : (
            <EmptyState title="No client token yet" action={create}>
              A program presents a client token with each request. It says which tenant pays, and can be
              limited to models, operations, web pages and rates.
            </EmptyState>
          )
        }
      </QueryState>
    </Panel>
  );
}

function Filters({ values, onChange }: Pick<TokenListProps, "values" | "onChange">) {
  const { role } = useSession();
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const [typed, setTyped] = useState(values.q);
  const [refused, setRefused] = useState(false);
  const search = useDebouncedCallback((q: string) => onChange({ q }), 250);
  return (
    <Group gap="xs" align="flex-start">
      <TextInput
        type="search"
        aria-label="Search tokens"
        placeholder="Name, team, last characters"
        autoComplete="off"
        w={{ base: "100%", xs: 240 }}
        leftSection={<SearchIcon size={16} aria-hidden />}
        error={refused ? "This looks like a secret, so it was removed. Search by name." : undefined}
        value={typed}
        onChange={(event) => {
          const text = event.currentTarget.value;
          // A token that is pasted here must reach neither the address nor the API.
          const secret = looksLikeKey(text);
          setRefused(secret);
          setTyped(secret ? "" : text);
          search(secret ? "" : text.trim());
        }}
      />
      <Select
        aria-label="State"
        placeholder="Any state"
        clearable
        w={140}
        data={Object.entries(STATE_NAMES).map(([value, label]) => ({ value, label }))}
        value={values.state}
        onChange={(state) => onChange({ state: (state as TokenState | null) ?? null })}
      />
      {role === "developer" ? null : (
        <Select
          aria-label="Owner"
          placeholder="Any owner"
          clearable
          searchable
          w={180}
          data={(members.data?.data ?? []).map((each) => ({
            value: each.member_id,
            label: each.name ?? each.email ?? each.member_id,
          }))}
          value={values.member || null}
          onChange={(member) => onChange({ member: member ?? "" })}
        />
      )}
    </Group>
  );
}
