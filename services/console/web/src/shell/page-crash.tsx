import type { ErrorComponentProps } from "@tanstack/react-router";
import { Button, Center, EmptyState, Title } from "@/ui";

/** The page after a defect in a page, or when its file could not be loaded. */
export function PageCrash({ reset }: ErrorComponentProps) {
  return (
    <Center mih="60vh">
      <div role="alert">
        <Title order={1} ta="center">
          This page failed
        </Title>
        <EmptyState
          title="It could not be shown"
          action={
            <Button
              onClick={() => {
                reset();
                window.location.reload();
              }}
            >
              Load it again
            </Button>
          }
        >
          Requests of your apps are not affected. If it fails again, the console may have been updated or does
          not answer.
        </EmptyState>
      </div>
    </Center>
  );
}
