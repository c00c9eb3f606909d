import { type UIEvent, useId, useRef } from "react";
import { Anchor, Group, SegmentedControl, Stack, Text } from "@/ui";
import type { Problem } from "./rules-document";
import type { TextFormat } from "./rules-text";

interface RuleTextProps {
  text: string;
  format: TextFormat;
  problems: readonly Problem[];
  outOfStep: boolean;
  readOnly: boolean;
  onText: (text: string) => void;
  onFormat: (format: TextFormat) => void;
}

const LEAST_LINES = 18;
const MOST_LINES = 40;
const LINE_PX = 20;

/** The rules as text, with the numbers of the lines and what is wrong in which of them. */
export function RuleText({ text, format, problems, outOfStep, readOnly, onText, onFormat }: RuleTextProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const numbers = useRef<HTMLDivElement>(null);
  const id = useId();
  const count = text.split("\n").length;
  const wrong = new Set(problems.map(({ line }) => line));
  const height = Math.min(Math.max(count + 1, LEAST_LINES), MOST_LINES) * LINE_PX + 16;
  const onScroll = (event: UIEvent<HTMLTextAreaElement>) => {
    if (numbers.current) {
      numbers.current.scrollTop = event.currentTarget.scrollTop;
    }
  };
  const goTo = (line: number) => {
    const element = area.current;
    if (element) {
      const lines = text.split("\n");
      const from = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
      element.focus();
      element.setSelectionRange(from, from + (lines[line - 1]?.length ?? 0));
      element.scrollTop = Math.max((line - 4) * LINE_PX, 0);
    }
  };
  return (
    <Stack gap="xs">
      <Group justify="space-between">
        <label htmlFor={id}>
          <Text span size="sm" fw={600}>
            The same rules as text
          </Text>
        </label>
        <SegmentedControl
          size="xs"
          aria-label="Format of the text"
          data={[
            { value: "yaml", label: "YAML" },
            { value: "json", label: "JSON" },
          ]}
          value={format}
          onChange={(value) => onFormat(value as TextFormat)}
          disabled={outOfStep}
        />
      </Group>
      <div className="rule-text" style={{ height }}>
        <div className="rule-text-lines" ref={numbers} aria-hidden>
          {Array.from({ length: count }, (_, index) => (
            <div key={index} className="rule-text-line" data-wrong={wrong.has(index + 1) || undefined}>
              {index + 1}
            </div>
          ))}
        </div>
        <textarea
          id={id}
          ref={area}
          value={text}
          readOnly={readOnly}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          wrap="off"
          aria-invalid={problems.length > 0}
          aria-describedby={`${id}-problems`}
          onChange={(event) => onText(event.currentTarget.value)}
          onScroll={onScroll}
        />
      </div>
      <div id={`${id}-problems`} role="status">
        {problems.map((problem) => (
          <Text key={`${problem.line} ${problem.message}`} size="sm" c="error">
            <Anchor component="button" type="button" size="sm" c="error" onClick={() => goTo(problem.line)}>
              Line {problem.line}
            </Anchor>
            : {problem.message}
          </Text>
        ))}
        {outOfStep ? (
          <Text size="sm">
            The form shows the rules as they were before; correct the text to go on with it.
          </Text>
        ) : null}
      </div>
    </Stack>
  );
}
