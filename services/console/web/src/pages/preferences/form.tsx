import { useState } from "react";
import { query } from "@/api/client";
import { ApiError, asApiError } from "@/api/errors";
import { LeaveGuard } from "@/components/leave-guard";
import { isComplete, kindInWords, type Scope, scopeQuery } from "@/components/scope-picker";
import { countOf } from "@/format/numbers";
import { useLive } from "@/live/live";
import { useAccess } from "@/session/access";
import {
  ActionButton,
  Alert,
  Box,
  Button,
  ErrorNotice,
  Group,
  notify,
  Panel,
  Paper,
  SimpleGrid,
  Stack,
  Text,
} from "@/ui";
import { ByOperation } from "./by-operation";
import { ConnectionTests } from "./connection-tests";
import {
  bodyOf,
  change,
  differing,
  type Edits,
  type Effective,
  inWords,
  type Name,
  originInWords,
  type Saved,
  splitFaults,
  unsent,
} from "./edit";
import { FieldControl } from "./field-control";
import { FIELD_GROUPS, type Field, labelOf, MODE_FIELD, NAMES } from "./fields";
import { KeyUse } from "./key-use";

export interface LoadedScope {
  readonly saved: Saved;
  readonly revision: number;
  readonly effective: readonly Effective[];
  readonly scope_id: string;
}

interface PreferencesFormProps {
  scope: Scope;
  loaded: LoadedScope;
  /** The values in force without what is set in this scope; null for the tenant, above which nothing can be read. */
  above: readonly Effective[] | null;
  onReload: () => Promise<LoadedScope | undefined>;
}

const CONFLICT = 409;

/** The form of one scope's preferences: only what differs from the scopes above is saved in it. */
export function PreferencesForm({ scope, loaded, above, onReload }: PreferencesFormProps) {
  const access = useAccess("save_preferences");
  const [base, setBase] = useState<LoadedScope>(loaded);
  const [edits, setEdits] = useState<Edits>({});
  const [theirs, setTheirs] = useState<readonly Name[] | null>(null);
  const save = query.useMutation("put", "/api/v1/preferences");
  const changed = Object.keys(edits) as Name[];
  const faults = faultsOf(save.error);

  const adopt = (next: LoadedScope) => {
    setBase(next);
    setEdits((current) =>
      Object.entries(current).reduce<Edits>(
        (all, [name, value]) => change(all, next.saved, name as Name, value as never),
        {},
      ),
    );
  };
  useLive("rules", (event) => {
    if (event.action.startsWith("preferences.") && !save.isPending) {
      void onReload().then((next) => {
        if (next && next.revision !== base.revision) {
          if (changed.length > 0) {
            setTheirs(differing(base.saved, next.saved));
          }
          adopt(next);
        }
      });
    }
  });
  const submit = async () => {
    const sent = edits;
    try {
      const answer = await save.mutateAsync({
        params: { query: scopeQuery(scope) },
        body: { ...bodyOf(edits, base.saved), revision: base.revision },
      });
      setBase(answer);
      // What was typed while the answer was on its way is kept.
      setEdits((current) => unsent(current, sent));
      setTheirs(null);
      notify("Preferences saved. They hold within a second.");
      await onReload();
    } catch (error) {
      if (error instanceof ApiError && error.status === CONFLICT) {
        const next = await onReload();
        if (next) {
          setTheirs(differing(base.saved, next.saved));
          adopt(next);
        }
      }
    }
  };
  const field = (each: Field) => (
    <FieldBlock
      key={each.name}
      field={each}
      scope={scope}
      base={base}
      edits={edits}
      above={above}
      error={faults.byName.get(each.name)}
      readOnly={!access.allowed}
      onChange={(value) => setEdits((current) => change(current, base.saved, each.name, value as never))}
    />
  );
  return (
    <Stack gap="md">
      <LeaveGuard dirty={changed.length > 0} what="changes of preferences" parameters={["scope", "id"]} />
      {access.allowed ? null : (
        <Alert variant="outline" color="gray" title="You can look at preferences, but not change them">
          {access.reason}
        </Alert>
      )}
      <Panel title="Whose keys serve requests">
        <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
          <Box>
            {field(MODE_FIELD)}
            <KeyUse />
          </Box>
          <ConnectionTests />
        </SimpleGrid>
        <ByOperation
          edits={edits}
          saved={base.saved}
          effective={base.effective}
          faults={faults.byName}
          readOnly={!access.allowed}
          onChange={(name, value) => setEdits((current) => change(current, base.saved, name, value as never))}
        />
      </Panel>
      {FIELD_GROUPS.map((group) => (
        <Panel key={group.title} title={group.title}>
          <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg" verticalSpacing="lg">
            {group.fields.map(field)}
          </SimpleGrid>
        </Panel>
      ))}
      {theirs ? <ConflictNotice theirs={theirs} mine={changed} now={base.saved} /> : null}
      {save.error && asApiError(save.error).status !== CONFLICT ? (
        <ErrorNotice what="the preferences" error={save.error} change />
      ) : null}
      <SaveBar
        changed={changed}
        busy={save.isPending}
        where={scope.kind === "tenant" ? "the tenant" : `this ${kindInWords(scope.kind)}`}
        complete={isComplete(scope)}
        onDiscard={() => {
          setEdits({});
          setTheirs(null);
          save.reset();
        }}
        onSave={() => void submit()}
      />
    </Stack>
  );
}

