import { useEffect, useState } from "react";
import { onUnauthorized } from "@/api/client";
import { Button, Group, Modal, Stack, Text } from "@/ui";
import { useRefreshSender } from "./session";

type Need = "sign-in" | "step-up";

/**
 * Ask for a new sign-in over the page when a request was answered with 401.
 *
 * The page below stays as it is, with everything typed into its forms: signing in happens in another tab.
 */
export function SessionEnded() {
  const [need, setNeed] = useState<Need | null>(null);
  const refresh = useRefreshSender();
  useEffect(
    () =>
      onUnauthorized((response) => {
        const challenge = response.headers.get("www-authenticate") ?? "";
        setNeed(challenge.includes("insufficient_user_authentication") ? "step-up" : "sign-in");
      }),
    [],
  );
  const signIn = () => {
    const address =
      need === "step-up" ? "/auth/login?step_up=1&return_to=/signed-in" : "/sign-in?return_to=/signed-in";
    window.open(address, "_blank", "noopener");
  };
  const goOn = async () => {
    setNeed(null);
    await refresh();
  };
  return (
    <Modal
      zIndex={1000}
      opened={need !== null}
      onClose={() => setNeed(null)}
      title={need === "step-up" ? "Confirm that it is you" : "Your session has ended"}
    >
      <Stack>
        <Text size="sm">
          {need === "step-up"
            ? "Changes of provider keys need a sign-in of their own. Nothing has been changed yet."
            : "Sign in again in another tab. What you have typed here stays, and nothing has been saved yet."}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={() => void goOn()}>
            I have signed in
          </Button>
          <Button onClick={signIn} data-autofocus>
            Sign in in a new tab
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
