import { memo } from "react";
import { OutcomeMark } from "@/components/outcome-mark";
import { KEY_SOURCE_WORDS, type LoggedRequest } from "@/components/request-words";
import { formatDuration } from "@/format/duration";
import { RouteLink, Text, Time, UsdText } from "@/ui";
import { ModelCell, requestPath } from "./cells";

/** Requests as a list of cards, where there is no room for a table. */
export const RequestCards = memo(function RequestCards({
  rows,
  basePath,
}: {
  rows: readonly LoggedRequest[];
  basePath: string;
}) {
  return (
    <ul className="request-cards">
      {rows.map((row) => (
        <li key={row.request_id} className="request-card">
          <RouteLink to={requestPath(basePath, row.request_id)}>
            <Time iso={row.started_at} />
          </RouteLink>
          <OutcomeMark outcome={row.outcome} errorClass={row.error_class} />
          <ModelCell row={row} />
          <span className="numeric">
            {(row.attempts?.length ?? 0) === 0 ? "not charged" : <UsdText dollars={row.cost_usd} exact />}
          </span>
          <Text span size="xs" c="dimmed">
            {[row.operation, row.key_source ? KEY_SOURCE_WORDS[row.key_source] : null, attemptWords(row)]
              .filter(Boolean)
              .join(" · ")}
          </Text>
          <Text span size="xs" c="dimmed" className="numeric">
            {row.latency_ms === null || row.latency_ms === undefined ? "" : formatDuration(row.latency_ms)}
          </Text>
        </li>
      ))}
    </ul>
  );
});

function attemptWords(row: LoggedRequest): string | null {
  const count = row.attempts?.length ?? 0;
  return count > 1 ? `${count} attempts` : null;
}
