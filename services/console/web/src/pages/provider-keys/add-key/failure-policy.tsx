import type { Schemas } from "@/api/client";
import { tenantPath } from "@/navigation";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import { Radio, RouteLink, Stack, Text } from "@/ui";

export type FailurePolicy = Extract<Schemas["KeyPolicy"], "own" | "own_then_platform">;

interface FailurePolicyFieldProps {
  value: FailurePolicy;
  /** What holds for the tenant now; null if it never chose. */
  current: Schemas["KeyPolicy"] | null;
  onChange: (value: FailurePolicy) => void;
}

/** Choose what happens to a request whose key fails. It holds for all keys of the tenant. */
export function FailurePolicyField({ value, current, onChange }: FailurePolicyFieldProps) {
  const tenant = useTenant();
  const access = useAccess("update_own_tenant");
  return (
    <Radio.Group
      label="When this key fails"
      description={
        current === "platform"
          ? "Now only the platform's keys are used here: with either choice, own keys are used from now on."
          : "Holds for all provider keys of the tenant."
      }
      value={value}
      onChange={(chosen) => onChange(chosen === "own_then_platform" ? chosen : "own")}
    >
      <Stack gap="xs" mt="xs">
        <Radio
          value="own"
          disabled={!access.allowed}
          label="Use another of my keys, or stop with an error if none is left"
          description="No request ever moves to another account."
        />
        <Radio
          value="own_then_platform"
          disabled={!access.allowed}
          label="Use another of my keys, then platform credits"
          description="Requests go on, and cost credits while no own key works."
        />
        {value === "own_then_platform" ? (
          <Text size="xs" c="dimmed">
            To limit what may be spent a day, set a{" "}
            <RouteLink to={tenantPath(tenant, "credits")} inherit underline="always">
              daily budget
            </RouteLink>
            . It counts all spending of the tenant.
          </Text>
        ) : null}
        {access.allowed ? null : (
          <Text size="xs" c="dimmed">
            {access.reason}
          </Text>
        )}
      </Stack>
    </Radio.Group>
  );
}
