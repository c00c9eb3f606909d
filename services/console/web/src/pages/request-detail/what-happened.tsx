import { Panel, Text } from "@/ui";
import { Waterfall } from "@/ui/charts";
import { type RequestRecords, stateOf } from "./records";
import { waterfallRows } from "./waterfall-rows";

/** Where the time of the request went, step by step. */
export function WhatHappened({
  records,
  names,
}: {
  records: RequestRecords;
  names: ReadonlyMap<string, string>;
}) {
  const { rows, total } = waterfallRows(records, names);
  return (
    <Panel title="What happened">
      <Waterfall rows={rows} total={total} label="The steps of the request in order of time" />
      {stateOf(records) === "running" ? (
        <Text size="sm" role="status">
          More steps appear here once they are recorded.
        </Text>
      ) : null}
    </Panel>
  );
}
