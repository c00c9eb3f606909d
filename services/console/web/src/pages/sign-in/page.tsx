import { useQuery } from "@tanstack/react-query";
import { useLocation } from "@tanstack/react-router";
import { useEffect } from "react";
import { sendRaw } from "@/api/client";
import { Alert, Button, Center, Paper, QueryState, Snippet, Stack, Text, Title } from "@/ui";
import { signInError } from "./errors";

/** The page for people who are not signed in. */
export default function SignInPage() {
  const { pathname, searchStr } = useLocation();
  const search = new URLSearchParams(searchStr);
  const returnTo = search.get("return_to") ?? (pathname === "/sign-in" ? "/" : `${pathname}${searchStr}`);
  const error = signInError(search.get("error"));
  const methods = useQuery({
    queryKey: ["sign-in methods"],
    queryFn: async (): Promise<{ methods: string[] }> => (await sendRaw("GET", "/auth/methods")).json(),
  });
  useEffect(() => {
    document.title = "Sign in · Keyferry";
  }, []);
  return (
    <Center component="main" mih="100vh" p="md">
      <Paper withBorder p="xl" w={480} maw="100%">
        <Stack>
          <Title order={1}>Sign in to Keyferry</Title>
          {error ? (
            <Alert color="red" variant="outline" title="You are not signed in" role="alert">
              {error}
            </Alert>
          ) : null}
          <QueryState what="the ways to sign in" query={methods} height={120}>
            {(data) => <Methods methods={data.methods} returnTo={returnTo} />}
          </QueryState>
        </Stack>
      </Paper>
    </Center>
  );
}

function Methods({ methods, returnTo }: { methods: readonly string[]; returnTo: string }) {
  if (methods.includes("browser")) {
    const address = `/auth/login?return_to=${encodeURIComponent(returnTo)}`;
    return (
      <>
        <Text size="sm">Your organisation's identity provider says who you are and what you may do.</Text>
        <Button component="a" href={address} data-autofocus>
          Sign in
        </Button>
      </>
    );
  }
  if (methods.includes("code")) {
    return (
      <>
        <Text size="sm">
          This console runs on your own machine. Open the link that <code>make up</code> has printed, or ask
          for a new one where it runs:
        </Text>
        <Snippet label="the command" code="make console" />
      </>
    );
  }
  return (
    <Text size="sm">
      Nobody can sign in here yet: the operator of this installation has to connect an identity provider
      (KEYFERRY_OIDC_ISSUER).
    </Text>
  );
}
