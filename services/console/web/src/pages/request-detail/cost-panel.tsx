import { placeOf } from "@/components/request-words";
import { addDecimals, sameDecimal } from "@/format/decimals";
import { formatCount } from "@/format/numbers";
import { Money, Panel, Table, Text, Title } from "@/ui";
import type { LedgerRow, RequestRecords } from "./records";

type Arithmetic = RequestRecords["arithmetic"][number];

const KINDS: Record<string, string> = {
  input: "Input tokens",
  output: "Output tokens",
  reasoning: "Reasoning tokens",
  cached_read: "Tokens read from the cache",
  cache_write: "Tokens written to the cache",
  cache_write_1h: "Tokens written to the cache for an hour",
  audio: "Audio tokens",
  audio_output: "Audio tokens of the answer",
  image: "Image tokens",
  image_output: "Image tokens of the answer",
};

/** How cost and charge come about: tokens times price, line by line, and their sum. */
export function CostPanel({ records }: { records: RequestRecords }) {
  const free = records.attempts.filter(isFree);
  const known = records.attempts.flatMap((row) => row.cost_usd ?? []);
  return (
    <Panel title="Cost">
      {records.attempts.map((row, index) =>
        isFree(row) ? null : (
          <AttemptCost
            key={row.record.attempt_id}
            row={row}
            arithmetic={records.arithmetic[index]}
            titled={records.attempts.length > 1}
          />
        ),
      )}
      {free.length > 0 ? (
        <Text size="sm" c="dimmed">
          {free.length === records.attempts.length
            ? "Nothing was used that costs money."
            : `${free.length === 1 ? "Attempt" : "Attempts"} ${free.map((row) => row.record.attempt_number).join(", ")}: nothing was used that costs money.`}
        </Text>
      ) : null}
      {records.attempts.length - free.length > 1 && known.length === records.attempts.length ? (
        <Text size="sm" fw={600} className="numeric">
          All attempts ${addDecimals(known)}
        </Text>
      ) : null}
    </Panel>
  );
}

function isFree(row: LedgerRow): boolean {
  return row.pricing === "free" && (!row.cost_usd || Number(row.cost_usd) === 0);
}

interface AttemptCostProps {
  row: LedgerRow;
  arithmetic: Arithmetic | undefined;
  titled: boolean;
}

function AttemptCost({ row, arithmetic, titled }: AttemptCostProps) {
  const lines = arithmetic?.lines ?? [];
  const perRequest = arithmetic?.per_request_usd ?? null;
  const parts = [...lines.map((line) => line.cost_usd), ...(perRequest === null ? [] : [perRequest])];
  const exact = row.cost_usd ? parts.length > 0 && sameDecimal(addDecimals(parts), row.cost_usd) : false;
  const title = `Attempt ${row.record.attempt_number}: ${placeOf(row.record)}`;
  return (
    <div>
      {titled ? (
        <Title order={3} size="sm">
          {title}
        </Title>
      ) : null}
      {exact ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section className="table-region" tabIndex={0} aria-label={`Cost of ${title}`}>
          <Table verticalSpacing={4} miw={420}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">What</Table.Th>
                <Table.Th scope="col" className="numeric">
                  Tokens
                </Table.Th>
                <Table.Th scope="col" className="numeric">
                  USD per million
                </Table.Th>
                <Table.Th scope="col" className="numeric">
                  USD
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {lines.map((line) => (
                <Table.Tr key={line.kind}>
                  <Table.Td>{KINDS[line.kind] ?? line.kind}</Table.Td>
                  <Table.Td className="numeric">{formatCount(line.tokens)}</Table.Td>
                  <Table.Td className="numeric">{line.usd_per_million}</Table.Td>
                  <Table.Td className="numeric">{line.cost_usd}</Table.Td>
                </Table.Tr>
              ))}
              {perRequest === null ? null : (
                <Table.Tr>
                  <Table.Td>Fixed price of a request</Table.Td>
                  <Table.Td />
                  <Table.Td />
                  <Table.Td className="numeric">{perRequest}</Table.Td>
                </Table.Tr>
              )}
              <Table.Tr>
                <Table.Th scope="row">Sum</Table.Th>
                <Table.Td />
                <Table.Td />
                <Table.Td className="numeric" fw={600}>
                  {addDecimals(parts)}
                </Table.Td>
              </Table.Tr>
            </Table.Tbody>
          </Table>
        </section>
      ) : (
        <Text size="sm">{withoutLines(row)}</Text>
      )}
      <Text size="sm" c="dimmed" mt={4}>
        {arithmetic ? <Charge arithmetic={arithmetic} row={row} /> : null}
        {row.price_version ? ` Prices: ${row.price_version}.` : ""}
        {row.record.usage_source === "estimated"
          ? " The tokens are estimated: the provider reported none."
          : ""}
        {row.before_rerating ? " The amounts were corrected after a change of prices." : ""}
      </Text>
    </div>
  );
}

function withoutLines(row: LedgerRow): string {
  if (row.pricing === "unpriced" || !row.cost_usd) {
    return "The cost is unknown: no price of this model is known, or the provider reported no usage.";
  }
  if (Number(row.cost_usd) === 0) {
    return "Nothing was used that costs money.";
  }
  return `$${row.cost_usd}. The prices have changed since, so that the single lines are not known any more.`;
}

function Charge({ arithmetic, row }: { arithmetic: Arithmetic; row: LedgerRow }) {
  const {
    charge_micro_usd: charge,
    fee_micro_usd: fee,
    factor,
    multiplier,
    markup_percent: markup,
  } = arithmetic;
  const own = row.record.key_source === "byok" || row.record.key_source === "custom";
  if (typeof charge !== "number") {
    return own ? (
      <>The provider bills this to your own account; no credits were used.</>
    ) : (
      <>No credits were used.</>
    );
  }
  const terms = [
    multiplier ? `level ${multiplier}` : "",
    markup && Number(markup) !== 0 ? `markup ${markup} %` : "",
  ].filter(Boolean);
  return (
    <>
      Charged in credits: <Money micro={charge} exact />
      {typeof fee === "number"
        ? ", a fee for a request with an own key"
        : factor
          ? ` (cost × ${factor}${terms.length > 0 ? `: ${terms.join(", ")}` : ""})`
          : ""}
      {arithmetic.absorbed_micro_usd ? (
        <>
          ; <Money micro={arithmetic.absorbed_micro_usd} exact /> beyond the hold was not charged
        </>
      ) : null}
      .
    </>
  );
}
