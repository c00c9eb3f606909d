import { Button, Group, Panel, Select, SimpleGrid, Slider, Stack, Switch, Text, Textarea } from "@/ui";
import { PlayIcon, PlusIcon } from "@/ui/icons";
import type { PageSearch } from "@/url/search";
import { type Draft, MOST_MODELS, type PLAYGROUND_SEARCH, toolsProblem } from "./state";

interface FormProps {
  search: PageSearch<typeof PLAYGROUND_SEARCH>;
  models: readonly string[];
  /** The models that this tenant can call. */
  options: readonly { value: string; label: string }[];
  draft: Draft;
  onDraft: (draft: Draft) => void;
  onRun: () => void;
  /** Why it cannot run now; empty if it can. */
  disabledReason: string;
  estimate: React.ReactNode;
}

/** The conversation, the models and the parameters. */
export function PlaygroundForm(props: FormProps) {
  const { search, models, options, draft, onDraft, onRun, disabledReason, estimate } = props;
  const { values, change } = search;
  const problem = toolsProblem(draft.tools);
  const blocked = disabledReason || (problem === null ? "" : "Correct the tools first.");
  return (
    <Panel title="Request">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!blocked) {
            onRun();
          }
        }}
      >
        <Stack>
          <SimpleGrid cols={{ base: 1, sm: MOST_MODELS }}>
            {models.map((model, index) => (
              <Select
                key={index}
                label={index === 0 ? "Model or power level" : `Compare with (${index + 1} of ${MOST_MODELS})`}
                data={options.filter((option) => option.value === model || !models.includes(option.value))}
                value={model}
                searchable
                allowDeselect={false}
                onChange={(value) =>
                  value && change({ model: models.map((each, at) => (at === index ? value : each)) })
                }
              />
            ))}
            {models.length < MOST_MODELS ? <AddModel {...props} /> : null}
          </SimpleGrid>
          <Textarea
            label="System message"
            autosize
            minRows={1}
            maxRows={6}
            value={draft.system}
            onChange={(event) => onDraft({ ...draft, system: event.currentTarget.value })}
          />
          <Textarea
            label="Message"
            required
            autosize
            minRows={3}
            maxRows={14}
            value={draft.prompt}
            onChange={(event) => onDraft({ ...draft, prompt: event.currentTarget.value })}
          />
          <SimpleGrid cols={{ base: 1, sm: 3 }}>
            <Labelled label={`At most ${values.max} tokens`}>
              <Slider
                thumbLabel="Most tokens of the answer"
                min={1}
                max={8192}
                label={null}
                value={Math.min(values.max, 8192)}
                onChange={(max) => change({ max })}
              />
            </Labelled>
            <Labelled
              label={
                values.temperature < 0
                  ? "Temperature: the model's own"
                  : `Temperature ${values.temperature / 100}`
              }
            >
              <Slider
                thumbLabel="Temperature"
                min={-1}
                max={200}
                label={null}
                value={values.temperature}
                onChange={(temperature) => change({ temperature })}
              />
            </Labelled>
            <Switch
              label="Answer in JSON"
              checked={values.format === "json"}
              onChange={(event) => change({ format: event.currentTarget.checked ? "json" : null })}
            />
          </SimpleGrid>
          <Textarea
            label="Tools"
            description="A JSON list as the OpenAI API takes it; empty for none"
            autosize
            minRows={1}
            maxRows={10}
            value={draft.tools}
            error={problem}
            onChange={(event) => onDraft({ ...draft, tools: event.currentTarget.value })}
          />
          <Group justify="space-between">
            <Text component="div" size="sm" c="dimmed">
              {blocked || estimate}
            </Text>
            <Button type="submit" leftSection={<PlayIcon size={16} aria-hidden />} disabled={blocked !== ""}>
              Run
            </Button>
          </Group>
        </Stack>
      </form>
    </Panel>
  );
}

function AddModel({ search, models, options }: FormProps) {
  const next = options.find((option) => !models.includes(option.value));
  return (
    <Group align="flex-end">
      <Button
        variant="default"
        leftSection={<PlusIcon size={16} aria-hidden />}
        disabled={!next}
        onClick={() => next && search.change({ model: [...models, next.value] })}
      >
        Compare with another model
      </Button>
    </Group>
  );
}

function Labelled({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <div>
      <Text size="sm" fw={500} mb={6}>
        {label}
      </Text>
      {children}
    </div>
  );
}
