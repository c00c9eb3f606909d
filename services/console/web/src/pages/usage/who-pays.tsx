import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Panel, QueryState, RouteLink, Text } from "@/ui";
import { PALETTE, REST_COLOR, SegmentedBar } from "@/ui/charts";
import { billersText, type ModelRow, type NameOf, type Summary, spendText } from "./prepare";
import { requestsSearch, type UsageSearch } from "./search";
import type { CalmQuery } from "./use-usage";

interface WhoPaysProps {
  query: CalmQuery<Summary>;
  rows: readonly ModelRow[];
  nameOf: NameOf;
  values: UsageSearch;
}

/** Which share the tenant's own keys pay for, and which its credits. */
export function WhoPays({ query, rows, nameOf, values }: WhoPaysProps) {
  const tenant = useTenant();
  return (
    <Panel
      title="Who pays"
      actions={
        <RouteLink to={tenantPath(tenant, "credits")} size="sm">
          Credits
        </RouteLink>
      }
    >
      <QueryState what="who pays" query={query} height={110}>
        {(summary) => {
          const { own_keys: own, platform_keys: platform } = summary;
          const link = (source: "byok" | "platform", words: string) => {
            const search = requestsSearch(values, summary, { key_source: source });
            return search === null ? (
              words
            ) : (
              <RouteLink to={tenantPath(tenant, `requests${search}`)} inherit>
                {words}
              </RouteLink>
            );
          };
          return (
            <>
              <SegmentedBar
                segments={[
                  {
                    name: "Your keys",
                    color: PALETTE[0] ?? REST_COLOR,
                    amount: own.spend_micro_usd ?? 0,
                    text: spendText(own),
                    detail: link("byok", `estimated, billed by ${billersText(rows, nameOf)}`),
                  },
                  {
                    name: "Platform credits",
                    color: PALETTE[1] ?? REST_COLOR,
                    amount: platform.spend_micro_usd ?? 0,
                    text: spendText(platform),
                    detail: link("platform", "taken from your credits"),
                  },
                ]}
              />
              {own.spend_unknown + platform.spend_unknown > 0 ? (
                <Text size="xs" c="dimmed">
                  Without {own.spend_unknown + platform.spend_unknown} attempts whose cost is not known.
                </Text>
              ) : null}
            </>
          );
        }}
      </QueryState>
    </Panel>
  );
}
