import { Center, EmptyState, RouteLink, Title } from "@/ui";

/** The page of a tab that was opened only to sign in again. */
export default function SignedInPage() {
  return (
    <Center component="main" mih="60vh">
      <div>
        <Title order={1} ta="center">
          Keyferry
        </Title>
        <EmptyState title="You are signed in" action={<RouteLink to="/">Or go on here</RouteLink>}>
          Close this tab and go on where you were.
        </EmptyState>
      </div>
    </Center>
  );
}
