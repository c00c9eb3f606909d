import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, query, type Schemas } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useModels } from "@/components/model-options";
import { countOf } from "@/format/numbers";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Alert,
  Button,
  ErrorNotice,
  Group,
  List,
  Modal,
  notify,
  Panel,
  QueryState,
  RouteLink,
  Stack,
  StatusMark,
  Text,
} from "@/ui";
import { affectedOperations, type Loss, lossesOf, previewInWords } from "./impact";

const CONFLICT = 409;

/** Whether requests may only be processed inside the European Union. */
export function RegionPanel() {
  const preferences = query.useQuery("get", "/api/v1/preferences", { params: { query: {} } });
  const [asking, setAsking] = useState<boolean | null>(null);
  return (
    <Panel title="Where requests are processed">
      <QueryState what="where requests are processed" query={preferences} height={180}>
        {(found) => (
          <>
            <RegionState found={found} onAsk={setAsking} />
            {asking === null ? null : (
              <EuDialog
                found={found}
                turnOn={asking}
                onReload={() => preferences.refetch()}
                onClose={() => setAsking(null)}
              />
            )}
          </>
        )}
      </QueryState>
    </Panel>
  );
}

type InForce = Schemas["PreferencesInForce"];

function RegionState({ found, onAsk }: { found: InForce; onAsk: (turnOn: boolean) => void }) {
  const tenant = useTenant();
  const euOnly = found.effective.find(({ name }) => name === "eu_only");
  const regions = found.effective.filter(({ name }) => name === "allowed_regions");
  const on = euOnly?.value === true;
  const fromAbove = on && euOnly?.origin === "platform";
  return (
    <Stack gap="sm">
      <StatusMark kind={on ? "ok" : "neutral"}>
        {on ? "European Union only is on" : "European Union only is off"}
      </StatusMark>
      <Text size="sm">
        {on
          ? "Requests are sent only to offerings that are known to be inside the Union. A request without one is refused."
          : "Requests may go to any region that a provider has. Turned on, they go only to offerings that are known to be inside the Union."}
      </Text>
      <Text size="sm">
        Allowed regions:{" "}
        {regions.flatMap(({ value }) => (Array.isArray(value) ? value : [])).join(", ") || "not limited"}.{" "}
        <RouteLink to={`/t/${tenant}/preferences`} underline="always">
          Change in preferences
        </RouteLink>
      </Text>
      <Group>
        <ActionButton
          operation="save_preferences"
          variant={on ? "default" : "filled"}
          disabledReason={
            fromAbove ? "It is on for the whole installation, and no tenant can turn it off." : undefined
          }
          onClick={() => onAsk(!on)}
        >
          {on ? "Turn off" : "Turn on"}
        </ActionButton>
      </Group>
    </Stack>
  );
}

interface EuDialogProps {
  found: InForce;
  turnOn: boolean;
  onReload: () => Promise<unknown>;
  onClose: () => void;
}

