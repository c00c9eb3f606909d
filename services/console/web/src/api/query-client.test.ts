import { expect, it, vi } from "vitest";
import { newQueryClient } from "./query-client";

it("keeps nothing of a change once nobody shows it", async () => {
  const client = newQueryClient();
  const change = client
    .getMutationCache()
    .build(client, { mutationFn: async () => ({ code: "kfi_secret" }) });
  await change.execute(undefined);
  await vi.waitFor(() => expect(client.getMutationCache().getAll()).toEqual([]));
});
