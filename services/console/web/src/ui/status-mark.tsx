import { Group, Text, useComputedColorScheme } from "@mantine/core";
import type { ReactNode } from "react";
import { ErrorIcon, InfoIcon, NeutralIcon, OkIcon, WarningIcon } from "./icons";
import { STATUS_COLORS, type StatusKind } from "./theme";

const ICONS = {
  ok: OkIcon,
  warning: WarningIcon,
  error: ErrorIcon,
  neutral: NeutralIcon,
  info: InfoIcon,
} as const;

/** Show a status by icon, word and colour together. */
export function StatusMark({ kind, children }: { kind: StatusKind; children: ReactNode }) {
  const scheme = useComputedColorScheme("light");
  const Icon = ICONS[kind];
  return (
    <Group component="span" gap={4} wrap="nowrap" display="inline-flex" c={STATUS_COLORS[kind][scheme]}>
      <Icon size={16} aria-hidden />
      <Text span size="sm" fw={500} inherit>
        {children}
      </Text>
    </Group>
  );
}
