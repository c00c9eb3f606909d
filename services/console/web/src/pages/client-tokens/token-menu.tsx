import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "@/api/client";
import { asApiError } from "@/api/errors";
import { type ClientToken, stateOf } from "@/components/client-tokens/token-state";
import { tenantPath } from "@/navigation";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import { ActionIcon, Loader, Menu, notify } from "@/ui";
import { MoreIcon } from "@/ui/icons";
import type { TokenAct } from "./token-table";

/** What can be done with a token; what can be undone needs no question. */
export function TokenMenu({ token, onOpen }: { token: ClientToken; onOpen: (act: TokenAct) => void }) {
  const tenant = useTenant();
  const access = useAccess("update_client_token");
  const refresh = useRefreshTokens();
  const [busy, setBusy] = useState(false);
  const state = stateOf(token);
  const params = { params: { path: { token_id: token.token_id } } };
  const act = async (work: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await work();
      await refresh();
      notify(done);
    } catch (error) {
      notify(`${token.label}: ${asApiError(error).message}`, "error");
    } finally {
      setBusy(false);
    }
  };
  const setDisabled = (disabled: boolean) =>
    act(
      () => api.PATCH("/api/v1/client-tokens/{token_id}", { ...params, body: { disabled } }),
      `${disabled ? "Disabled" : "Enabled"} the token ${token.label}.`,
    );
  const revoked = state === "revoked";
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${token.label}`}>
          {busy ? <Loader size={16} aria-label="Working" /> : <MoreIcon size={18} aria-hidden />}
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {access.allowed ? null : <Menu.Label>{access.reason}</Menu.Label>}
        <Menu.Item component="a" href={tenantPath(tenant, `requests?client_token=${token.token_id}`)}>
          Show its requests
        </Menu.Item>
        <Menu.Item disabled={!access.allowed || revoked} onClick={() => onOpen("edit")}>
          Edit
        </Menu.Item>
        <Menu.Item disabled={!access.allowed || revoked} onClick={() => onOpen("rotate")}>
          Rotate
        </Menu.Item>
        {token.previous ? (
          <Menu.Item
            disabled={!access.allowed}
            onClick={() =>
              void act(
                () => api.POST("/api/v1/client-tokens/{token_id}/end-overlap", params),
                `The old secret of ${token.label} is not accepted any more.`,
              )
            }
          >
            End the overlap
          </Menu.Item>
        ) : null}
        <Menu.Item
          disabled={!access.allowed || revoked}
          onClick={() => void setDisabled(state !== "disabled")}
        >
          {state === "disabled" ? "Enable" : "Disable"}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item color="red" disabled={!access.allowed || revoked} onClick={() => onOpen("revoke")}>
          Delete
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** Return a function that asks the lists of tokens again. */
export function useRefreshTokens(): () => Promise<void> {
  const queries = useQueryClient();
  return () =>
    queries.invalidateQueries({
      predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/client-tokens"),
    });
}
