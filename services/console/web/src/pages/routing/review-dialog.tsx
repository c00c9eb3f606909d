import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, query, type Schemas } from "@/api/client";
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
  QueryState,
  Stack,
  Text,
  TextInput,
  Title,
} from "@/ui";
import { DiffView } from "./diff-view";
import { DryRun } from "./dry-run";
import { fromUnified } from "./line-diff";
import type { Rule } from "./rules-text";
import type { Base } from "./state";

const CHANGES = { added: "is new", removed: "is removed", changed: "is changed", moved: "is moved" } as const;
export const DRY_RUN_REQUESTS = 200;

interface ReviewDialogProps {
  rules: readonly Rule[];
  base: Base;
  dirty: boolean;
  onSaved: (saved: Schemas["SavedRuleDraft"]) => void;
  onPublished: () => Promise<void>;
  onClose: () => void;
}

/** What publishing changes: the difference, and past requests planned again. */
export function ReviewDialog({ rules, base, dirty, onSaved, onPublished, onClose }: ReviewDialogProps) {
  const tenant = useTenant();
  const [note, setNote] = useState("");
  // Both ask with a body, and change nothing.
  const difference = useQuery({
    queryKey: ["rules difference", tenant, rules],
    queryFn: async () => {
      const { data } = await api.POST("/api/v1/routing/rules/diff", { body: { rules: [...rules] } });
      return required(data);
    },
    staleTime: 0,
  });
  const faults = difference.data?.findings?.filter(({ fault }) => fault) ?? [];
  const dryRun = useQuery({
    queryKey: ["rules dry run", tenant, rules],
    queryFn: async () => {
      const body = { rules: [...rules], limit: DRY_RUN_REQUESTS };
      const { data } = await api.POST("/api/v1/routing/rules/dry-run", { body });
      return required(data);
    },
    enabled: difference.data !== undefined && faults.length === 0,
    staleTime: 0,
  });
  const save = query.useMutation("put", "/api/v1/routing/rules/draft");
  const publish = query.useMutation("post", "/api/v1/routing/rules/publish");
  const submit = async () => {
    try {
      let { revision } = base;
      if (dirty || revision === 0) {
        const saved = await save.mutateAsync({ body: { rules: [...rules], revision } });
        revision = saved.draft.revision;
        onSaved(saved);
      }
      const { version, changed } = await publish.mutateAsync({
        body: { revision, note, expected_version: base.published },
      });
      notify(changed ? `Version ${version.version} is in force.` : "These rules are in force already.");
      await onPublished();
    } catch {
      // The mutations hold their errors, which are shown below.
    }
  };
  const newlyRefused = dryRun.data?.newly_refused ?? 0;
  return (
    <Modal opened onClose={onClose} title="Review and publish" size="xl">
      <Stack gap="md">
        <Title order={3} size="h4">
          What changes
        </Title>
        <QueryState what="the difference" query={difference} height={160}>
          {(found) => <Difference found={found} />}
        </QueryState>
        <Title order={3} size="h4">
          The last {DRY_RUN_REQUESTS} requests, planned again
        </Title>
        {faults.length > 0 ? (
          <Text size="sm">Past requests are planned again once the faults above are gone.</Text>
        ) : (
          <QueryState what="the dry run" query={dryRun} height={200}>
            {(report) => <DryRun report={report} />}
          </QueryState>
        )}
        <TextInput
          label="Note"
          description="For those who look at the versions later."
          maxLength={500}
          value={note}
          onChange={(event) => setNote(event.currentTarget.value)}
        />
        {save.error ? <ErrorNotice what="the draft" error={save.error} change /> : null}
        {publish.error ? (
          <ErrorNotice what="that the rules are published" error={publish.error} change />
        ) : null}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose} data-autofocus>
            Go on editing
          </Button>
          <ActionButton
            operation="publish_routing_rules"
            loading={save.isPending || publish.isPending}
            disabledReason={
              difference.data === undefined
                ? "The rules are being checked."
                : faults.length > 0
                  ? "Rules with faults cannot be published."
                  : undefined
            }
            onClick={() => void submit()}
          >
            {newlyRefused > 0 ? `Publish although ${newlyRefused} would be refused` : "Publish"}
          </ActionButton>
        </Group>
      </Stack>
    </Modal>
  );
}

function required<T>(data: T | undefined): T {
  if (data === undefined) {
    throw new Error("an answer without a body");
  }
  return data;
}

function Difference({ found }: { found: Schemas["RuleDifference"] }) {
  const findings = found.findings ?? [];
  const faults = findings.filter(({ fault }) => fault);
  const warnings = findings.filter(({ fault }) => !fault);
  return (
    <Stack gap="sm">
      {found.changes.length === 0 ? (
        <Text size="sm">Nothing: these rules are published already.</Text>
      ) : (
        <List size="sm">
          {found.changes.map(({ rule, change, fields }) => (
            <List.Item key={`${rule} ${change}`}>
              {rule} {CHANGES[change]}
              {fields && fields.length > 0 ? ` (${fields.join(", ")})` : ""}
            </List.Item>
          ))}
        </List>
      )}
      {found.text.length > 0 ? <DiffView label="Changed lines" lines={fromUnified(found.text)} /> : null}
      <Findings title="Faults, which prevent publishing" color="red" findings={faults} />
      <Findings title="Notes, which do not prevent publishing" color="yellow" findings={warnings} />
    </Stack>
  );
}

interface FindingsProps {
  title: string;
  color: string;
  findings: readonly Schemas["RuleFinding"][];
}

function Findings({ title, color, findings }: FindingsProps) {
  if (findings.length === 0) {
    return null;
  }
  return (
    <Alert color={color} variant="outline" title={title}>
      <List size="sm">
        {findings.map(({ rule, detail }) => (
          <List.Item key={`${rule} ${detail}`}>
            {rule ? `Rule ${rule}: ` : ""}
            {detail}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}
