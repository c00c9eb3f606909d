/** The addresses of providers with their targets, their circuits in words, and what outages did. Pure. */

import type { Schemas } from "@/api/client";
import { formatLongDuration } from "@/format/duration";
import { countOf, formatCount } from "@/format/numbers";
import {
  type Condition,
  conditionOf,
  isOfKey,
  type ProviderCondition,
  type TargetHealth,
} from "./provider-health";

export type Outage = Schemas["Outage"];

export interface HealthGroup {
  readonly key: string;
  readonly provider: string;
  /** The name of an own server of a tenant. */
  readonly endpoint: string | null;
  /** Whose own server it is. */
  readonly tenant: string | null;
  /** The host, where a provider is called at several. */
  readonly host: string | null;
  readonly name: string;
  readonly targets: readonly TargetHealth[];
  readonly state: ProviderCondition;
}

const ORDER: Record<Condition, number> = { down: 0, degraded: 1, healthy: 2, unused: 3 };

/** Return the addresses, those in trouble first. */
export function groupTargets(targets: readonly TargetHealth[]): readonly HealthGroup[] {
  const byKey = new Map<string, TargetHealth[]>();
  for (const health of targets) {
    const key = groupKey(health);
    byKey.set(key, [...(byKey.get(key) ?? []), health]);
  }
  const hosts = new Map<string, Set<string>>();
  for (const { target } of targets) {
    if (!target.endpoint) {
      hosts.set(target.provider, (hosts.get(target.provider) ?? new Set()).add(target.origin ?? ""));
    }
  }
  const groups = [...byKey.entries()].flatMap(([key, group]): HealthGroup[] => {
    const target = group[0]?.target;
    if (!target) {
      return [];
    }
    const several = !target.endpoint && (hosts.get(target.provider)?.size ?? 0) > 1;
    return [
      {
        key,
        provider: target.provider,
        endpoint: target.endpoint ?? null,
        tenant: target.endpoint ? (target.tenant ?? null) : null,
        host: several && target.origin ? hostOf(target.origin) : null,
        name: target.endpoint ?? target.provider,
        targets: group,
        state: conditionOf(group),
      },
    ];
  });
  return groups.toSorted(
    (left, right) =>
      ORDER[left.state.condition] - ORDER[right.state.condition] || left.name.localeCompare(right.name),
  );
}

function groupKey({ target }: TargetHealth): string {
  return target.endpoint
    ? `server ${target.tenant ?? ""} ${target.endpoint}`
    : `provider ${target.provider} ${target.origin ?? ""}`;
}

function hostOf(origin: string): string {
  try {
    return new URL(origin).host;
  } catch {
    return origin;
  }
}

/** Return when the next probe or the end of a pause is, of the targets whose circuits are not closed; null if there is none. */
function nextTime(targets: readonly TargetHealth[]): number | null {
  const times = targets.flatMap((health) => (health.until ? [Date.parse(health.until)] : []));
  return times.length === 0 ? null : Math.min(...times);
}

/** Return the state of the circuits of an address in words. */
export function circuitWords(targets: readonly TargetHealth[], now: number): string {
  const counted = targets.filter((health) => !isOfKey(health));
  const forced = counted.find((health) => health.forced);
  if (forced?.forced) {
    const state = forced.forced.state === "open" ? "open" : "closed";
    return `Circuit forced ${state}, ${remaining(Date.parse(forced.forced.until), now)} left`;
  }
  const open = counted.filter((health) => health.state === "open");
  const cooling = counted.filter((health) => health.state === "cooling");
  const withheld = open.length > 0 ? open : cooling;
  if (withheld.length === 0) {
    return counted.some((health) => health.reachable === false) ? "Not reachable" : "Circuit closed";
  }
  const which =
    withheld.length === counted.length ? "Circuit" : `${withheld.length} of ${counted.length} circuits`;
  const until = nextTime(withheld);
  if (open.length === 0) {
    return `${which} cooling${until === null ? "" : `, ${remaining(until, now)} left`}`;
  }
  if (until !== null && until <= now) {
    return `${which} half-open, waiting for a probe`;
  }
  return `${which} open${until === null ? "" : `, next probe in ${remaining(until, now)}`}`;
}

function remaining(until: number, now: number): string {
  return formatLongDuration(Math.max(0, Math.ceil((until - now) / 1000)));
}

/** Return the state of one target in a word. */
export function stateWord(health: TargetHealth): string {
  const words = { closed: "closed", open: "open", cooling: "cooling", pacing: "pacing" } as const;
  return `${words[health.state]}${health.forced ? " (forced)" : ""}`;
}

