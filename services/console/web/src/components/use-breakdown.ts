import { query, type Schemas } from "@/api/client";
import type { paths } from "@/api/generated/schema";
import { asJson } from "@/api/json";

type BreakdownQuery = NonNullable<paths["/api/v1/usage/breakdown"]["get"]["parameters"]["query"]>;

/** Ask for usage by one or more dimensions. */
export function useBreakdown(asked: BreakdownQuery) {
  return query.useQuery(
    "get",
    "/api/v1/usage/breakdown",
    { params: { query: asked } },
    { select: (answer): Schemas["UsageBreakdown"] => asJson(answer) },
  );
}
