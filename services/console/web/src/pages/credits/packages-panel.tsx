import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { formatDollars } from "@/format/money";
import { ActionButton, Checkbox, ErrorNotice, Panel, QueryState, Radio, Stack, Text, TextInput } from "@/ui";
import { creditsFor, readAmount } from "./purchase-words";

type Packages = Schemas["Packages"];
type Package = Schemas["Package"];
const CUSTOM = "custom";

/** Packages of credits and any other amount, paid on Stripe's page. */
export function PackagesPanel() {
  const packages = query.useQuery("get", "/api/v1/credits/packages");
  return (
    <Panel title="Buy credits">
      <QueryState what="the packages" query={{ ...packages, isFetching: packages.isPending }} height={220}>
        {(data) => (data.configured ? <BuyForm packages={data} /> : <NotConfigured packages={data} />)}
      </QueryState>
    </Panel>
  );
}

function NotConfigured({ packages }: { packages: Packages }) {
  return (
    <Text size="sm">
      This installation takes no payments yet. Until then its operator grants credits: ask them, and name the
      tenant. {packages.packages.length > 0 ? `Packages begin at $${packages.packages[0]?.price_usd}.` : null}
    </Text>
  );
}

/** Return the text of a package: price, credits, and what 1000 of them cost. */
export function packageText(each: Package): string {
  const saved = each.saving_percent > 0 ? `, ${each.saving_percent} % less` : "";
  const rate = formatDollars(each.usd_per_1000_credits);
  return `${formatDollars(each.price_usd)} for ${formatCredits(each.credits)} credits (${rate} per 1,000${saved})`;
}

/**
 * One key for one order. It is made anew when the order changes, so that a double click, or a click after a lost answer, opens the
 * same page of Stripe, which can be paid once.
 */
function useOrderKey(order: string): string {
  const [made, setMade] = useState({ order, key: crypto.randomUUID() });
  if (made.order === order) {
    return made.key;
  }
  const next = { order, key: crypto.randomUUID() };
  setMade(next);
  return next.key;
}

function useBuy() {
  const queries = useQueryClient();
  const [leaving, setLeaving] = useState(false);
  const create = query.useMutation("post", "/api/v1/credits/checkouts", {
    onSuccess: (made) => {
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[1] === "/api/v1/credits/checkouts",
      });
      if (made.url) {
        setLeaving(true);
        window.location.assign(made.url);
      }
    },
  });
  return { create, busy: create.isPending || leaving };
}

function BuyForm({ packages }: { packages: Packages }) {
  const [chosen, setChosen] = useState(packages.packages[0]?.package ?? CUSTOM);
  const [typed, setTyped] = useState("");
  const [keep, setKeep] = useState(false);
  const { create, busy } = useBuy();
  const bounds = packages.custom ?? null;
  const read = chosen === CUSTOM && bounds ? readAmount(typed, bounds) : null;
  const problem = read && "problem" in read ? read.problem : null;
  const amount = read && "amount" in read ? read.amount : null;
  const key = useOrderKey(`${chosen} ${amount} ${keep}`);
  const submit = () => {
    if (busy || (chosen === CUSTOM && amount === null)) {
      return;
    }
    const order = chosen === CUSTOM ? { price_usd: amount } : { package: chosen };
    const return_path = window.location.pathname;
    create.mutate({ body: { ...order, return_path, save_payment_method: keep, idempotency_key: key } });
  };
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="sm">
        <Radio.Group label="How many" value={chosen} onChange={setChosen}>
          <Stack gap={6} mt={6}>
            {packages.packages.map((each) => (
              <Radio key={each.package} value={each.package} label={packageText(each)} />
            ))}
            {bounds ? <Radio value={CUSTOM} label="Any other amount, 1,000 credits a dollar" /> : null}
          </Stack>
        </Radio.Group>
        {chosen === CUSTOM && bounds ? (
          <TextInput
            label="Amount in US dollars"
            description={
              amount ? `Buys ${creditsFor(amount)} credits` : `From $${bounds.from_usd} to $${bounds.to_usd}`
            }
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            error={typed === "" ? null : problem}
            inputMode="decimal"
            required
          />
        ) : null}
        <Checkbox
          label="Keep the payment method for automatic top-ups"
          checked={keep}
          onChange={(event) => setKeep(event.currentTarget.checked)}
        />
        <ActionButton
          operation="create_checkout"
          type="submit"
          loading={busy}
          disabledReason={chosen === CUSTOM && amount === null ? "Enter an amount first." : undefined}
        >
          Pay with Stripe
        </ActionButton>
        <Text size="xs" c="dimmed">
          You pay on Stripe's page and come back here. Card numbers never reach this installation.
        </Text>
        {create.error ? <ErrorNotice what="the purchase" error={create.error} change /> : null}
      </Stack>
    </form>
  );
}
