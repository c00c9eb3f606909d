import { DroppedNotice } from "./dropped-notice";
import { usePageSearch } from "./search";

const NONE = {};

/** For a page that has no parameters: say which ones of the address were ignored. */
export function NoParameters() {
  return <DroppedNotice dropped={usePageSearch(NONE).dropped} />;
}
