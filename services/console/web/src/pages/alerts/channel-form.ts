/** A channel in a form, and as the API takes it. Pure. */

import type { Schemas } from "@/api/client";

type Body = Schemas["NewChannelBody"];
type Channel = Schemas["NotificationChannel"];
export type ChannelKind = Schemas["ChannelKind"];

export interface ChannelForm {
  readonly name: string;
  readonly kind: ChannelKind;
  /** Addresses, separated by commas, spaces or lines. */
  readonly recipients: string;
  readonly secretId: string;
  readonly endpointId: string;
  readonly quiet: boolean;
  readonly quietBegin: string;
  readonly quietEnd: string;
  readonly usual: boolean;
  readonly enabled: boolean;
}

export type ChannelErrors = Partial<Record<keyof ChannelForm, string>>;

export const KIND_WORDS: Record<ChannelKind, string> = {
  email: "E-mail",
  slack: "Slack",
  webhook: "Webhook endpoint",
};

export const EMPTY_CHANNEL: ChannelForm = {
  name: "",
  kind: "email",
  recipients: "",
  secretId: "",
  endpointId: "",
  quiet: false,
  quietBegin: "22:00",
  quietEnd: "07:00",
  usual: true,
  enabled: true,
};

const TIME = /^([01]\d|2[0-3]):[0-5]\d$/;
const MOST_RECIPIENTS = 20;

/** Return the body for the API, or what is wrong with the form. */
export function readChannel(form: ChannelForm): { readonly body: Body } | { readonly errors: ChannelErrors } {
  const errors: ChannelErrors = {};
  const recipients = form.recipients.split(/[\s,;]+/).filter((each) => each !== "");
  const quiet = form.quiet && form.kind !== "webhook";
  if (form.name.trim() === "") {
    errors.name = "Give it a name";
  }
  if (form.kind === "email" && (recipients.length === 0 || recipients.length > MOST_RECIPIENTS)) {
    errors.recipients = `Give 1 to ${MOST_RECIPIENTS} addresses`;
  }
  if (form.kind === "slack" && form.secretId === "") {
    errors.secretId = "Choose the address of the incoming webhook";
  }
  if (form.kind === "webhook" && form.endpointId === "") {
    errors.endpointId = "Choose an endpoint";
  }
  if (
    quiet &&
    (!TIME.test(form.quietBegin) || !TIME.test(form.quietEnd) || form.quietBegin === form.quietEnd)
  ) {
    errors.quietBegin = "Two different times such as 22:00 and 07:00";
  }
  if (Object.keys(errors).length > 0) {
    return { errors };
  }
  return {
    body: {
      name: form.name.trim(),
      kind: form.kind,
      ...(form.kind === "email" ? { recipients } : {}),
      ...(form.kind === "slack" ? { secret_id: form.secretId } : {}),
      ...(form.kind === "webhook" ? { endpoint_id: form.endpointId } : {}),
      ...(quiet ? { quiet_hours: { begin: form.quietBegin, end: form.quietEnd } } : {}),
      usual: form.usual,
      enabled: form.enabled,
    },
  };
}

/** Return a saved channel as a form. */
export function formOfChannel(channel: Channel): ChannelForm {
  return {
    name: channel.name,
    kind: channel.kind,
    recipients: (channel.recipients ?? []).join(", "),
    secretId: channel.secret_id ?? "",
    endpointId: channel.endpoint_id ?? "",
    quiet: channel.quiet_hours !== null && channel.quiet_hours !== undefined,
    quietBegin: channel.quiet_hours?.begin ?? EMPTY_CHANNEL.quietBegin,
    quietEnd: channel.quiet_hours?.end ?? EMPTY_CHANNEL.quietEnd,
    usual: channel.usual ?? true,
    enabled: channel.enabled ?? true,
  };
}

/** Return where a channel leads, in words. */
export function targetInWords(channel: Channel): string {
  switch (channel.kind) {
    case "email":
      return (channel.recipients ?? []).join(", ");
    case "slack":
      return "an incoming webhook of Slack";
    default:
      return channel.endpoint_id ?? "";
  }
}

/** Return the addresses of a channel that receive nothing before they are confirmed. */
export function unconfirmed(channel: Channel): string[] {
  return (channel.recipient_states ?? [])
    .filter(({ state }) => state === "unconfirmed")
    .map(({ address }) => address);
}
