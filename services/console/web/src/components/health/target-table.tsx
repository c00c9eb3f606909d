import { formatDuration } from "@/format/duration";
import { formatCount, formatShare } from "@/format/numbers";
import { Button, Collapse, type Column, DataTable, useDisclosure } from "@/ui";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";
import { type HealthGroup, stateWord } from "../health-groups";
import { reasonOf, type TargetHealth } from "../provider-health";
import { useNames } from "../use-names";

const KEY_CLASSES = { platform: "Platform keys", own: "Own keys", none: "No key" } as const;

function columns(names: ReadonlyMap<string, string>): readonly Column<TargetHealth>[] {
  const time = (milliseconds: number | null | undefined) =>
    milliseconds === null || milliseconds === undefined ? "–" : formatDuration(milliseconds);
  return [
    { id: "model", header: "Model", rowHeader: true, cell: ({ target }) => target.model },
    { id: "keys", header: "Called with", cell: (row) => calledWith(row, names) },
    {
      id: "state",
      header: "Circuit",
      cell: (row) => (row.state === "closed" ? stateWord(row) : `${stateWord(row)}: ${reasonOf(row)}`),
    },
    { id: "calls", header: "Attempts", numeric: true, cell: (row) => formatCount(row.samples ?? 0) },
    {
      id: "success",
      header: "Success",
      numeric: true,
      cell: (row) => (row.samples ? formatShare(1 - (row.failures ?? 0) / row.samples) : "–"),
    },
    { id: "p50", header: "P50", numeric: true, cell: (row) => time(row.p50_ms) },
    { id: "p95", header: "P95", numeric: true, cell: (row) => time(row.p95_ms) },
    { id: "ttft", header: "TTFT", numeric: true, cell: (row) => time(row.first_token_p50_ms) },
  ];
}

function calledWith({ target }: TargetHealth, names: ReadonlyMap<string, string>): string {
  if (target.key_id) {
    return names.get(target.key_id) ?? "One key";
  }
  const whose = KEY_CLASSES[target.key_class ?? "own"];
  return target.tenant && !target.endpoint ? `${whose}, only ${target.tenant}` : whose;
}

/** The models of an address, each with its circuit: everybody's attempts within five minutes. */
export function TargetTable({ group }: { group: HealthGroup }) {
  const [opened, { toggle }] = useDisclosure(false);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  const count = new Set(group.targets.map(({ target }) => target.model)).size;
  return (
    <div>
      <Button
        variant="subtle"
        size="compact-sm"
        leftSection={<Chevron size={14} aria-hidden />}
        onClick={toggle}
        aria-expanded={opened}
      >
        {opened ? "Hide models" : `Show ${count === 1 ? "1 model" : `${count} models`}`}
      </Button>
      <Collapse expanded={opened}>{opened ? <Targets group={group} /> : null}</Collapse>
    </div>
  );
}

function Targets({ group }: { group: HealthGroup }) {
  const withKeys = group.targets.some(({ target }) => target.key_id);
  return withKeys ? <NamedTargets group={group} /> : <TargetRows group={group} names={NO_NAMES} />;
}

const NO_NAMES: ReadonlyMap<string, string> = new Map();

function NamedTargets({ group }: { group: HealthGroup }) {
  return <TargetRows group={group} names={useNames()} />;
}

function TargetRows({ group, names }: { group: HealthGroup; names: ReadonlyMap<string, string> }) {
  return (
    <DataTable
      caption={`Models of ${group.name}, attempts within five minutes`}
      columns={columns(names)}
      rows={group.targets}
      rowKey={({ target }) =>
        [target.model, target.key_class, target.tenant, target.key_id, target.origin].join(" ")
      }
    />
  );
}
