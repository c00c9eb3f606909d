import { query } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { formatTotal } from "@/format/money";
import { countOf } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  ErrorNotice,
  Group,
  List,
  notify,
  Panel,
  RouteLink,
  Stack,
  StatusMark,
  Text,
} from "@/ui";
import { changeInWords, type Recommendation } from "./recommendations";

const CONFIDENCE = { high: "ok", medium: "info", low: "neutral" } as const;
/** The page on which a change that no rule makes is made. */
const PLACES: Partial<Record<Recommendation["kind"], { path: string; label: string }>> = {
  own_key: { path: "keys", label: "Provider keys" },
  platform_key: { path: "routing", label: "Models and routing" },
  eu_residency: { path: "privacy", label: "Privacy and region" },
};

/** One recommendation: what to change, what it would have saved, how sure that is, and the click that begins it. */
export function RecommendationCard({ recommendation }: { recommendation: Recommendation }) {
  const facts = [
    recommendation.served && recommendation.to_served
      ? `${recommendation.served} → ${recommendation.to_served}`
      : null,
    changeInWords("quality", recommendation.quality, recommendation.to_quality),
    changeInWords(
      "95 of 100 answers within",
      recommendation.p95_ms,
      recommendation.to_p95_ms,
      formatDuration,
    ),
  ].filter((fact) => fact !== null);
  return (
    <Panel
      title={recommendation.title}
      actions={
        recommendation.saved_micro_usd > 0 ? (
          <StatusMark kind="ok">saves {formatTotal(recommendation.saved_micro_usd)}</StatusMark>
        ) : null
      }
    >
      <Stack gap="xs">
        <Text size="sm">{recommendation.detail}</Text>
        <List size="sm" spacing={2}>
          <List.Item>
            {countOf(recommendation.requests, "request")}, which come to{" "}
            {formatTotal(recommendation.spend_micro_usd)}
          </List.Item>
          {facts.map((fact) => (
            <List.Item key={fact}>{fact}</List.Item>
          ))}
        </List>
        <Group gap="xs" align="baseline">
          <StatusMark kind={CONFIDENCE[recommendation.confidence]}>
            {recommendation.confidence} confidence
          </StatusMark>
          <Text size="sm" c="dimmed">
            {recommendation.confidence_detail}
          </Text>
        </Group>
        <Text size="sm">{recommendation.action}</Text>
        <NextStep recommendation={recommendation} />
      </Stack>
    </Panel>
  );
}

function NextStep({ recommendation }: { recommendation: Recommendation }) {
  const tenant = useTenant();
  const draft = query.useMutation("post", "/api/v1/recommendations/draft");
  const { rule } = recommendation;
  const place = PLACES[recommendation.kind];
  if (!rule) {
    return place ? <RouteLink to={tenantPath(tenant, place.path)}>Open {place.label}</RouteLink> : null;
  }
  const put = async () => {
    try {
      await draft.mutateAsync({ body: { rule } });
      notify("The rule is the first of your draft now. Nothing is published yet.");
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  return (
    <Stack gap="xs">
      {draft.error ? <ErrorNotice what="the draft of rules" error={draft.error} change /> : null}
      <Group gap="sm">
        <ActionButton
          operation="draft_recommended_rule"
          variant="default"
          loading={draft.isPending}
          onClick={() => void put()}
          aria-label={`Put the rule into the draft: ${recommendation.title}`}
        >
          Put the rule into the draft
        </ActionButton>
        {draft.isSuccess ? (
          <RouteLink to={`${tenantPath(tenant, "routing")}?tab=rules`}>Try it and publish it</RouteLink>
        ) : null}
      </Group>
    </Stack>
  );
}