export interface Sum {
  readonly samples: number;
  readonly failures: number;
}

/** Return the attempts of some targets within the last five minutes. */
export function attemptsOf(targets: readonly TargetHealth[]): Sum {
  const counted = targets.filter((health) => !isOfKey(health));
  return {
    samples: counted.reduce((sum, health) => sum + (health.samples ?? 0), 0),
    failures: counted.reduce((sum, health) => sum + (health.failures ?? 0), 0),
  };
}

/** Return what became of requests in an outage, and what the gateway did. */
export function outageWords(outage: Outage): string {
  if (outage.affected_requests === 0) {
    return "No request was affected.";
  }
  const elsewhere = (outage.rerouted_to ?? [])
    .slice(0, 3)
    .map((place) => `${place.endpoint ?? place.provider}/${place.model} ${formatCount(place.requests)}`);
  const parts = [
    outage.served_elsewhere > 0
      ? `${countOf(outage.served_elsewhere, "request")} served by fallbacks${elsewhere.length > 0 ? ` (${elsewhere.join(", ")})` : ""}`
      : "",
    outage.refused > 0 ? `${countOf(outage.refused, "request")} refused` : "",
    outage.failed_attempts > 0 ? `${countOf(outage.failed_attempts, "attempt")} failed` : "",
  ].filter(Boolean);
  return parts.length === 0 ? "The requests were answered all the same." : `${parts.join(", ")}.`;
}

/** Return whether an outage was at an address. */
export function isOutageOf(
  outage: Outage,
  group: Pick<HealthGroup, "provider" | "endpoint" | "tenant">,
): boolean {
  return group.endpoint
    ? outage.endpoint === group.endpoint &&
        (group.tenant === null || (outage.tenant ?? group.tenant) === group.tenant)
    : outage.provider === group.provider && !outage.endpoint;
}

/** Return since when an address is in trouble: a circuit that opens again and again is one outage. */
export function troubledSince(group: HealthGroup, outages: readonly Outage[]): string | null {
  const { since } = group.state;
  if (since === null) {
    return null;
  }
  const began = outages
    .filter((outage) => !outage.ended_at && isOutageOf(outage, group))
    .map((outage) => outage.began_at);
  return [since, ...began].toSorted()[0] ?? since;
}

/** Return the state of everything in one or two sentences. `yours` says that the figures of outages are of one tenant. */
export function healthSummary(
  groups: readonly HealthGroup[],
  outages: readonly Outage[],
  yours: boolean,
): string {
  const used = groups.filter((group) => group.state.condition !== "unused");
  if (used.length === 0) {
    return "No provider was called within the last day.";
  }
  const down = used.filter((group) => group.state.condition === "down");
  const degraded = used.filter((group) => group.state.condition === "degraded");
  if (down.length + degraded.length === 0) {
    return used.length === 1
      ? "The only provider in use is healthy."
      : `All ${used.length} providers are healthy.`;
  }
  const sentences = [
    down.length > 0 ? `${down.length} of ${countOf(used.length, "provider")} ${verb(down.length)} down.` : "",
    degraded.length > 0
      ? `${down.length > 0 ? degraded.length : `${degraded.length} of ${countOf(used.length, "provider")}`} ${verb(degraded.length)} degraded.`
      : "",
    consequence(
      [...down, ...degraded].map((group) => group.name),
      outages.filter((outage) => !outage.ended_at),
      yours,
    ),
  ];
  return sentences.filter(Boolean).join(" ");
}

function verb(count: number): string {
  return count === 1 ? "is" : "are";
}

function consequence(names: readonly string[], ongoing: readonly Outage[], yours: boolean): string {
  const sum = (count: (outage: Outage) => number) =>
    ongoing.reduce((total, outage) => total + count(outage), 0);
  const affected = sum((outage) => outage.affected_requests);
  if (ongoing.length === 0) {
    return "";
  }
  if (affected === 0) {
    return `${yours ? "None of your requests was" : "No request was"} affected so far.`;
  }
  const served = sum((outage) => outage.served_elsewhere);
  const lost = Math.max(0, affected - served);
  const end =
    lost > 0
      ? `${countOf(lost, "request")} ${lost === 1 ? "was" : "were"} refused or failed because of it.`
      : "no request has failed because of it.";
  return served > 0 ? `Traffic for ${names.join(" and ")} is served by fallbacks; ${end}` : end;
}
