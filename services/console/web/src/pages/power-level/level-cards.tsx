import { formatDuration } from "@/format/duration";
import { formatTotal } from "@/format/money";
import { Badge, Box, Group, Money, Radio, SimpleGrid, Skeleton, Stack, Text } from "@/ui";
import {
  type Compared,
  type Comparison,
  differenceOf,
  LEVEL_WORDS,
  LEVELS,
  type Level,
  percent,
} from "./levels";

interface LevelCardsProps {
  comparison: Comparison | undefined;
  /** The level in force in the scope. */
  current: Level;
  chosen: Level;
  /** Whether the comparison is still being made. */
  waiting: boolean;
  readOnly: boolean;
  onChoose: (level: Level) => void;
}

/** Three cards, one per level, with what it would make of the tenant's own traffic. */
export function LevelCards({ comparison, current, chosen, waiting, readOnly, onChoose }: LevelCardsProps) {
  return (
    <Radio.Group
      value={chosen}
      onChange={(level) => onChoose(LEVELS.find((each) => each === level) ?? current)}
      aria-label="Power level"
    >
      <SimpleGrid cols={{ base: 1, sm: 3 }}>
        {LEVELS.map((level) => {
          const compared = comparison?.levels.find((each) => each.level === level);
          const impossible = compared !== undefined && !compared.possible && level !== current;
          return (
            <Radio.Card
              key={level}
              value={level}
              p="md"
              radius="md"
              className="level-card"
              disabled={readOnly || impossible}
              aria-label={LEVEL_WORDS[level].title}
              aria-describedby={`level-${level}`}
            >
              <Stack gap="xs" id={`level-${level}`}>
                <Group gap="sm" wrap="nowrap">
                  <Radio.Indicator disabled={readOnly || impossible} />
                  <Text fw={700}>{LEVEL_WORDS[level].title}</Text>
                  {level === current ? (
                    <Badge variant="light" tt="none" color="cyan.9" className="current-badge">
                      In force
                    </Badge>
                  ) : null}
                </Group>
                <Text size="sm">{LEVEL_WORDS[level].help}</Text>
                <Box mih={150}>
                  {comparison && compared ? (
                    <Figures comparison={comparison} compared={compared} current={current} />
                  ) : waiting ? (
                    <Skeleton height={150} />
                  ) : null}
                </Box>
              </Stack>
            </Radio.Card>
          );
        })}
      </SimpleGrid>
    </Radio.Group>
  );
}

interface FiguresProps {
  comparison: Comparison;
  compared: Compared;
  current: Level;
}

function Figures({ comparison, compared, current }: FiguresProps) {
  if (!compared.possible) {
    return (
      <Text size="sm" c="error">
        Not possible: {compared.reason ?? "no model of your keys is good enough"}
      </Text>
    );
  }
  if (comparison.requests === 0) {
    return <Text size="sm">Ordinary request: {compared.model ?? "no model"}</Text>;
  }
  const difference = differenceOf(comparison, compared.level, current);
  return (
    <Stack gap={6}>
      <Text fz={26} lh={1.2} fw={700} className="tabular">
        <Money micro={compared.amounts.spend_micro_usd} />
        <Text span size="sm" fw={400} c="dimmed">
          {" "}
          a month
        </Text>
      </Text>
      <Text size="sm" fw={600} className="tabular">
        {compared.level === current ? "What you have now" : differenceInWords(difference)}
      </Text>
      <Group gap="lg">
        <Text size="sm">
          P95{" "}
          {compared.p95_ms === null || compared.p95_ms === undefined
            ? "unknown"
            : formatDuration(compared.p95_ms)}
        </Text>
        <Text size="sm">
          Quality {compared.quality ?? "unknown"}
          {typeof compared.quality === "number" ? " of 100" : ""}
        </Text>
      </Group>
      <Text size="sm">Ordinary request: {compared.model ?? "no model"}</Text>
      {compared.changed_permille ? (
        <Text size="sm">{percent(compared.changed_permille)} of your requests get another model.</Text>
      ) : null}
      {compared.refused_permille ? (
        <Text size="sm" c="error">
          {percent(compared.refused_permille)} of your requests would be refused.
        </Text>
      ) : null}
      {compared.amounts.unpriced_permille ? (
        <Text size="xs" c="dimmed">
          {percent(compared.amounts.unpriced_permille)} have no known price and are not in the amount.
        </Text>
      ) : null}
    </Stack>
  );
}

/** Return a difference of a month in words. */
export function differenceInWords(micro: number | null): string {
  if (micro === null) {
    return "Difference unknown";
  }
  if (micro === 0) {
    return "Costs the same";
  }
  return micro > 0 ? `${formatTotal(micro)} more a month` : `${formatTotal(-micro)} less a month`;
}
