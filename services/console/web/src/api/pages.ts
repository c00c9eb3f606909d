/** Options of lists that are loaded page by page. */

/** For `query.useInfiniteQuery`: the next page begins after `next` of the one before. */
export const BY_PAGES = {
  pageParamName: "after",
  // Not undefined, for which the client would send 0.
  initialPageParam: null,
  getNextPageParam: (page: { next?: string | null }) => page.next ?? undefined,
};
