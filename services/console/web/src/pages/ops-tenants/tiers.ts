import type { Schemas } from "@/api/client";

export type TierName = Schemas["Tier"];
export const TIERS: readonly TierName[] = ["free", "starter", "professional", "enterprise"];
