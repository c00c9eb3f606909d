import { Group, Paper, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { RouteLink } from "./route-link";

interface StatTileProps {
  label: string;
  value: ReactNode;
  /** The exact value, for a title. */
  exact?: string;
  /** The change against the previous period in thousandths; null if there is none. */
  changePermille?: number | null;
  /** Whether more is better, worse, or neither. */
  direction?: "up-is-good" | "up-is-bad" | "neutral";
  detail?: ReactNode;
  /** The path of the list that adds up to the value. */
  to?: string;
}

/** One figure with its change against the previous period. */
export function StatTile({
  label,
  value,
  exact,
  changePermille,
  direction = "neutral",
  detail,
  to,
}: StatTileProps) {
  return (
    <Paper withBorder p="md" role="group" aria-label={label}>
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Group justify="space-between" align="baseline" gap="xs">
        <Text component="span" fz={26} lh={1.3} fw={700} className="tabular" title={exact}>
          {to ? (
            <RouteLink to={to} underline="hover" c="inherit" inherit>
              {value}
            </RouteLink>
          ) : (
            value
          )}
        </Text>
        {changePermille === null || changePermille === undefined ? null : (
          <Change permille={changePermille} direction={direction} />
        )}
      </Group>
      {detail ? (
        <Text component="div" size="xs" c="dimmed">
          {detail}
        </Text>
      ) : null}
    </Paper>
  );
}

function Change({ permille, direction }: { permille: number; direction: StatTileProps["direction"] }) {
  const good =
    permille === 0 || direction === "neutral" ? null : permille > 0 === (direction === "up-is-good");
  const color =
    good === null ? "dimmed" : good ? "light-dark(#237032, #69db7c)" : "light-dark(#c92a2a, #ffa8a8)";
  const words = permille === 0 ? "no change" : `${permille > 0 ? "up" : "down"} ${Math.abs(permille) / 10} %`;
  return (
    <Text size="xs" fw={600} c={color} className="tabular" title={`${words} against the previous period`}>
      {permille > 0 ? "↗" : permille < 0 ? "↘" : "→"} {Math.abs(permille) / 10} %
    </Text>
  );
}
