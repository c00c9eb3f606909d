import { query, type Schemas } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import { formatCredits } from "@/format/credits";
import {
  Anchor,
  type Column,
  DataTable,
  EmptyState,
  LoadMore,
  Panel,
  QueryState,
  StatusMark,
  Text,
  Time,
} from "@/ui";

type Payment = Schemas["Payment"];

const STATES: Record<Payment["state"], { kind: "ok" | "warning" | "error" | "neutral"; words: string }> = {
  paid: { kind: "ok", words: "Paid" },
  partly_refunded: { kind: "neutral", words: "Partly refunded" },
  refunded: { kind: "neutral", words: "Refunded" },
  disputed: { kind: "warning", words: "Disputed" },
  dispute_lost: { kind: "error", words: "Dispute lost" },
  parked: { kind: "warning", words: "Being looked at" },
};

const COLUMNS: readonly Column<Payment>[] = [
  { id: "paid_at", header: "Paid", rowHeader: true, cell: (payment) => <Time iso={payment.paid_at} /> },
  { id: "amount", header: "Amount", numeric: true, cell: (payment) => payment.amount },
  { id: "credits", header: "Credits", numeric: true, cell: (payment) => formatCredits(payment.credits) },
  {
    id: "taken_back",
    header: "Taken back",
    numeric: true,
    cell: (payment) => (payment.taken_back === "0" ? "" : formatCredits(payment.taken_back)),
  },
  {
    id: "state",
    header: "State",
    cell: (payment) => (
      <>
        <StatusMark kind={STATES[payment.state].kind}>{STATES[payment.state].words}</StatusMark>
        {payment.detail ? <Text size="xs">{payment.detail}</Text> : null}
      </>
    ),
  },
  {
    id: "receipt",
    header: "Receipt",
    cell: (payment) =>
      payment.receipt_url ? (
        <Anchor href={payment.receipt_url} target="_blank" rel="noreferrer" size="sm">
          Receipt at Stripe
        </Anchor>
      ) : (
        ""
      ),
  },
];

/** What was paid, with receipts, refunds and disputes. */
export function PaymentsPanel() {
  const payments = query.useInfiniteQuery(
    "get",
    "/api/v1/credits/payments",
    { params: { query: { limit: 50 } } },
    BY_PAGES,
  );
  const rows = payments.data?.pages.flatMap((page) => page.payments) ?? [];
  return (
    <Panel title="Payments">
      <QueryState what="the payments" query={{ ...payments, isFetching: payments.isPending }} height={160}>
        {() => (
          <>
            <DataTable
              caption="Payments"
              columns={COLUMNS}
              rows={rows}
              rowKey={(payment) => payment.payment_id}
              empty={<EmptyState title="Nothing was paid yet" />}
            />
            {rows.length > 0 ? (
              <LoadMore
                shown={rows.length}
                noun="payments"
                more={payments.hasNextPage}
                busy={payments.isFetchingNextPage}
                onMore={() => void payments.fetchNextPage()}
              />
            ) : null}
          </>
        )}
      </QueryState>
    </Panel>
  );
}
