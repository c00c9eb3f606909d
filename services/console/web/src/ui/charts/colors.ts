/**
 * The colours of data, fixed by the identity of what they show: a provider has the same colour on every page.
 *
 * Neighbours stay apart for people with protanopia, deuteranopia and tritanopia, and each has a contrast of 3:1 with the
 * background; colors.test.ts computes both. Pure.
 */

export interface ColorPair {
  readonly light: string;
  readonly dark: string;
}

export const PALETTE: readonly ColorPair[] = [
  { light: "#0b7285", dark: "#3bc9db" },
  { light: "#f26a00", dark: "#fd7e14" },
  { light: "#ae3ec9", dark: "#da77f2" },
  { light: "#3c6009", dark: "#c0eb75" },
  { light: "#1c3ee0", dark: "#4c6ef5" },
  { light: "#c0705a", dark: "#f3b0a0" },
  { light: "#6b0f37", dark: "#f03e3e" },
  { light: "#413b05", dark: "#2f9e44" },
];

/** What is left when the largest are shown, and what has no value. */
export const REST_COLOR: ColorPair = { light: "#868e96", dark: "#909296" };

/** Good, doubtful and bad, and what is no statement about either. */
export const STATUS_FILLS = {
  ok: { light: "#2b8a3e", dark: "#51cf66" },
  warning: { light: "#d9730d", dark: "#ffa94d" },
  error: { light: "#c92a2a", dark: "#ff6b6b" },
  neutral: { light: "#868e96", dark: "#909296" },
  none: { light: "#ced4da", dark: "#4a4b50" },
} as const satisfies Record<string, ColorPair>;

export type StatusFill = keyof typeof STATUS_FILLS;

/** Which colour of the palette a name has on every page. Providers that are often used together differ. */
const SLOTS: Readonly<Record<string, number>> = {
  openai: 0,
  anthropic: 1,
  mistral: 2,
  gemini: 3,
  vertex: 4,
  azure: 4,
  bedrock: 5,
  openrouter: 6,
  groq: 7,
  cohere: 5,
  deepseek: 4,
  xai: 7,
  together: 6,
  fireworks: 5,
  deepinfra: 7,
  perplexity: 6,
  huggingface: 3,
  custom: 5,
  echo: 0,
  byok: 0,
  platform: 1,
  none: 7,
  eco: 3,
  balanced: 0,
  precision: 2,
  completed: 0,
  failed: 1,
  cancelled: 2,
  indeterminate: 5,
};

function slotOf(name: string): number {
  if (Object.hasOwn(SLOTS, name)) {
    return SLOTS[name] ?? 0;
  }
  let hash = 2166136261;
  for (const character of name) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619) >>> 0;
  }
  return hash % PALETTE.length;
}

/**
 * Return the colours of the names of one chart. A name keeps its own colour unless another of the same chart has it; names
 * with a fixed colour come first, the others in alphabetical order, whatever their order in the chart.
 */
export function assignColors(names: readonly string[]): ReadonlyMap<string, ColorPair> {
  const unique = [...new Set(names)].sort();
  const known = unique.filter((name) => Object.hasOwn(SLOTS, name));
  const others = unique.filter((name) => !Object.hasOwn(SLOTS, name));
  const taken = new Set<number>();
  const colors = new Map<string, ColorPair>();
  for (const name of [...known, ...others]) {
    let slot = slotOf(name);
    for (let tries = 0; taken.has(slot) && tries < PALETTE.length; tries += 1) {
      slot = (slot + 1) % PALETTE.length;
    }
    taken.add(slot);
    colors.set(name, PALETTE[slot] ?? REST_COLOR);
  }
  return colors;
}
