import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { LeaveGuard } from "@/components/leave-guard";
import { useAccess } from "@/session/access";
import {
  ActionButton,
  ErrorNotice,
  Group,
  NumberInput,
  notify,
  Panel,
  QueryState,
  Radio,
  Stack,
  Text,
} from "@/ui";

type Policy = Schemas["ContentPolicy"];

const POLICIES: readonly { value: Policy; label: string; description: string }[] = [
  { value: "off", label: "Off", description: "No prompt and no answer is stored." },
  {
    value: "redacted",
    label: "Redacted",
    description:
      "Texts are stored without what has the form of a key, an email or IP address, a phone or card number, or an IBAN. Names and postal addresses stay.",
  },
  {
    value: "full",
    label: "Full",
    description: "Texts are stored as they are, encrypted with a key of the tenant.",
  },
];

/** What is stored of prompts and answers, and for how long. */
export function ContentPanel() {
  const privacy = query.useQuery("get", "/api/v1/privacy");
  return (
    <Panel title="Prompts and answers">
      <QueryState what="what is stored" query={privacy} height={370}>
        {(view) => (
          <ContentForm key={`${view.content} ${view.retention_days}`} view={view} onSaved={privacy.refetch} />
        )}
      </QueryState>
    </Panel>
  );
}

function ContentForm({ view, onSaved }: { view: Schemas["PrivacyView"]; onSaved: () => Promise<unknown> }) {
  const access = useAccess("set_privacy");
  const [content, setContent] = useState<Policy>(view.content);
  const [days, setDays] = useState<number | "">(view.retention_days);
  const save = query.useMutation("put", "/api/v1/privacy");
  const dirty = content !== view.content || days !== view.retention_days;
  const submit = async () => {
    if (days === "") {
      return;
    }
    try {
      await save.mutateAsync({ body: { content, retention_days: days } });
      notify("Saved. It holds for requests from now on.");
      await onSaved();
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  return (
    <Stack gap="md">
      <LeaveGuard dirty={dirty} what="change of what is stored" />
      <Radio.Group
        label="What is stored"
        description="Owners and admins can read it, request by request. Each reading is in the audit log."
        value={content}
        onChange={(value) => setContent(value as Policy)}
      >
        <Stack gap="xs" mt="xs">
          {POLICIES.map((policy) => (
            <Radio
              key={policy.value}
              value={policy.value}
              label={policy.label}
              description={policy.description}
              disabled={!access.allowed}
            />
          ))}
        </Stack>
      </Radio.Group>
      <NumberInput
        label="Kept for (days)"
        description="1 to 90 days; then it is removed."
        value={days}
        onChange={(value) => setDays(typeof value === "number" ? value : "")}
        min={1}
        max={90}
        allowDecimal={false}
        maw={240}
        disabled={!access.allowed || content === "off"}
        error={days === "" ? "Enter a number from 1 to 90" : undefined}
      />
      {dirty ? (
        <Text size="sm" role="status">
          {consequence(view, content, days)}
        </Text>
      ) : null}
      {save.error ? <ErrorNotice what="what is stored" error={save.error} change /> : null}
      <Group>
        <ActionButton
          operation="set_privacy"
          onClick={() => void submit()}
          loading={save.isPending}
          disabledReason={dirty ? (days === "" ? "Enter the days first." : undefined) : "Nothing is changed."}
        >
          Save
        </ActionButton>
      </Group>
    </Stack>
  );
}

/** Return what saving changes, in words. */
function consequence(view: Schemas["PrivacyView"], content: Policy, days: number | ""): string {
  if (content === "off") {
    return "Nothing is stored from the next second on. What is stored already goes when its time is over.";
  }
  const kept = days === "" ? "" : ` for ${days} ${days === 1 ? "day" : "days"}`;
  const what = content === "full" ? "complete texts" : "texts without keys and personal data of known forms";
  return view.content === content
    ? `Texts of requests from now on are kept${kept}. What is stored already keeps its end.`
    : `From the next second on, ${what} are stored${kept}. Earlier requests are not affected.`;
}
