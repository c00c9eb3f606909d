import { FAILURE_WORDS, KEY_SOURCE_WORDS, placeOf } from "@/components/request-words";
import { formatDuration } from "@/format/duration";
import { formatCount } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Code, Panel, RouteLink, Text, Timeline } from "@/ui";
import { CheckIcon, CloseIcon, NeutralIcon } from "@/ui/icons";
import { fixHint } from "./fix-hints";
import { type LedgerRow, type RequestRecords, stateOf } from "./records";
import { asSentence } from "./why";

const BULLETS = {
  completed: { color: "green.9", Icon: CheckIcon },
  failed: { color: "red.9", Icon: CloseIcon },
  cancelled: { color: "gray.7", Icon: CloseIcon },
  indeterminate: { color: "orange.9", Icon: NeutralIcon },
} as const;

/** The provider calls in order: what each answered, why, and what to do about a failure. */
export function AttemptTimeline({
  records,
  names,
}: {
  records: RequestRecords;
  names: ReadonlyMap<string, string>;
}) {
  const state = stateOf(records);
  return (
    <Panel title="Attempts">
      {records.attempts.length === 0 ? (
        <Text size="sm">
          {state === "running"
            ? "No attempt has ended yet. It appears here about a second after its end."
            : "No provider was called, and nothing was charged."}
        </Text>
      ) : null}
      {state === "refused" ? <Refusal records={records} /> : null}
      {records.attempts.length > 0 ? (
        <Timeline bulletSize={22} lineWidth={2} active={records.attempts.length}>
          {records.attempts.map((row) => {
            const { color, Icon } = BULLETS[row.record.outcome];
            return (
              <Timeline.Item
                key={row.record.attempt_id}
                color={color}
                bullet={<Icon size={12} aria-hidden />}
                title={placeOf(row.record)}
              >
                <Attempt row={row} names={names} />
              </Timeline.Item>
            );
          })}
        </Timeline>
      ) : null}
    </Panel>
  );
}

function Refusal({ records }: { records: RequestRecords }) {
  const refusal = records.decisions.at(-1)?.refusal;
  const hint = refusal ? fixHint(refusal.failure_class, "none") : null;
  return refusal ? (
    <Text size="sm">
      {asSentence(refusal.message)} {hint}
    </Text>
  ) : null;
}

function Attempt({ row, names }: { row: LedgerRow; names: ReadonlyMap<string, string> }) {
  const { record } = row;
  return (
    <>
      <Text size="sm">
        {firstLine(row)}
        {record.failure?.provider_code ? (
          <>
            {" "}
            <Code>{record.failure.provider_code}</Code>
          </>
        ) : null}
      </Text>
      {record.failure ? <Text size="sm">{asSentence(record.failure.message)}</Text> : null}
      {record.failure ? <Hint row={row} /> : null}
      <Text size="xs" c="dimmed">
        <KeyUsed row={row} names={names} />
        {record.model_served && record.model_served !== record.model
          ? ` · reported as ${record.model_served}`
          : ""}
        {record.finish_reason ? ` · ended with ${record.finish_reason}` : ""}
      </Text>
    </>
  );
}

function Hint({ row }: { row: LedgerRow }) {
  const { failure, key_source: source } = row.record;
  const hint = failure ? fixHint(failure.failure_class, source) : null;
  return hint ? (
    <Text size="sm" c="dimmed">
      {hint}
    </Text>
  ) : null;
}

function KeyUsed({ row, names }: { row: LedgerRow; names: ReadonlyMap<string, string> }) {
  const tenant = useTenant();
  const { key_id: key, key_source: source } = row.record;
  const name = key ? names.get(key) : undefined;
  if (!key || !name) {
    return <>{KEY_SOURCE_WORDS[source]}</>;
  }
  return (
    <RouteLink to={tenantPath(tenant, `keys/${encodeURIComponent(key)}`)} inherit>
      {name}
    </RouteLink>
  );
}

function firstLine(row: LedgerRow): string {
  const { failure, outcome, latency_ms: latency } = row.record;
  const time = formatDuration(latency);
  if (failure) {
    const status = failure.status ? `${failure.status} after ${time}` : `No status after ${time}`;
    return `${status}: ${FAILURE_WORDS[failure.failure_class]}.`;
  }
  if (outcome === "cancelled") {
    return `The caller went away after ${time}.`;
  }
  const speed = tokensPerSecond(row);
  const first = row.record.first_token_ms;
  return [
    `Answered in ${time}.`,
    typeof first === "number"
      ? `First token after ${formatDuration(first)}${speed ? `, ${speed}` : ""}.`
      : "",
  ]
    .filter(Boolean)
    .join(" ");
}

function tokensPerSecond(row: LedgerRow): string | null {
  const { first_token_ms: first, latency_ms: latency, token_usage: usage } = row.record;
  const tokens = (usage?.output ?? 0) + (usage?.reasoning ?? 0);
  if (typeof first !== "number" || latency <= first || tokens === 0) {
    return null;
  }
  return `${formatCount(Math.round((tokens * 1000) / (latency - first)))} tokens a second`;
}
