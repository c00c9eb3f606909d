/** What can be done with a stored key, with the messages that follow. */

import { useQueryClient } from "@tanstack/react-query";
import { api, currentScope, pathPart, sendRaw } from "@/api/client";
import { asApiError } from "@/api/errors";
import { notify, notifyWithUndo } from "@/ui";
import type { ProviderKey } from "./key-status";

const PATH = "/api/v1/provider-keys/{key_id}";

/** Return the actions on keys; each asks the lists again when it is done, and raises ApiError. */
export function useKeyActions() {
  const queries = useQueryClient();
  const refresh = () =>
    queries.invalidateQueries({
      predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/provider-keys"),
    });
  const params = (key: ProviderKey) => ({ params: { path: { key_id: key.key_id } } });
  return {
    refresh,
    async test(key: ProviderKey) {
      const { data } = await api.POST(`${PATH}/test`, params(key));
      await refresh();
      const result = data?.last_test?.result;
      notify(
        `${key.label}: ${result === "valid" ? "the key works" : `the test says ${result ?? "nothing"}`}.`,
        result === "valid" ? "ok" : "error",
      );
    },
    async setDisabled(key: ProviderKey, disabled: boolean) {
      await api.PATCH(PATH, { ...params(key), body: { disabled } });
      await refresh();
      notify(`${disabled ? "Disabled" : "Enabled"} the key ${key.label}.`);
    },
    async remove(key: ProviderKey) {
      await api.DELETE(PATH, params(key));
      await refresh();
      notify(`Deleted the key ${key.label}.`);
    },
    /** Delete a key that nothing uses, unless somebody undoes it within ten seconds. */
    removeUnlessUndone(key: ProviderKey, onRemoved?: () => void) {
      // Ten seconds later the page may be another tenant's, or about to be closed.
      const scope = currentScope();
      const path = PATH.replace("{key_id}", pathPart(key.key_id));
      notifyWithUndo(`The key ${key.label} is being deleted.`, () => {
        void sendRaw("DELETE", path, { keepalive: true }, scope)
          .then(async () => {
            await refresh();
            onRemoved?.();
          })
          .catch((error: unknown) =>
            notify(`The key ${key.label} was not deleted: ${asApiError(error).message}`, "error"),
          );
      });
    },
  };
}
