import { Text, VisuallyHidden } from "@/ui";
import type { DiffLine } from "./line-diff";

const MARKS = { same: " ", added: "+", removed: "−" } as const;
const WORDS = { same: "", added: "added: ", removed: "removed: " } as const;

/** Lines of text, those that were added or removed marked by sign and colour. */
export function DiffView({ lines, label }: { lines: readonly DiffLine[]; label: string }) {
  if (lines.every(({ kind }) => kind === "same")) {
    return (
      <Text size="sm" c="dimmed">
        Nothing differs.
      </Text>
    );
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="diff" tabIndex={0} aria-label={label}>
      {lines.map((line, index) => (
        <span key={index} className="diff-line" data-kind={line.kind}>
          <VisuallyHidden>{WORDS[line.kind]}</VisuallyHidden>
          <span aria-hidden>{MARKS[line.kind]} </span>
          {line.text}
        </span>
      ))}
    </section>
  );
}
