/** Options of lists that are loaded page by page. */

/** For `query.useInfiniteQuery`: the next page begins after `next` of the one before. */
export const BY_PAGES = {
  pageParamName: "after",
  initialPageParam: undefined,
  getNextPageParam: (page: { next?: string | null }) => page.next ?? undefined,
};
