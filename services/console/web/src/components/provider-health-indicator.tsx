import { Box, StatusMark, Time, Tooltip } from "@/ui";
import {
  CONDITION_KINDS,
  CONDITION_WORDS,
  conditionOf,
  type ProviderCondition,
  targetsOf,
} from "./provider-health";
import { useHealth } from "./use-health";

interface ProviderHealthIndicatorProps {
  /** The name of the provider, such as `openai`. */
  provider: string;
  /** The name of an own server of the tenant, whose health is asked for instead. */
  endpoint?: string | null | undefined;
  /** Leave out since when: where there is little room. */
  short?: boolean;
}

/** Show whether a provider answers, by icon, word and since when. Nothing is shown until that is known. */
export function ProviderHealthIndicator({ provider, endpoint, short = false }: ProviderHealthIndicatorProps) {
  const health = useHealth();
  if (!health.data) {
    return null;
  }
  const state = conditionOf(targetsOf(health.data.targets, provider, endpoint ?? null));
  return <ConditionMark state={state} short={short} />;
}

/** Show a condition by icon, word and since when; its reason is in a tooltip. */
export function ConditionMark({ state, short = false }: { state: ProviderCondition; short?: boolean }) {
  const mark = (
    <StatusMark kind={CONDITION_KINDS[state.condition]}>
      {CONDITION_WORDS[state.condition]}
      {state.since && !short ? (
        <>
          {" since "}
          <Time iso={state.since} clock />
        </>
      ) : null}
    </StatusMark>
  );
  if (state.reason === "") {
    return mark;
  }
  return (
    <Tooltip label={state.reason}>
      <Box component="span" tabIndex={0}>
        {mark}
      </Box>
    </Tooltip>
  );
}
