import { useState } from "react";
import { Button, Group, TextInput } from "@/ui";
import type { PageSearch } from "@/url/search";
import { type AUDIT_SEARCH, fromLocalField, toLocalField } from "./filters";

/** Fields for actor, action, target and time; they count when they are applied. */
export function AuditFilterBar({ search }: { search: PageSearch<typeof AUDIT_SEARCH> }) {
  const { values } = search;
  const [draft, setDraft] = useState(values);
  const [applied, setApplied] = useState(values);
  if (applied !== values) {
    // The address has changed, by Back or by a link: the fields follow it.
    setApplied(values);
    setDraft(values);
  }
  const set = (patch: Partial<typeof draft>) => setDraft((before) => ({ ...before, ...patch }));
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        search.change(draft, "push");
      }}
    >
      <Group align="flex-end" gap="sm">
        <TextInput
          label="Actor"
          description="The id of a person, a program or a service"
          value={draft.actor}
          onChange={(event) => set({ actor: event.currentTarget.value.trim() })}
          data-search
        />
        <TextInput
          label="Action"
          description="Such as key, or key.add"
          value={draft.action}
          onChange={(event) => set({ action: event.currentTarget.value.trim() })}
        />
        <TextInput
          label="Object"
          description="What was changed"
          value={draft.target}
          onChange={(event) => set({ target: event.currentTarget.value })}
        />
        <TextInput
          type="datetime-local"
          label="From"
          value={toLocalField(draft.since)}
          onChange={(event) => set({ since: fromLocalField(event.currentTarget.value) })}
        />
        <TextInput
          type="datetime-local"
          label="Before"
          value={toLocalField(draft.until)}
          onChange={(event) => set({ until: fromLocalField(event.currentTarget.value) })}
        />
        <Button type="submit" variant="default">
          Apply
        </Button>
      </Group>
    </form>
  );
}
