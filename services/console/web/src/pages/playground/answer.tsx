import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { formatCount } from "@/format/numbers";
import { useLive } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import {
  Button,
  Code,
  ErrorNotice,
  Group,
  Money,
  Panel,
  RouteLink,
  Stack,
  StatusMark,
  Text,
  UsdText,
} from "@/ui";
import { StopIcon } from "@/ui/icons";
import type { Run } from "./run";

interface AnswerProps {
  model: string;
  run: Run;
  onStop: () => void;
  onRemove: (() => void) | undefined;
}

const STATES = {
  running: ["info", "Answering"],
  finished: ["ok", "Finished"],
  stopped: ["neutral", "Stopped"],
  failed: ["error", "Failed"],
} as const;

/** One model with its answer, and what the answer took. */
export function Answer({ model, run, onStop, onRemove }: AnswerProps) {
  const state = run.state === "idle" ? null : STATES[run.state];
  return (
    <Panel
      title={model}
      actions={
        run.state === "running" ? (
          <Button
            variant="default"
            size="xs"
            leftSection={<StopIcon size={14} aria-hidden />}
            onClick={onStop}
            aria-label={`Stop ${model}`}
          >
            Stop
          </Button>
        ) : onRemove ? (
          <Button variant="default" size="xs" onClick={onRemove} aria-label={`Remove ${model}`}>
            Remove
          </Button>
        ) : null
      }
    >
      {state ? (
        <Group gap="xs" role="status">
          <StatusMark kind={state[0]}>{state[1]}</StatusMark>
          {run.finishReason && run.finishReason !== "stop" ? (
            <Text size="xs" c="dimmed">
              ended by {run.finishReason}
            </Text>
          ) : null}
        </Group>
      ) : (
        <Text size="sm" c="dimmed">
          The answer will be here.
        </Text>
      )}
      {run.error ? <ErrorNotice what="the answer" error={run.error} /> : null}
      {run.reasoning ? (
        <Text size="sm" c="dimmed" className="answer">
          {run.reasoning}
        </Text>
      ) : null}
      {run.text ? (
        <Text size="sm" className="answer">
          {run.text}
        </Text>
      ) : null}
      {run.tools ? <Code block>{run.tools}</Code> : null}
      {run.state === "idle" ? null : <Figures run={run} />}
    </Panel>
  );
}

function Figures({ run }: { run: Run }) {
  const tenant = useTenant();
  const recorded = useRecorded(run);
  const seconds =
    run.elapsedMs !== null && run.firstTokenMs !== null ? (run.elapsedMs - run.firstTokenMs) / 1000 : 0;
  const rate = run.usage && seconds > 0.05 ? Math.round(run.usage.outputTokens / seconds) : null;
  return (
    <Stack gap={2}>
      <Text size="xs" c="dimmed" className="tabular">
        {[
          run.served,
          run.keySource ? KEY_SOURCES[run.keySource] : null,
          run.firstTokenMs === null ? null : `first token ${formatDuration(run.firstTokenMs)}`,
          rate === null ? null : `${formatCount(rate)} tokens/s`,
          run.usage
            ? `${formatCount(run.usage.inputTokens)} in, ${formatCount(run.usage.outputTokens)} out`
            : null,
        ]
          .filter(Boolean)
          .join(" · ")}
      </Text>
      {run.requestId ? (
        <Group gap="sm">
          <Text size="xs" c="dimmed">
            {recorded ? (
              <>
                cost <UsdText dollars={recorded.cost_usd} exact />
                {recorded.charge_micro_usd ? (
                  <>
                    , charged <Money micro={recorded.charge_micro_usd} exact />
                  </>
                ) : null}
              </>
            ) : (
              "cost: waiting for the ledger"
            )}
          </Text>
          <RouteLink to={tenantPath(tenant, `requests/${run.requestId}`)} fz="xs">
            Explain route
          </RouteLink>
        </Group>
      ) : null}
    </Stack>
  );
}

const KEY_SOURCES: Record<string, string> = {
  byok: "your key pays",
  platform: "platform credits pay",
  custom: "your own server",
  none: "no key needed",
};

/** Return the ledger's row of an answer once it is there: by a live event, else by asking when the answer has ended. */
function useRecorded(run: Run): Pick<Schemas["LoggedRequest"], "cost_usd" | "charge_micro_usd"> | null {
  const [live, setLive] = useState<Schemas["LoggedRequest"] | null>(null);
  useLive("requests", ({ requests }) => {
    const found = requests.find(({ request }) => request.request_id === run.requestId);
    if (found) {
      setLive(found.request);
    }
  });
  const ended = run.state === "finished" || run.state === "stopped" || run.state === "failed";
  const known = live?.request_id === run.requestId ? live : null;
  const asked = query.useQuery(
    "get",
    "/api/v1/requests/{request_id}",
    { params: { path: { request_id: run.requestId ?? "" } } },
    { enabled: ended && run.requestId !== null && known === null, retry: 3, retryDelay: 1000 },
  );
  return known ?? (ended ? (asked.data?.request ?? null) : null);
}
