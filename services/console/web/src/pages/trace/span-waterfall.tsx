import { useState } from "react";
import { countOf } from "@/format/numbers";
import { Button, Panel, Text, UnstyledButton } from "@/ui";
import { Waterfall } from "@/ui/charts";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";
import { SpanDetail } from "./span-detail";
import { slowClocks, type Trace, type TraceRow, traceRows } from "./span-rows";

const FIRST_SHOWN = 200;

/** The spans of a trace from left to right in time; each can be opened. */
export function SpanWaterfall({ trace }: { trace: Trace }) {
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const [most, setMost] = useState(FIRST_SHOWN);
  const toggle = (id: string) => {
    const next = new Set(opened);
    if (!next.delete(id)) {
      next.add(id);
    }
    setOpened(next);
  };
  const rows = traceRows(trace, most).map((row) => ({
    ...row,
    label: <Label row={row} opened={opened.has(row.id)} onToggle={() => toggle(row.id)} />,
    detail: row.span && opened.has(row.id) ? <SpanDetail span={row.span} /> : undefined,
  }));
  const hidden = trace.rows.length - most;
  const slow = slowClocks(trace);
  return (
    <Panel title="Where the time went">
      <Waterfall
        rows={rows}
        total={Math.max(trace.duration_us / 1000, 0.001)}
        label="The spans of the trace, each below the one that called it"
      />
      {hidden > 0 ? (
        <Button variant="default" size="compact-sm" onClick={() => setMost(trace.rows.length)}>
          Show {countOf(hidden, "more span")}
        </Button>
      ) : null}
      {trace.omitted > 0 ? (
        <Text size="sm">
          {countOf(trace.omitted, "more span")} or so are stored and not shown: a trace is shown up to a
          limit.
        </Text>
      ) : null}
      {slow.length > 0 ? (
        <Text size="sm">
          The clocks of these processes are slow; their spans are shown later by the time in brackets:{" "}
          {slow.join(", ")}.
        </Text>
      ) : null}
    </Panel>
  );
}

function Label({ row, opened, onToggle }: { row: TraceRow; opened: boolean; onToggle: () => void }) {
  if (row.span === null) {
    return (
      <Text span inherit c="dimmed" className="trace-name">
        {row.name}
      </Text>
    );
  }
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  return (
    <UnstyledButton className="trace-name trace-span" fz="sm" aria-expanded={opened} onClick={onToggle}>
      <Chevron size={14} aria-hidden />
      <span>
        {row.name}{" "}
        <Text span size="xs" c="dimmed">
          {row.service}
        </Text>
        {row.span.error ? (
          <Text span size="xs" fw={600}>
            {" "}
            failed: {row.span.error.replaceAll("_", " ")}
          </Text>
        ) : null}
      </span>
    </UnstyledButton>
  );
}
