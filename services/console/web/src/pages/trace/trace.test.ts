import { expect, test } from "vitest";
import { attributesOf, type Span, slowClocks, type Trace, traceRows, traceSentence } from "./span-rows";

function span(values: Partial<Span>): Span {
  return {
    span_id: "1",
    parent_span_id: null,
    depth: 0,
    orphan: false,
    name: "router.decide",
    kind: "consumer",
    service: "router",
    instance_id: "router-1",
    offset_us: 0,
    duration_us: 1000,
    moved_us: 0,
    error: null,
    attributes: {},
    events: [],
    ...values,
  };
}

function trace(rows: Span[], duration: number): Trace {
  return {
    trace_id: "0af7651916cd43dd8448eb211c80319c",
    request_id: null,
    began_at: "2026-03-01T12:00:00Z",
    duration_us: duration,
    rows,
    omitted: 0,
    absent: null,
  };
}

test("a moment has a row below its span", () => {
  const event = { name: "gen_ai.first_token", offset_us: 312_000, attributes: {} };
  const call = span({ kind: "client", depth: 3, offset_us: 125_000, duration_us: 513_000, events: [event] });
  const rows = traceRows(trace([call], 638_000), 10);
  expect(rows.map((row) => [row.name, row.depth, row.start, row.duration, row.status, row.text])).toEqual([
    ["router.decide", 3, 125, 513, "info", "513 ms"],
    ["first token", 4, 312, 0, "info", "after 187 ms"],
  ]);
});

test("a long trace is shown in parts, and a span with many moments with some", () => {
  const events = Array.from({ length: 60 }, () => ({ name: "retry", offset_us: 0, attributes: {} }));
  const rows = traceRows(trace([span({ events }), span({ span_id: "2" })], 1000), 1);
  expect(rows).toHaveLength(9);
});

test("the summary counts spans, services and failures", () => {
  const rows = [span({}), span({ span_id: "2", service: "ingress", error: "overloaded" })];
  expect(traceSentence(trace(rows, 84))).toBe("2 spans of 2 services in 84 µs, 1 failed.");
  expect(traceSentence(trace([span({})], 1_240))).toBe("1 span of 1 service in 1.24 ms.");
});

test("processes with slow clocks are named once, and small differences are not", () => {
  const rows = [
    span({ instance_id: "a", moved_us: 4_000_000 }),
    span({ instance_id: "a", moved_us: 4_000_000 }),
    span({ instance_id: "b", moved_us: 900 }),
  ];
  expect(slowClocks(trace(rows, 1))).toEqual(["a (4.00 s)"]);
});

test("attributes are sorted, whatever their type", () => {
  const attributes = { "http.route": "/v1", "gen_ai.stream": true, "gen_ai.count": 3 };
  expect(attributesOf(span({ attributes }))).toEqual([
    ["gen_ai.count", "3"],
    ["gen_ai.stream", "true"],
    ["http.route", "/v1"],
  ]);
});
