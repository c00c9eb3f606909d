import { Center, EmptyState, RouteLink, Title } from "@/ui";

/** The page for an address at which there is none. */
export function NotFound() {
  return (
    <Center component="main" mih="60vh">
      <div>
        <Title order={1} ta="center">
          Not found
        </Title>
        <EmptyState
          title="There is no page at this address"
          action={<RouteLink to="/">Go to the start</RouteLink>}
        >
          The link may be of another version, or it was not copied completely.
        </EmptyState>
      </div>
    </Center>
  );
}
