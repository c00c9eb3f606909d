import { describe, expect, it } from "vitest";
import {
  circuitWords,
  groupTargets,
  healthSummary,
  type Outage,
  outageWords,
  troubledSince,
} from "./health-groups";
import { CELLS, stripCells, stripCounts, stripSpans } from "./health-strip";
import type { TargetHealth } from "./provider-health";

const NOW = Date.parse("2026-11-30T12:10:00Z");

function target(more: Partial<TargetHealth["target"]>, changes: Partial<TargetHealth> = {}): TargetHealth {
  return {
    target: {
      provider: "openai",
      model: "gpt-4o",
      key_class: "platform",
      origin: "https://api.openai.com",
      ...more,
    },
    state: "closed",
    reason: "",
    changed_at: "2026-11-30T12:00:00Z",
    samples: 10,
    failures: 0,
    success_percent: 100,
    ...changes,
  };
}

const OPEN: Partial<TargetHealth> = {
  state: "open",
  reason: "all 5 attempts within 10 s failed",
  samples: 5,
  failures: 5,
  success_percent: 0,
  until: "2026-11-30T12:10:21Z",
};

function outage(changes: Partial<Outage> = {}): Outage {
  return {
    provider: "google",
    key_class: "platform",
    began_at: "2026-11-30T12:02:00Z",
    ended_at: null,
    models: ["gemini"],
    reasons: ["5 of 5 failed"],
    affected_requests: 12,
    failed_attempts: 5,
    served_elsewhere: 12,
    refused: 0,
    rerouted_to: [{ provider: "openai", model: "gpt-4o", requests: 12 }],
    ...changes,
  };
}

describe("groupTargets", () => {
  it("has a card for each address, those in trouble first, with the host only where there are several", () => {
    const groups = groupTargets([
      target({}),
      target({ model: "gpt-4o-mini" }),
      target({ origin: "https://eu.api.openai.com" }),
      target({ provider: "google", origin: "https://g" }, OPEN),
      target({ provider: "custom", endpoint: "box", tenant: "acme" }),
    ]);
    expect(
      groups.map((group) => [group.name, group.host, group.state.condition, group.targets.length]),
    ).toEqual([
      ["google", null, "down", 1],
      ["box", null, "healthy", 1],
      ["openai", "api.openai.com", "healthy", 2],
      ["openai", "eu.api.openai.com", "healthy", 1],
    ]);
  });
});

describe("circuitWords", () => {
  it("counts down to the probe, and says half-open after it", () => {
    expect(circuitWords([target({}, OPEN)], NOW)).toBe("Circuit open, next probe in 21 s");
    expect(circuitWords([target({}, OPEN)], NOW + 30_000)).toBe("Circuit half-open, waiting for a probe");
    expect(circuitWords([target({}, OPEN), target({ model: "b" })], NOW)).toBe(
      "1 of 2 circuits open, next probe in 21 s",
    );
  });

  it("names what is closed, cooling, forced or not reachable", () => {
    expect(circuitWords([target({})], NOW)).toBe("Circuit closed");
    expect(circuitWords([target({}, { ...OPEN, state: "cooling" })], NOW)).toBe("Circuit cooling, 21 s left");
    expect(circuitWords([target({ key_id: "key_1" }, { ...OPEN, state: "cooling" })], NOW)).toBe(
      "Circuit closed",
    );
    expect(circuitWords([target({}, { reachable: false })], NOW)).toBe("Not reachable");
    const forced = {
      provider: "openai",
      state: "open",
      actor: "me",
      reason: "wrong answers",
      since: "2026-11-30T12:00:00Z",
      until: "2026-11-30T12:20:00Z",
    } as const;
    expect(circuitWords([target({}, { ...OPEN, forced })], NOW)).toBe("Circuit forced open, 10 min left");
  });
});

describe("healthSummary", () => {
  const healthy = target({});
  const down = target({ provider: "google", origin: "https://g" }, OPEN);

  it("says that all is well", () => {
    expect(healthSummary(groupTargets([healthy, target({ provider: "mistral" })]), [], true)).toBe(
      "All 2 providers are healthy.",
    );
    expect(healthSummary([], [], true)).toBe("No provider was called within the last day.");
  });

  it("says what is down and what became of requests", () => {
    const groups = groupTargets([healthy, down]);
    expect(healthSummary(groups, [outage()], true)).toBe(
      "1 of 2 providers is down. Traffic for google is served by fallbacks; no request has failed because of it.",
    );
    expect(healthSummary(groups, [outage({ served_elsewhere: 0, refused: 2 })], true)).toBe(
      "1 of 2 providers is down. 12 requests were refused or failed because of it.",
    );
    expect(healthSummary(groups, [outage({ affected_requests: 0 })], true)).toBe(
      "1 of 2 providers is down. None of your requests was affected so far.",
    );
  });
});

describe("troubledSince", () => {
  it("is the beginning of the outage, however often the circuit has opened since", () => {
    const [group] = groupTargets([
      target({ provider: "google" }, { ...OPEN, changed_at: "2026-11-30T12:09:00Z" }),
    ]);
    const [healthy] = groupTargets([target({})]);
    if (!group || !healthy) {
      throw new Error("there are groups");
    }
    expect(troubledSince(group, [outage()])).toBe("2026-11-30T12:02:00Z");
    expect(troubledSince(group, [outage({ ended_at: "2026-11-30T12:03:00Z" })])).toBe("2026-11-30T12:09:00Z");
    expect(troubledSince(group, [outage({ provider: "openai" })])).toBe("2026-11-30T12:09:00Z");
    expect(troubledSince(healthy, [outage()])).toBeNull();
  });
});

describe("outageWords", () => {
  it("says what the gateway did", () => {
    expect(outageWords(outage())).toBe(
      "12 requests served by fallbacks (openai/gpt-4o 12), 5 attempts failed.",
    );
    expect(outageWords(outage({ affected_requests: 0 }))).toBe("No request was affected.");
  });
});

describe("the strip", () => {
  it("has the attempts of each half hour and the outages", () => {
    const group = groupTargets([target({ provider: "google" }, OPEN)])[0];
    if (!group) {
      throw new Error("there is a group");
    }
    const spans = stripSpans(NOW);
    expect(spans).toHaveLength(CELLS);
    expect(new Date(spans[47]?.start ?? 0).toISOString()).toBe("2026-11-30T12:00:00.000Z");
    const counts = stripCounts(undefined, "google", NOW).map((cell, index) =>
      index === 45 ? { attempts: 100, failed: 1 } : index === 46 ? { attempts: 10, failed: 5 } : cell,
    );
    const cells = stripCells(counts, group, [outage()], "UTC", NOW);
    expect(cells.slice(44).map((cell) => [cell.status, cell.title, cell.text])).toEqual([
      ["none", "10:30 to 11:00", "no attempts"],
      ["ok", "11:00 to 11:30", "1 attempt of 100 failed (1 %)"],
      ["error", "11:30 to 12:00", "5 attempts of 10 failed (50 %)"],
      ["error", "12:00 to 12:30", "outage, no attempts"],
    ]);
  });
});
