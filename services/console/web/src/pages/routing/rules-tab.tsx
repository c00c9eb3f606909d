import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { ApiError } from "@/api/errors";
import { LeaveGuard } from "@/components/leave-guard";
import { useAccess } from "@/session/access";
import {
  ActionButton,
  Alert,
  Box,
  Button,
  EmptyState,
  ErrorNotice,
  Group,
  notify,
  Paper,
  SimpleGrid,
  Stack,
  Text,
  Time,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { useActorNames } from "./actors";
import { type Change, ChangedElsewhere } from "./changed-elsewhere";
import {
  type Editor,
  isChanged,
  moved,
  openEditor,
  replaced,
  withFormat,
  withNewRule,
  withRules,
  withText,
} from "./editor";
import { NextStepInfo } from "./next-step-info";
import { ReviewDialog } from "./review-dialog";
import { RuleForm } from "./rule-form";
import { RuleText } from "./rule-text";
import { type Problem, problemOfParam } from "./rules-document";
import type { Rule } from "./rules-text";
import { type Base, baseOf, changeSince } from "./state";

type Rules = Schemas["RoutingRules"];
type Finding = Schemas["RuleFinding"];

interface RulesTabProps {
  loaded: Rules;
  operations: readonly string[];
  onReload: () => Promise<Rules | undefined>;
}

const CONFLICT = 409;

/** The editor of rules: a form and a text of the same rules, the draft, and what leads to a published version. */
export function RulesTab({ loaded, operations, onReload }: RulesTabProps) {
  const access = useAccess("save_rule_draft");
  const nameOf = useActorNames();
  const [base, setBase] = useState<Base>(() => baseOf(loaded));
  const [editor, setEditor] = useState<Editor>(() => openEditor(base.rules));
  const [findings, setFindings] = useState<readonly Finding[]>([]);
  const [reviewing, setReviewing] = useState(false);
  const save = query.useMutation("put", "/api/v1/routing/rules/draft");
  const discard = query.useMutation("delete", "/api/v1/routing/rules/draft");
  const dirty = isChanged(editor, base.rules);
  const busy = save.isPending || discard.isPending || reviewing;
  const elsewhere = busy ? null : changeSince(base, loaded);
  const refused = problemsOf(save.error, editor.text);
  const problems = [...editor.problems, ...refused];

  const open = (rules: Rules) => {
    const next = baseOf(rules);
    setBase(next);
    setEditor(openEditor(next.rules, editor.format));
    setFindings([]);
    save.reset();
  };
  const edit = (next: Editor) => {
    setEditor(next);
    if (save.error) {
      save.reset();
    }
  };
  const change = (rules: readonly Rule[]) => edit(withRules(editor, rules));
  const saveDraft = async () => {
    try {
      const saved = await save.mutateAsync({ body: { rules: [...editor.rules], revision: base.revision } });
      setBase({ ...base, rules: editor.rules, revision: saved.draft.revision, draft: saved.draft });
      setFindings(saved.findings ?? []);
      notify("Draft saved. Requests still follow the published rules.");
      await onReload();
    } catch (error) {
      if (error instanceof ApiError && error.status === CONFLICT) {
        await onReload();
      }
    }
  };
  const discardDraft = async () => {
    try {
      await discard.mutateAsync({ params: { query: { revision: base.revision } } });
      const next = await onReload();
      if (next) {
        open(next);
      }
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  const resolve = (change: Change, keep: boolean) => {
    if (keep) {
      setBase({ ...baseOf(loaded), rules: base.rules });
      save.reset();
    } else {
      open(loaded);
    }
    notify(
      keep
        ? "Your rules are still here. Save or publish to put them on top."
        : `You edit ${change.name} now.`,
    );
  };
  const notesOf = (rule: Rule) => findings.filter((finding) => finding.rule === rule.name);
  const general = findings.filter((finding) => !finding.rule);
  return (
    <Stack gap="md">
      <LeaveGuard dirty={dirty} what="changes of the rules" parameters={["tab"]} />
      <StateLine base={base} dirty={dirty} nameOf={nameOf} />
      {loaded.not_applied ? (
        <Alert color="yellow" variant="outline" title="The published rules do not count now">
          {loaded.not_applied}
        </Alert>
      ) : null}
      {elsewhere ? (
        <ChangedElsewhere
          change={elsewhere}
          mine={editor.rules}
          dirty={dirty}
          nameOf={nameOf}
          onResolve={(keep) => resolve(elsewhere, keep)}
        />
      ) : null}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Stack gap="sm">
          <Text fw={600} size="sm">
            Rules: the first that matches decides
          </Text>
          {editor.rules.length === 0 ? (
            <EmptyState title="There is no rule">
              Without rules each request is answered by the model that it names. A rule sends requests of an
              operation, a tag or a team to other models.
            </EmptyState>
          ) : null}
          <ol className="rule-list" aria-label="Rules">
            {editor.rules.map((rule, index) => (
              <li key={index}>
                <RuleForm
                  rule={rule}
                  index={index}
                  last={index === editor.rules.length - 1}
                  operations={operations}
                  problems={problems.filter((problem) => problem.rule === index)}
                  notes={notesOf(rule)}
                  disabled={!access.allowed || editor.outOfStep}
                  onChange={(next) => change(replaced(editor.rules, index, next))}
                  onMove={(to) => change(moved(editor.rules, index, to))}
                  onRemove={() => change(editor.rules.filter((_, at) => at !== index))}
                />
              </li>
            ))}
          </ol>
          <Group>
            <ActionButton
              operation="save_rule_draft"
              variant="default"
              leftSection={<PlusIcon size={16} aria-hidden />}
              disabledReason={editor.outOfStep ? "Correct the text first." : undefined}
              onClick={() => change(withNewRule(editor.rules, "default"))}
            >
              Add rule
            </ActionButton>
          </Group>
          <NextStepInfo />
        </Stack>
        <Box>
          <RuleText
            text={editor.text}
            format={editor.format}
            problems={problems}
            outOfStep={editor.outOfStep}
            readOnly={!access.allowed}
            onText={(text) => edit(withText(editor, text))}
            onFormat={(format) => setEditor(withFormat(editor, format))}
          />
          {general.map((finding) => (
            <Text key={finding.detail} size="sm" c={finding.fault ? "error" : undefined}>
              {finding.fault ? "Fault: " : "Note: "}
              {finding.detail}
            </Text>
          ))}
        </Box>
      </SimpleGrid>
      {save.error && refused.length === 0 && !isConflict(save.error) ? (
        <ErrorNotice what="the draft" error={save.error} change />
      ) : null}
      {discard.error ? <ErrorNotice what="that the draft is discarded" error={discard.error} change /> : null}
      <ActionBar
        dirty={dirty}
        hasDraft={base.revision > 0}
        blocked={problems.length > 0 ? "Correct what is wrong in the rules first." : undefined}
        pending={elsewhere ? "Decide first about what was changed meanwhile." : undefined}
        saving={save.isPending}
        onReset={() => edit(openEditor(base.rules, editor.format))}
        onDiscard={() => void discardDraft()}
        onSave={() => void saveDraft()}
        onReview={() => setReviewing(true)}
      />
      {reviewing ? (
        <ReviewDialog
          rules={editor.rules}
          base={base}
          dirty={dirty}
          onSaved={(saved) =>
            setBase({ ...base, rules: editor.rules, revision: saved.draft.revision, draft: saved.draft })
          }
          onClose={() => {
            setReviewing(false);
            void onReload();
          }}
          onPublished={async () => {
            const next = await onReload();
            setReviewing(false);
            if (next) {
              open(next);
            }
          }}
        />
      ) : null}
    </Stack>
  );
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === CONFLICT;
}

function problemsOf(error: unknown, text: string): Problem[] {
  return error instanceof ApiError && error.field?.startsWith("rules")
    ? [problemOfParam(text, error.field, error.message)]
    : [];
}

interface StateLineProps {
  base: Base;
  dirty: boolean;
  nameOf: (actor: string) => string;
}

function StateLine({ base, dirty, nameOf }: StateLineProps) {
  return (
    <Text size="sm" component="div">
      {base.published === 0 ? (
        "Nothing is published yet. "
      ) : base.version ? (
        <>
          Version {base.published} is in force, published by {nameOf(base.version.actor)},{" "}
          <Time iso={base.version.published_at} relative />.{" "}
        </>
      ) : (
        `Version ${base.published} is in force. `
      )}
      {base.draft ? (
        <>
          You see the draft that {nameOf(base.draft.actor)} saved <Time iso={base.draft.saved_at} relative />.{" "}
        </>
      ) : null}
      {dirty ? <strong>Unsaved changes.</strong> : null}
    </Text>
  );
}

interface ActionBarProps {
  dirty: boolean;
  hasDraft: boolean;
  blocked: string | undefined;
  pending: string | undefined;
  saving: boolean;
  onReset: () => void;
  onDiscard: () => void;
  onSave: () => void;
  onReview: () => void;
}

function ActionBar(props: ActionBarProps) {
  const { dirty, hasDraft, blocked, pending, saving, onReset, onDiscard, onSave, onReview } = props;
  const nothing = dirty || hasDraft ? undefined : "Nothing differs from the published rules.";
  return (
    <Paper withBorder p="sm" className="save-bar">
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onReset} disabled={!dirty}>
          Undo changes
        </Button>
        <ActionButton
          operation="discard_rule_draft"
          variant="default"
          disabledReason={hasDraft ? pending : "There is no draft."}
          onClick={onDiscard}
        >
          Discard draft
        </ActionButton>
        <ActionButton
          operation="save_rule_draft"
          variant="default"
          loading={saving}
          disabledReason={dirty ? (blocked ?? pending) : "Nothing is changed."}
          onClick={onSave}
        >
          Save draft
        </ActionButton>
        <ActionButton
          operation="compare_routing_rules"
          disabledReason={nothing ?? blocked ?? pending}
          onClick={onReview}
        >
          Review and publish
        </ActionButton>
      </Group>
    </Paper>
  );
}
