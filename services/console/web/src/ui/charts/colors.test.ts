import { describe, expect, it } from "vitest";
import { assignColors, PALETTE, REST_COLOR, STATUS_FILLS } from "./colors";

type Rgb = readonly [number, number, number];

/** How people with each deficiency see linear RGB (Machado, Oliveira and Fernandes, 2009; severity 1). */
const VISIONS: Record<string, readonly Rgb[]> = {
  full: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

function linear(hex: string): Rgb {
  const channel = (at: number) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [channel(1), channel(3), channel(5)];
}

function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, two: string): number {
  const [high = 0, low = 0] = [luminance(linear(one)), luminance(linear(two))].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function lab(color: Rgb, vision: readonly Rgb[]): Rgb {
  const [red = 0, green = 0, blue = 0] = vision.map((row) =>
    Math.min(1, Math.max(0, row[0] * color[0] + row[1] * color[1] + row[2] * color[2])),
  );
  const f = (value: number) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116);
  const x = f((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505);
  const y = f(0.2126 * red + 0.7152 * green + 0.0722 * blue);
  const z = f((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const BACKGROUNDS = { light: "#ffffff", dark: "#242424" } as const;

describe.each(["light", "dark"] as const)("the colours of data on a %s background", (scheme) => {
  const colors = [...PALETTE, REST_COLOR].map((pair) => pair[scheme]);

  it("have a contrast of 3:1 with it", () => {
    const { none: _, ...statuses } = STATUS_FILLS;
    for (const color of [...colors, ...Object.values(statuses).map((pair) => pair[scheme])]) {
      expect(contrast(color, BACKGROUNDS[scheme]), color).toBeGreaterThanOrEqual(3);
    }
  });

  it.each(Object.entries(VISIONS))("can be told apart with %s vision", (_, vision) => {
    for (const [index, one] of colors.entries()) {
      for (const two of colors.slice(index + 1)) {
        const [a, b] = [lab(linear(one), vision), lab(linear(two), vision)];
        expect(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]), `${one} and ${two}`).toBeGreaterThan(12);
      }
    }
  });
});

describe("the colour of a name", () => {
  it("does not depend on the order or on who else is shown", () => {
    const all = assignColors(["mistral", "openai", "anthropic"]);
    expect(assignColors(["openai"]).get("openai")).toBe(all.get("openai"));
    expect(assignColors(["anthropic", "openai", "mistral", "openai"])).toEqual(all);
  });

  it("is unlike that of all others in a chart of eight", () => {
    const names = Array.from({ length: 8 }, (_, index) => `model-${index}`);
    expect(new Set(assignColors(names).values()).size).toBe(8);
  });

  it("is that of its own for names of the language", () => {
    expect(assignColors(["constructor", "__proto__"]).size).toBe(2);
  });
});
