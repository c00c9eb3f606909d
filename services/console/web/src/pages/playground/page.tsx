import { useEffect, useMemo, useState } from "react";
import { query } from "@/api/client";
import { CONFIG } from "@/config";
import { useAccess } from "@/session/access";
import { CopyButton, Group, Page, QueryState, SimpleGrid, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { Answer } from "./answer";
import { Estimate } from "./estimate";
import { PlaygroundForm } from "./form";
import { useReplay } from "./replay";
import { useRun } from "./run";
import { asCurl, asPython, chatBody, type Draft, PLAYGROUND_SEARCH, toolsProblem } from "./state";
import "./playground.css";

const EMPTY: Draft = { system: "", prompt: "", tools: "" };

/** Try up to three models side by side, with real requests. */
export default function PlaygroundPage() {
  const models = query.useQuery("get", "/api/v1/models", { params: { query: { limit: 1000 } } });
  return (
    <Page
      title="Playground"
      description="Real requests through your routing, limits and budgets. They are counted and charged like an app's."
    >
      <QueryState what="the models" query={models} height={480}>
        {(data) => (
          <Playground
            options={data.data
              .filter((model) => !(model.capabilities ?? []).includes("embeddings"))
              .map((model) => ({
                value: model.id,
                label: model.title ? `${model.title} (${model.id})` : model.id,
              }))}
          />
        )}
      </QueryState>
    </Page>
  );
}

function Playground({ options }: { options: readonly { value: string; label: string }[] }) {
  const search = usePageSearch(PLAYGROUND_SEARCH);
  const { values } = search;
  const [draft, setDraft] = useState(EMPTY);
  const replay = useReplay(values.request);
  useEffect(() => {
    if (replay) {
      setDraft(replay);
    }
  }, [replay]);
  const access = useAccess("create_client_token");
  const models = values.model.length > 0 ? values.model : options.slice(0, 1).map((option) => option.value);
  const runs = [useRun(), useRun(), useRun()];
  const parameters = useMemo(
    () => ({ maxTokens: values.max, temperature: values.temperature, json: values.format === "json" }),
    [values],
  );
  const valid = toolsProblem(draft.tools) === null;
  const bodies = valid ? models.map((model) => chatBody(model, draft, parameters)) : [];
  const first = bodies[0];
  const reason = !access.allowed
    ? access.reason
    : models.length === 0
      ? "No model can be called yet: add a provider key first."
      : draft.prompt.trim() === ""
        ? "Write a message first."
        : "";
  return (
    <Stack>
      <DroppedNotice dropped={search.dropped} />
      <PlaygroundForm
        search={search}
        models={models}
        options={options}
        draft={draft}
        onDraft={setDraft}
        disabledReason={reason}
        estimate={reason === "" ? <Estimate bodies={bodies} /> : null}
        onRun={() => bodies.forEach((body, index) => void runs[index]?.start(body))}
      />
      {first ? (
        <Group gap="xs">
          <CopyButton value={asCurl(CONFIG.apiUrl, first)} label="Copy as curl" withText />
          <CopyButton value={asPython(CONFIG.apiUrl, first)} label="Copy as Python" withText />
        </Group>
      ) : null}
      <SimpleGrid cols={{ base: 1, md: models.length }}>
        {models.map((model, index) => {
          const slot = runs[index];
          return slot ? (
            <Answer
              key={model}
              model={model}
              run={slot.run}
              onStop={slot.stop}
              onRemove={
                models.length > 1
                  ? () => search.change({ model: models.filter((each) => each !== model) })
                  : undefined
              }
            />
          ) : null;
        })}
      </SimpleGrid>
    </Stack>
  );
}
