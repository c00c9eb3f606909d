import { query } from "@/api/client";
import { MultiSelect, Stack, Switch } from "@/ui";

interface ChannelChoiceProps {
  /** Null for the usual channels. */
  chosen: readonly string[] | null;
  onChange: (chosen: readonly string[] | null) => void;
}

/** By which channels a rule notifies: the usual ones, or some of all. */
export function ChannelChoice({ chosen, onChange }: ChannelChoiceProps) {
  const channels = query.useQuery("get", "/api/v1/notification-channels");
  return (
    <Stack gap="xs">
      <Switch
        label="Notify by the usual channels"
        checked={chosen === null}
        onChange={(event) => onChange(event.currentTarget.checked ? null : [])}
      />
      {chosen === null ? null : (
        <MultiSelect
          label="Channels"
          description="None: the alert is shown on this page alone."
          value={[...chosen]}
          onChange={onChange}
          data={(channels.data?.channels ?? []).map((each) => ({ value: each.channel_id, label: each.name }))}
        />
      )}
    </Stack>
  );
}
