import type { ReactNode } from "react";

/** A part of the page that scrolls sideways on narrow screens. It can be focused, so that the keyboard scrolls it, and is no landmark. */
export function TableRegion({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <div className="table-region" role="group" tabIndex={0} aria-label={label}>
      {children}
    </div>
  );
}
