import { query, type Schemas } from "@/api/client";
import { ProviderHealthIndicator } from "@/components/provider-health-indicator";
import { useBreakdown } from "@/components/use-breakdown";
import { countOf, formatCount } from "@/format/numbers";
import {
  Box,
  Group,
  Money,
  Paper,
  SimpleGrid,
  StatusMark,
  Text,
  Title,
  UnstyledButton,
  VisuallyHidden,
} from "@/ui";
import "./provider-keys.css";

type Summary = Schemas["ProviderKeySummary"];
type Count = Summary["by_provider"][number];

interface ProviderGridProps {
  summary: Summary;
  /** The provider that the table below is narrowed to; empty for all. */
  chosen: string;
  onChoose: (provider: string) => void;
}

/** One card a provider: do its keys work, what can they reach, what did they cost. */
export function ProviderGrid({ summary, chosen, onChoose }: ProviderGridProps) {
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const models = query.useQuery("get", "/api/v1/models", { params: { query: { limit: 1000 } } });
  const spend = useBreakdown({ by: ["provider"], period: "7d", key_source: ["byok", "custom"], limit: 100 });
  const titles = new Map(providers.data?.data.map((each) => [each.name, each.title]));
  return (
    <Box component="section" aria-label="Providers">
      <VisuallyHidden>
        <Title order={2}>Providers</Title>
      </VisuallyHidden>
      <SimpleGrid cols={{ base: 1, xs: 2, md: 3, xl: 4 }} spacing="sm">
        {summary.by_provider.map((count) => (
          <ProviderCard
            key={count.provider}
            count={count}
            title={titles.get(count.provider) ?? count.provider}
            models={models.data ? reachable(models.data.data, count.provider) : null}
            spend={spend.data ? spendOf(spend.data.rows, count.provider) : undefined}
            chosen={chosen === count.provider}
            onChoose={() => onChoose(chosen === count.provider ? "" : count.provider)}
          />
        ))}
      </SimpleGrid>
    </Box>
  );
}

interface ProviderCardProps {
  count: Count;
  title: string;
  models: number | null;
  /** Micro-dollars of seven days; null if unknown, undefined while it is not loaded. */
  spend: number | null | undefined;
  chosen: boolean;
  onChoose: () => void;
}

function ProviderCard({ count, title, models, spend, chosen, onChoose }: ProviderCardProps) {
  const broken = count.keys - count.usable;
  return (
    <Paper withBorder p="md" className="provider-card" data-chosen={chosen || undefined}>
      <Group justify="space-between" gap={4}>
        <Title order={3} size="h4">
          <UnstyledButton
            onClick={onChoose}
            aria-pressed={chosen}
            className="provider-card-button"
            fz="inherit"
            fw="inherit"
          >
            {title}
          </UnstyledButton>
        </Title>
        <Text component="span" size="sm">
          <ProviderHealthIndicator provider={count.provider} short />
        </Text>
      </Group>
      <Text component="div" size="sm" mt={4}>
        <StatusMark kind={count.usable === 0 ? "error" : broken > 0 ? "warning" : "ok"}>
          {broken === 0
            ? `${countOf(count.keys, "key")}, ${count.keys === 1 ? "usable" : "all usable"}`
            : `${formatCount(count.usable)} of ${countOf(count.keys, "key")} usable`}
        </StatusMark>
      </Text>
      <Group justify="space-between" mt="xs" gap="xs">
        <Text size="sm" c="dimmed">
          {models === null ? " " : `${countOf(models, "model")} reachable`}
        </Text>
        <Text size="sm" className="tabular">
          {spend === undefined ? null : (
            <>
              <Money micro={spend} /> in 7 days
            </>
          )}
        </Text>
      </Group>
    </Paper>
  );
}

/** Return how many models the tenant can call at a provider with own keys. */
export function reachable(models: readonly Schemas["Model"][], provider: string): number {
  return models.filter(
    (model) =>
      (model.provider === provider || model.providers?.includes(provider)) &&
      !model.virtual &&
      (model.key_sources ?? [model.key_source]).some((source) => source === "byok" || source === "custom"),
  ).length;
}

/** Return the known micro-dollars that a provider cost; null if nothing of them is known, 0 if there were no calls. */
export function spendOf(rows: readonly Schemas["BreakdownRow"][], provider: string): number | null {
  const row = rows.find((each) => each.keys[0]?.value === provider);
  return row ? (row.figures.spend_micro_usd ?? null) : 0;
}
