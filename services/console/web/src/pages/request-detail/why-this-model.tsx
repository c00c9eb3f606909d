import type { Schemas } from "@/api/client";
import { KEY_SOURCE_WORDS, placeOf } from "@/components/request-words";
import {
  Button,
  Collapse,
  type Column,
  DataTable,
  List,
  Panel,
  StatusMark,
  Text,
  Title,
  useDisclosure,
} from "@/ui";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";
import type { RequestRecords } from "./records";
import { asSentence, type WhyStep, whyDecisions } from "./why";

type Candidate = Schemas["Candidate"];

/** The steps by which the model was chosen, and every candidate with the reason why it was kept or not. */
export function WhyThisModel({ records }: { records: RequestRecords }) {
  const decisions = whyDecisions(records.explained);
  return (
    <Panel title="Why this model">
      {decisions.length === 0 ? (
        <Text size="sm">
          The decision is not recorded. Decisions are kept for a shorter time than requests.
        </Text>
      ) : null}
      {decisions.map((decision, index) => (
        <div key={decision.id}>
          {decisions.length > 1 ? (
            <Title order={3} size="sm" mb={4}>
              {index === 0 ? "First decision" : `Decision after attempt ${decision.attempt - 1}`}
            </Title>
          ) : null}
          <List size="sm" spacing={6}>
            {decision.steps.map((step, number) => (
              <List.Item key={number}>
                <Step step={step} />
              </List.Item>
            ))}
          </List>
        </div>
      ))}
      {records.decisions.length > 0 ? <AllCandidates records={records} /> : null}
    </Panel>
  );
}

function Step({ step }: { step: WhyStep }) {
  return (
    <>
      <Text span inherit fw={step.kind === "chosen" || step.kind === "refused" ? 600 : undefined}>
        {step.kind === "chosen" ? `Chosen: ${asSentence(step.text)}` : asSentence(step.text)}
      </Text>
      {step.kind === "filter" && typeof step.left === "number" ? (
        <Text span inherit c="dimmed">
          {" "}
          {step.left} left.
        </Text>
      ) : null}
      {(step.examples ?? []).map((example) => (
        <Text key={example} size="xs" c="dimmed">
          {example}
        </Text>
      ))}
    </>
  );
}

const COLUMNS: readonly Column<Candidate>[] = [
  { id: "place", header: "Candidate", rowHeader: true, cell: (row) => placeOf(row) },
  {
    id: "kept",
    header: "Kept",
    cell: (row) => (
      <StatusMark kind={row.kept ? "ok" : "neutral"}>{row.kept ? "Kept" : "Removed"}</StatusMark>
    ),
  },
  { id: "key", header: "Key", cell: (row) => KEY_SOURCE_WORDS[row.key_source] },
  { id: "region", header: "Region", cell: (row) => row.region ?? "–" },
  { id: "reason", header: "Reason", cell: (row) => row.detail },
];

function AllCandidates({ records }: { records: RequestRecords }) {
  const [opened, { toggle }] = useDisclosure(false);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  const [first] = records.decisions;
  const models = (first?.models ?? []).filter((model) => model.model !== "others");
  return (
    <div>
      <Button
        variant="subtle"
        size="compact-sm"
        leftSection={<Chevron size={14} aria-hidden />}
        onClick={toggle}
        aria-expanded={opened}
      >
        {opened ? "Hide all candidates" : "Show all candidates"}
      </Button>
      <Collapse expanded={opened}>
        {opened
          ? records.decisions.map((decision, index) => (
              <DataTable
                key={decision.decision_id}
                caption={
                  index === 0 ? "Candidates of the first decision" : `Candidates of decision ${index + 1}`
                }
                columns={COLUMNS}
                rows={decision.candidates}
                rowKey={(row) => `${placeOf(row)} ${row.key_source} ${row.key_id ?? ""} ${row.region ?? ""}`}
                empty={
                  <Text size="sm" c="dimmed">
                    No candidate was looked at.
                  </Text>
                }
              />
            ))
          : null}
        {opened && models.length > 1 ? (
          <List size="sm" spacing={4} mt="sm">
            {models.map((model) => (
              <List.Item key={model.model}>
                <Text span inherit fw={600}>
                  {model.model}
                </Text>
                {`: ${asSentence(model.detail)}`}
              </List.Item>
            ))}
          </List>
        ) : null}
      </Collapse>
    </div>
  );
}
