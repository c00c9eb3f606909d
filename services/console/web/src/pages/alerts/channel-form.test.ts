import { describe, expect, it } from "vitest";
import { EMPTY_CHANNEL, formOfChannel, readChannel, unconfirmed } from "./channel-form";

const mail = { ...EMPTY_CHANNEL, name: " On call ", recipients: "ada@acme.example, \n grace@acme.example" };

describe("a channel in a form", () => {
  it("becomes the body of the API, with what belongs to its kind alone", () => {
    const quiet = { ...mail, quiet: true, secretId: "isec_1", endpointId: "whe_1" };
    expect(readChannel(quiet)).toEqual({
      body: {
        name: "On call",
        kind: "email",
        recipients: ["ada@acme.example", "grace@acme.example"],
        quiet_hours: { begin: "22:00", end: "07:00" },
        usual: true,
        enabled: true,
      },
    });
    expect(readChannel({ ...quiet, kind: "webhook" })).toEqual({
      body: { name: "On call", kind: "webhook", endpoint_id: "whe_1", usual: true, enabled: true },
    });
  });

  it("says what is missing", () => {
    expect(readChannel(EMPTY_CHANNEL)).toHaveProperty("errors.recipients");
    expect(readChannel({ ...mail, kind: "slack" })).toHaveProperty("errors.secretId");
    expect(readChannel({ ...mail, quiet: true, quietEnd: "25:00" })).toHaveProperty("errors.quietBegin");
    expect(readChannel({ ...mail, quiet: true, quietEnd: "22:00" })).toHaveProperty("errors.quietBegin");
  });

  it("comes back from a saved channel", () => {
    const saved = {
      tenant: "acme",
      channel_id: "chn_1",
      revision: 1,
      created_at: "2026-11-30T00:00:00Z",
      name: "On call",
      kind: "email" as const,
      recipients: ["ada@acme.example"],
      quiet_hours: { begin: "20:00", end: "06:00" },
      recipient_states: [{ address: "ada@acme.example", state: "unconfirmed" as const }],
    };
    expect(formOfChannel(saved)).toMatchObject({
      quiet: true,
      quietBegin: "20:00",
      recipients: "ada@acme.example",
    });
    expect(unconfirmed(saved)).toEqual(["ada@acme.example"]);
  });
});