function EuDialog({ found, turnOn, onReload, onClose }: EuDialogProps) {
  const save = query.useMutation("put", "/api/v1/preferences");
  const access = useAccess("save_preferences");
  const conflict = save.error instanceof ApiError && save.error.status === CONFLICT;
  const submit = async () => {
    const { eu_only: _, ...others } = found.saved;
    try {
      await save.mutateAsync({
        body: { ...others, ...(turnOn ? { eu_only: true } : {}), revision: found.revision },
      });
      notify(
        turnOn
          ? "Requests stay inside the European Union from now on."
          : "Requests may leave the Union again.",
      );
      await onReload();
      onClose();
    } catch (error) {
      if (error instanceof ApiError && error.status === CONFLICT) {
        await onReload();
      }
    }
  };
  return (
    <Modal
      opened
      onClose={onClose}
      title={turnOn ? "Process requests in the European Union only?" : "Allow requests to leave the Union?"}
      size="lg"
    >
      <Stack gap="sm">
        {turnOn ? (
          <Consequence found={found} />
        ) : (
          <Text size="sm">
            From the next second on, requests may go to every region that a provider has. Narrower scopes that
            have turned it on keep it.
          </Text>
        )}
        {conflict ? (
          <Alert
            color="yellow"
            variant="outline"
            title="Somebody has saved preferences meanwhile"
            role="alert"
          >
            They are loaded now. Save again to change only this setting of them.
          </Alert>
        ) : save.error ? (
          <ErrorNotice what="this setting" error={save.error} change />
        ) : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <ActionButton
            operation="save_preferences"
            loading={save.isPending}
            disabledReason={access.allowed ? undefined : access.reason}
            onClick={() => void submit()}
          >
            {turnOn ? "Turn on" : "Turn off"}
          </ActionButton>
        </Group>
      </Stack>
    </Modal>
  );
}

function Consequence({ found }: { found: InForce }) {
  const tenant = useTenant();
  const models = useModels();
  const rules = query.useQuery("get", "/api/v1/routing/rules", { params: { query: {} } });
  const scopes = query.useQuery("get", "/api/v1/preferences/scopes");
  const preview = useQuery({
    queryKey: ["preferences preview", tenant, found.revision],
    queryFn: async () => {
      const body = { ...found.saved, eu_only: true };
      const { data } = await api.POST("/api/v1/preferences/preview", { params: { query: {} }, body });
      if (data === undefined) {
        throw new Error("an answer without a body");
      }
      return data;
    },
    staleTime: 0,
  });
  const losses = lossesOf(
    models.data?.data ?? [],
    rules.data?.version?.rule_set.rules ?? [],
    (scopes.data?.scopes ?? [])
      .filter(({ scope }) => scope !== "platform")
      .map(({ scope, scope_id, preferences }) => ({
        name: scope === "tenant" ? "" : `${scope.replace("_", " ")} ${scope_id}`,
        preferences,
      })),
  );
  return (
    <QueryState what="what would change" query={preview} height={140}>
      {(data) => (
        <Stack gap="xs">
          <Text fw={600}>{previewInWords(data)}</Text>
          <Operations affected={affectedOperations(data)} />
          {losses.length > 0 ? (
            <>
              <Text size="sm">Settings that name models outside the Union:</Text>
              <List size="sm">
                {losses.slice(0, MOST_LISTED).map((loss) => (
                  <List.Item key={`${loss.kind} ${loss.subject}`}>
                    <LossLine loss={loss} />
                  </List.Item>
                ))}
                {losses.length > MOST_LISTED ? (
                  <List.Item>and {losses.length - MOST_LISTED} more</List.Item>
                ) : null}
              </List>
            </>
          ) : null}
          <Text size="sm">It holds from the next second on, and narrower scopes cannot turn it off.</Text>
        </Stack>
      )}
    </QueryState>
  );
}

const MOST_LISTED = 8;

function Operations({ affected }: { affected: readonly Schemas["PreviewedOperation"][] }) {
  const tenant = useTenant();
  if (affected.length === 0) {
    return null;
  }
  return (
    <List size="sm">
      {affected.slice(0, MOST_LISTED).map((each) => (
        <List.Item key={each.operation ?? ""}>
          {each.operation ?? "Requests without an operation"}:{" "}
          {each.refused
            ? `${each.refused} of ${countOf(each.requests, "request")} would be refused${each.reason ? `, ${each.reason}` : ""}`
            : `no fallback is left for ${each.fallback_lost} of ${countOf(each.requests, "request")}`}
          .{" "}
          <RouteLink
            to={`/t/${tenant}/routing?tab=rules`}
            size="sm"
            underline="always"
            aria-label={`Fix ${each.operation ?? "the rules"}`}
          >
            Fix
          </RouteLink>
        </List.Item>
      ))}
      {affected.length > MOST_LISTED ? <List.Item>and {affected.length - MOST_LISTED} more</List.Item> : null}
    </List>
  );
}

function LossLine({ loss }: { loss: Loss }) {
  const tenant = useTenant();
  const models = loss.models.join(", ");
  const to = loss.kind === "preference" ? `/t/${tenant}/preferences` : `/t/${tenant}/routing?tab=rules`;
  return (
    <>
      {loss.subject}: {loss.empty ? `no model is left without ${models}` : `${models} would not be used`}.{" "}
      <RouteLink to={to} size="sm" underline="always" aria-label={`Fix ${loss.subject}`}>
        Fix
      </RouteLink>
    </>
  );
}
