import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { ActionButton, Alert, Button, ErrorNotice, Group, Loader, Text } from "@/ui";
import { noticeOf, pollAfter, SUPPORT_AFTER_MS } from "./purchase-words";

interface PurchaseNoticeProps {
  purchase: string;
  cancelled: boolean;
  onClose: () => void;
}

const COLORS = { ok: "green", warning: "yellow", error: "red", neutral: "blue" } as const;

/** How far the purchase is from whose payment somebody has come back. A live event refetches it; if none comes, the page asks. */
export function PurchaseNotice({ purchase, cancelled, onClose }: PurchaseNoticeProps) {
  const queries = useQueryClient();
  const found = query.useQuery(
    "get",
    "/api/v1/credits/checkouts/{purchase}",
    { params: { path: { purchase } } },
    { refetchInterval: ({ state }) => pollAfter(state.data, cancelled) },
  );
  const state = found.data?.state;
  useEffect(() => {
    if (state === "credited") {
      void queries.invalidateQueries({
        predicate: ({ queryKey }) =>
          queryKey[1] === "/api/v1/credits" || queryKey[1] === "/api/v1/credits/history",
      });
    }
  }, [state, queries]);
  if (found.error && !found.data) {
    return <ErrorNotice what="the purchase" error={found.error} onRetry={() => void found.refetch()} />;
  }
  if (!found.data) {
    return (
      <Alert color="blue" title="Payment received, adding credits" role="status">
        <Loader size="xs" aria-hidden /> Asking Stripe.
      </Alert>
    );
  }
  return <FoundNotice purchase={found.data} cancelled={cancelled} onClose={onClose} />;
}

function FoundNotice({
  purchase,
  cancelled,
  onClose,
}: {
  purchase: Schemas["Purchase"];
  cancelled: boolean;
  onClose: () => void;
}) {
  const notice = noticeOf(purchase, cancelled);
  const late = useLate(notice.waiting);
  return (
    <Alert
      color={COLORS[notice.kind as keyof typeof COLORS] ?? "blue"}
      title={notice.title}
      role="status"
      withCloseButton={!notice.waiting}
      closeButtonLabel="Close this notice"
      onClose={onClose}
    >
      <Text size="sm">{notice.text}</Text>
      {cancelled && purchase.state === "open" ? <LeftPage purchase={purchase} /> : null}
      {late ? <ReportMissing /> : null}
    </Alert>
  );
}

/** Return whether something has been waited for longer than it should take. */
function useLate(waiting: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!waiting) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), SUPPORT_AFTER_MS);
    return () => clearTimeout(timer);
  }, [waiting]);
  return late;
}

function LeftPage({ purchase }: { purchase: Schemas["Purchase"] }) {
  const queries = useQueryClient();
  const cancel = query.useMutation("post", "/api/v1/credits/checkouts/{purchase}/cancel", {
    onSuccess: () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/credits/checkouts"),
      }),
  });
  return (
    <>
      <Group mt="xs" gap="xs">
        {purchase.url ? (
          <Button size="compact-sm" component="a" href={purchase.url}>
            Go on paying
          </Button>
        ) : null}
        <ActionButton
          operation="cancel_checkout"
          size="compact-sm"
          variant="default"
          loading={cancel.isPending}
          onClick={() => cancel.mutate({ params: { path: { purchase: purchase.purchase } } })}
        >
          Close the page
        </ActionButton>
      </Group>
      {cancel.error ? <ErrorNotice what="the purchase" error={cancel.error} change /> : null}
    </>
  );
}

/** The button for somebody who has paid and does not see the credits: Stripe is asked at once, and what is owed is credited. */
export function ReportMissing() {
  const queries = useQueryClient();
  const check = query.useMutation("post", "/api/v1/credits/payments/check-missing", {
    onSuccess: () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/credits"),
      }),
  });
  return (
    <>
      <Text size="sm" mt="xs">
        This takes longer than it should. Your payment is safe with Stripe; have it checked now:
      </Text>
      <Group mt="xs">
        <ActionButton
          operation="check_missing_credits"
          size="compact-sm"
          variant="default"
          loading={check.isPending}
          onClick={() => check.mutate({})}
        >
          Report missing credits
        </ActionButton>
      </Group>
      {check.data ? (
        <Text size="sm" role="status">
          {check.data.checked} payments were compared with Stripe, and {formatCredits(check.data.credited)}{" "}
          credits added.
        </Text>
      ) : null}
      {check.error ? <ErrorNotice what="the report" error={check.error} change /> : null}
    </>
  );
}