function faultsOf(error: unknown): { byName: Map<string, string>; rest: string } {
  if (!(error instanceof ApiError) || error.status === CONFLICT) {
    return { byName: new Map(), rest: "" };
  }
  return splitFaults(error.message, NAMES);
}

interface FieldBlockProps extends Pick<PreferencesFormProps, "scope" | "above"> {
  field: Field;
  base: LoadedScope;
  edits: Edits;
  error: string | undefined;
  readOnly: boolean;
  onChange: (value: never) => void;
}

function FieldBlock({ field, scope, base, edits, above, error, readOnly, onChange }: FieldBlockProps) {
  const inForce = base.effective.find(({ name }) => name === field.name);
  const isSet = base.saved[field.name] !== null && base.saved[field.name] !== undefined;
  const source = above?.find(({ name }) => name === field.name) ?? (isSet ? undefined : inForce);
  const edited = field.name in edits;
  const setHere = edited ? edits[field.name] !== null : isSet;
  return (
    <Box>
      <FieldControl
        field={field}
        edits={edits}
        saved={base.saved}
        inherited={source ? (source.value ?? null) : undefined}
        error={error}
        readOnly={readOnly}
        onChange={(value) => onChange(value as never)}
      />
      <Group gap="xs" mt={4} mih={24}>
        <Text size="xs" c="dimmed">
          {edited ? "Changed, not saved yet. " : ""}
          {setHere
            ? `Set for ${scope.kind === "tenant" ? "the tenant" : `this ${kindInWords(scope.kind)}`}.`
            : source
              ? `From: ${originInWords(source)}.`
              : "Not set here."}
        </Text>
        {setHere && !readOnly ? (
          <Button
            size="compact-xs"
            variant="subtle"
            aria-label={`Do not set ${field.label} here`}
            onClick={() => onChange(null as never)}
          >
            Do not set here
          </Button>
        ) : null}
      </Group>
    </Box>
  );
}

interface ConflictNoticeProps {
  theirs: readonly Name[];
  mine: readonly Name[];
  now: Saved;
}

/** What somebody else has saved while this form was open; its own changes stay. */
function ConflictNotice({ theirs, mine, now }: ConflictNoticeProps) {
  return (
    <Alert
      color="yellow"
      variant="outline"
      title="Somebody else has saved these preferences meanwhile"
      role="alert"
    >
      <Text size="sm">{theirs.length === 0 ? "Nothing in this scope differs now." : "Now saved:"}</Text>
      <ul>
        {theirs.map((name) => (
          <li key={name}>
            {labelOf(name)}: {inWords(now[name])}
            {mine.includes(name) ? " (you have changed it too: saving replaces it by your value)" : ""}
          </li>
        ))}
      </ul>
      <Text size="sm">Your changes are still in the form. Save again to put them on top.</Text>
    </Alert>
  );
}

interface SaveBarProps {
  changed: readonly Name[];
  busy: boolean;
  where: string;
  complete: boolean;
  onDiscard: () => void;
  onSave: () => void;
}

function SaveBar({ changed, busy, where, complete, onDiscard, onSave }: SaveBarProps) {
  const nothing = changed.length === 0;
  return (
    <Paper withBorder p="sm" className="save-bar">
      <Group justify="space-between">
        <Text size="sm" role="status">
          {nothing
            ? "No unsaved changes."
            : `${countOf(changed.length, "unsaved change")}: ${changed.map(labelOf).join(", ")}.`}
        </Text>
        <Group gap="xs">
          <Button variant="default" onClick={onDiscard} disabled={nothing}>
            Discard
          </Button>
          <ActionButton
            operation="save_preferences"
            onClick={onSave}
            loading={busy}
            disabledReason={nothing ? "Nothing is changed." : complete ? undefined : `Choose ${where} first.`}
          >
            Save preferences
          </ActionButton>
        </Group>
      </Group>
    </Paper>
  );
}
