import { download } from "@/api/download";
import { asApiError } from "@/api/errors";
import { Button, Menu, notify } from "@/ui";
import { ChevronDownIcon, DownloadIcon, LinkIcon } from "@/ui/icons";
import type { PageSearch } from "@/url/search";
import type { Summary } from "./prepare";
import { bucketOf, repeatedQuery, requestsSearch, type SpanQuery, type USAGE_SEARCH } from "./search";

interface ActionsProps {
  search: PageSearch<typeof USAGE_SEARCH>;
  span: SpanQuery;
  /** The answer with the times that the relative range stands for now. */
  answer: Summary | undefined;
}

async function copy(path: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(`${window.location.origin}${path}`);
    notify(`${what} copied`);
  } catch {
    notify("The browser does not allow copying. Copy the address from its bar instead.", "error");
  }
}

async function save(path: string, filename: string): Promise<void> {
  try {
    await download(path, filename);
  } catch (error) {
    notify(`Could not download ${filename}: ${asApiError(error).message}`, "error");
  }
}

/** Export and share what is shown. */
export function Actions({ search, span, answer }: ActionsProps) {
  const { values } = search;
  const bucket = bucketOf(values, new Date());
  const csv = (route: string, more: Record<string, string | readonly string[]>) =>
    `/api/v1/usage/${route}${repeatedQuery({ ...span, ...more, format: "csv" })}`;
  const requests = answer ? requestsSearch(values, answer) : null;
  const table = csv("breakdown", { by: ["model", "provider", "key_source"], limit: "500" });
  const series = csv("series", { bucket, by: values.by, lines: "20" });
  return (
    <>
      <Menu>
        <Menu.Target>
          <Button
            variant="default"
            leftSection={<LinkIcon size={16} aria-hidden />}
            rightSection={<ChevronDownIcon size={14} aria-hidden />}
          >
            Copy link
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => void copy(search.href({}), "Link")}>
            This view, with its relative time
          </Menu.Item>
          <Menu.Item
            disabled={answer === undefined}
            onClick={() =>
              answer
                ? void copy(
                    search.href({ since: answer.since, until: answer.until }),
                    "Link with fixed times",
                  )
                : undefined
            }
          >
            This view, with fixed times
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Menu>
        <Menu.Target>
          <Button
            variant="default"
            leftSection={<DownloadIcon size={16} aria-hidden />}
            rightSection={<ChevronDownIcon size={14} aria-hidden />}
          >
            Export CSV
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => void save(table, "usage-by-model.csv")}>Table by model</Menu.Item>
          <Menu.Item
            onClick={() => void save(series, `usage-per-${bucket}.csv`)}
          >{`Figures per ${bucket}`}</Menu.Item>
          <Menu.Item
            disabled={requests === null}
            onClick={() =>
              void save(
                `/api/v1/requests/export${requests}&format=csv&tz=${encodeURIComponent(span.tz)}`,
                "requests.csv",
              )
            }
          >
            All requests
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}
