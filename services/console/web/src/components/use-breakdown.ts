import { query, type Schemas } from "@/api/client";
import type { paths } from "@/api/generated/schema";

type BreakdownQuery = NonNullable<paths["/api/v1/usage/breakdown"]["get"]["parameters"]["query"]>;

/** Ask for usage by one or more dimensions. */
export function useBreakdown(asked: BreakdownQuery) {
  return query.useQuery(
    "get",
    "/api/v1/usage/breakdown",
    { params: { query: asked } },
    // The same route also answers in CSV, which is not asked for here.
    { select: (answer): Schemas["UsageBreakdown"] => answer as Schemas["UsageBreakdown"] },
  );
}
