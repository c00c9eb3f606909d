import { Text } from "@mantine/core";
import { formatDollars, formatExact, formatTotal, type MicroUsd } from "@/format/money";

interface MoneyProps {
  /** Micro-dollars; null if the amount is unknown. */
  micro: MicroUsd | null | undefined;
  /** Show all six decimals, for single requests. */
  exact?: boolean;
}

/** Show an amount of micro-dollars; the exact one is in its title. */
export function Money({ micro, exact = false }: MoneyProps) {
  if (micro === null || micro === undefined) {
    return (
      <Text span inherit title="Not known: no price is known for some of this.">
        unknown
      </Text>
    );
  }
  return (
    <Text span inherit className="tabular" title={formatExact(micro)}>
      {exact ? formatExact(micro) : formatTotal(micro)}
    </Text>
  );
}

/** Show an amount that the API gives as a decimal number of dollars. */
export function UsdText({ dollars, exact = false }: { dollars: string | null | undefined; exact?: boolean }) {
  if (dollars === null || dollars === undefined) {
    return <Money micro={null} />;
  }
  return (
    <Text span inherit className="tabular" title={formatDollars(dollars, true)}>
      {formatDollars(dollars, exact)}
    </Text>
  );
}
