import { Box, StatusMark, Tooltip } from "@/ui";
import { keyState, type ProviderKey } from "./key-status";

/** The status of a key by icon and word; why and what to do are in a tooltip. */
export function KeyStateMark({ providerKey }: { providerKey: ProviderKey }) {
  const state = keyState(providerKey);
  const mark = <StatusMark kind={state.kind}>{state.word}</StatusMark>;
  if (state.reason === "") {
    return mark;
  }
  return (
    <Tooltip label={`${state.reason} ${state.fix}`}>
      <Box component="span" tabIndex={0}>
        {mark}
      </Box>
    </Tooltip>
  );
}
