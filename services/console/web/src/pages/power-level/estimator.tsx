import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Schemas } from "@/api/client";
import { formatTotal } from "@/format/money";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import {
  Button,
  type Column,
  DataTable,
  EmptyState,
  Group,
  Input,
  NativeSelect,
  NumberInput,
  Panel,
  QueryState,
  SimpleGrid,
  Slider,
  Stack,
  Text,
  useDebouncedValue,
} from "@/ui";
import {
  atPosition,
  type Comparison,
  LEVEL_WORDS,
  operationKey,
  operationName,
  type Prefill,
  perMonth,
  positionOf,
  prefillOf,
} from "./levels";

const FALLBACK: Prefill = { requestsPerDay: 100, input: 1000, output: 500 };
const MOST_REQUESTS = 1_000_000;
const MOST_TOKENS = 200_000;
const PAUSE_MS = 300;

/** What requests of a size would cost at each level. It begins with the tenant's own traffic. */
export function Estimator({ comparison }: { comparison: Comparison }) {
  const access = useAccess("estimate_cost");
  return (
    <Panel title="Cost estimator">
      {access.allowed ? (
        <EstimatorForm comparison={comparison} />
      ) : (
        <EmptyState title="Estimates are for developers, admins and owners">{access.reason}</EmptyState>
      )}
    </Panel>
  );
}

function EstimatorForm({ comparison }: { comparison: Comparison }) {
  const operations = (comparison.operations ?? []).filter((each) => each.input_tokens && !each.rest);
  const first = operations[0] ? operationKey(operations[0]) : "";
  const [operation, setOperation] = useState(first);
  const [values, setValues] = useState<Prefill>(() => prefillOf(comparison, first, "median") ?? FALLBACK);
  const prefill = (key: string, which: "median" | "p90") =>
    setValues(prefillOf(comparison, key, which) ?? values);
  return (
    <Stack gap="md">
      <Group align="flex-end" gap="sm">
        <NativeSelect
          label="Like the requests of"
          data={
            operations.length > 0
              ? operations.map((each) => ({ value: operationKey(each), label: operationName(each) }))
              : [{ value: "", label: "no own traffic yet" }]
          }
          value={operation}
          onChange={(event) => {
            setOperation(event.currentTarget.value);
            prefill(event.currentTarget.value, "median");
          }}
        />
        <Button variant="default" onClick={() => prefill(operation, "median")} disabled={operation === ""}>
          Median
        </Button>
        <Button variant="default" onClick={() => prefill(operation, "p90")} disabled={operation === ""}>
          90th percentile
        </Button>
      </Group>
      <SimpleGrid cols={{ base: 1, sm: 3 }}>
        <Amount
          label="Requests per day"
          value={values.requestsPerDay}
          most={MOST_REQUESTS}
          onChange={(requestsPerDay) => setValues({ ...values, requestsPerDay })}
        />
        <Amount
          label="Input tokens"
          value={values.input}
          most={MOST_TOKENS}
          onChange={(input) => setValues({ ...values, input })}
        />
        <Amount
          label="Output tokens"
          value={values.output}
          most={MOST_TOKENS}
          onChange={(output) => setValues({ ...values, output })}
        />
      </SimpleGrid>
      <Estimates values={values} />
    </Stack>
  );
}

interface AmountProps {
  label: string;
  value: number;
  most: number;
  onChange: (value: number) => void;
}

function Amount({ label, value, most, onChange }: AmountProps) {
  return (
    <Input.Wrapper label={label} labelElement="div">
      <NumberInput
        aria-label={label}
        value={value}
        onChange={(next) =>
          onChange(typeof next === "number" ? Math.min(Math.max(Math.round(next), 1), most) : 1)
        }
        min={1}
        max={most}
        allowDecimal={false}
        thousandSeparator=","
        mb={8}
      />
      <Slider
        thumbLabel={`${label}, as a slider`}
        value={positionOf(value, 1, most)}
        onChange={(position) => onChange(atPosition(position, 1, most))}
        scale={(position) => atPosition(position, 1, most)}
        label={(number) => number.toLocaleString("en-US")}
      />
    </Input.Wrapper>
  );
}

type Choice = Schemas["EstimatedChoice"];

function Estimates({ values }: { values: Prefill }) {
  const tenant = useTenant();
  const [tokens] = useDebouncedValue({ input: values.input, output: values.output }, PAUSE_MS);
  const estimate = useQuery({
    queryKey: ["estimate by level", tenant, tokens.input, tokens.output],
    queryFn: async () => {
      const body = { model: "auto", input_tokens: tokens.input, max_output_tokens: tokens.output };
      const { data } = await api.POST("/api/v1/estimates", { body });
      if (data === undefined) {
        throw new Error("an answer without a body");
      }
      return data;
    },
    placeholderData: keepPreviousData,
  });
  const columns: readonly Column<Choice>[] = [
    { id: "level", header: "Level", rowHeader: true, cell: (row) => LEVEL_WORDS[row.level].title },
    { id: "model", header: "Model", cell: (row) => row.model ?? `Not possible: ${row.detail}` },
    {
      id: "own",
      header: "With your keys, a month",
      numeric: true,
      cell: (row) => monthOf(row, "byok", values),
    },
    {
      id: "platform",
      header: "With credits, a month",
      numeric: true,
      cell: (row) => monthOf(row, "platform", values),
    },
  ];
  return (
    <QueryState what="the estimate" query={estimate} height={200}>
      {(found) => (
        <>
          <DataTable
            caption="Cost by level"
            columns={columns}
            rows={found.levels}
            rowKey={(row) => row.level}
          />
          <Text size="xs" c="dimmed">
            At list prices, for an ordinary request of this size. Ranges are those of the places of the model.
            {found.monthly_free_requests
              ? ` ${found.monthly_free_requests.toLocaleString("en-US")} requests a month on the platform's keys are free, and not deducted.`
              : ""}
          </Text>
        </>
      )}
    </QueryState>
  );
}

/** Return what a month costs: with own keys what providers take and the fee, otherwise what credits pay. */
function monthOf(choice: Choice, source: "byok" | "platform", { requestsPerDay }: Prefill): string {
  const cost = choice.costs?.find((each) => each.key_source === source);
  if (!cost) {
    return choice.model ? "no such key" : "";
  }
  const days = BigInt(Math.round(requestsPerDay)) * 30n;
  const low = BigInt(cost.low_charge_micro_usd) * days;
  const high = BigInt(cost.high_charge_micro_usd) * days;
  const own = source === "byok";
  const from = own ? perMonth(cost.low_cost_usd, requestsPerDay) + low : low;
  const to = own ? perMonth(cost.high_cost_usd, requestsPerDay) + high : high;
  const shown = from === to ? formatTotal(to) : `${formatTotal(from)} to ${formatTotal(to)}`;
  return shown;
}
