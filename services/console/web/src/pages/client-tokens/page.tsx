import { useAccess } from "@/session/access";
import { useSession } from "@/session/session";
import { ActionButton, EmptyState, Page, Panel } from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { DroppedNotice } from "@/url/dropped-notice";
import { flag, optionOf, text, usePageSearch } from "@/url/search";
import { CreateTokenDialog } from "./create-token-dialog";
import { TokenList } from "./token-list";

const SPEC = {
  q: text(),
  state: optionOf(["active", "disabled", "expired", "revoked"]),
  member: text(/^[A-Za-z0-9_.:@-]{1,100}$/),
  create: flag(),
};

/** Who uses what, and who is near a limit? */
export default function ClientTokensPage() {
  const search = usePageSearch(SPEC);
  const access = useAccess("list_client_tokens");
  const { role } = useSession();
  const { values, change } = search;
  const create = (
    <ActionButton
      operation="create_client_token"
      leftSection={<PlusIcon size={16} aria-hidden />}
      onClick={() => change({ create: true }, "push")}
    >
      Create token
    </ActionButton>
  );
  return (
    <Page
      title="Client tokens"
      description={
        role === "developer"
          ? "What your programs present to the gateway. You see your own tokens."
          : "What programs present to the gateway, and what each of them may do."
      }
      actions={create}
    >
      <DroppedNotice dropped={search.dropped} />
      {access.allowed ? (
        <TokenList values={values} create={create} onChange={change} />
      ) : (
        <Panel title="Tokens">
          <EmptyState title="Your role does not see client tokens">{access.reason}</EmptyState>
        </Panel>
      )}
      {values.create ? <CreateTokenDialog onClose={() => change({ create: false })} /> : null}
    </Page>
  );
}
