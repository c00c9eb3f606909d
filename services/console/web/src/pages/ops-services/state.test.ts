import { expect, it } from "vitest";
import { factWords, serviceState, summarize } from "./state";

const READY = { ready: true, waiting_for: [], degraded: [] };

it.each([
  [READY, "Ready", []],
  [{ ...READY, degraded: ["no disk"] }, "Degraded", ["no disk"]],
  [
    { ...READY, ready: false, waiting_for: ["nats", "postgres"] },
    "Not ready",
    ["waiting for nats, postgres"],
  ],
])("a process with %j is %s", (report, words, details) => {
  expect(serviceState(report)).toMatchObject({ words, details });
});

it.each([
  [[], "No process answers on the bus."],
  [[READY, READY], "All 2 processes are ready."],
  [[READY, { ...READY, ready: false }], "1 of 2 processes are ready."],
  [[{ ...READY, degraded: ["x"] }], "All 1 processes are ready, 1 of them with a restriction."],
])("%j is summed up", (reports, sentence) => {
  expect(summarize(reports)).toBe(sentence);
});

it("shows figures in order, without addresses", () => {
  expect(factWords({ url: "http://x", spool_depth: 3, leases: 1 })).toBe("leases 1, spool depth 3");
});
