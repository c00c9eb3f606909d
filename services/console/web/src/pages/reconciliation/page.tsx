import { useQueryClient } from "@tanstack/react-query";
import { Page, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { text, usePageSearch } from "@/url/search";
import { CompareForm } from "./compare-form";
import { ReportList } from "./report-list";
import { ReportPanel } from "./report-panel";

const SPEC = { report: text(/^rcn_[a-z0-9]{1,60}$/) };

/** Does the provider's invoice agree with what was recorded, and if not, why? */
export default function ReconciliationPage() {
  const { values, dropped, change } = usePageSearch(SPEC);
  const cache = useQueryClient();
  return (
    <Page
      title="Reconciliation"
      description="What providers say was used, compared with what was recorded, by day (UTC) and model."
    >
      <DroppedNotice dropped={dropped} />
      <Stack gap="md">
        {values.report ? (
          <ReportPanel reportId={values.report} onClose={() => change({ report: "" }, "push")} />
        ) : null}
        <CompareForm
          onCompared={(report) => {
            void cache.invalidateQueries();
            change({ report }, "push");
          }}
        />
        <ReportList current={values.report} onOpen={(report) => change({ report }, "push")} />
      </Stack>
    </Page>
  );
}
