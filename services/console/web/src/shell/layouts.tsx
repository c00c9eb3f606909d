import { Outlet, useParams } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense } from "react";
import { ApiError } from "@/api/errors";
import { LiveProvider } from "@/live/live";
import { roleFor, type Sender, SessionProvider, useSenderQuery } from "@/session/session";
import { SessionEnded } from "@/session/session-ended";
import { Center, Loader } from "@/ui";
import { AwayPage } from "./away-page";
import { NotMember } from "./not-member";
import { Shell } from "./shell";

const SignIn = lazy(() => import("@/pages/sign-in/page"));

/** Show a page for the person who is signed in, the sign-in page to others. */
function WithSender({ children }: { children: (sender: Sender) => ReactNode }) {
  const sender = useSenderQuery();
  if (sender.data) {
    return children(sender.data);
  }
  if (sender.error) {
    const signedOut = sender.error instanceof ApiError && sender.error.status === 401;
    return signedOut ? (
      <Suspense>
        <SignIn />
      </Suspense>
    ) : (
      <AwayPage error={sender.error} onRetry={() => void sender.refetch()} />
    );
  }
  return (
    <Center h="100vh" aria-busy="true">
      <Loader aria-label="Loading" />
    </Center>
  );
}

function InShell({ sender, tenant }: { sender: Sender; tenant: string | null }) {
  return (
    <>
      <SessionEnded />
      {/* Nothing that one person has loaded or typed is left to another who signs in after them. */}
      <SessionProvider sender={sender} tenant={tenant} key={JSON.stringify([sender.actor, tenant])}>
        <LiveProvider>
          <Shell>
            <Suspense>
              <Outlet />
            </Suspense>
          </Shell>
        </LiveProvider>
      </SessionProvider>
    </>
  );
}

/** The frame of the pages of a tenant. */
export function TenantLayout() {
  const { tenant } = useParams({ strict: false });
  return (
    <WithSender>
      {(sender) =>
        tenant === undefined || roleFor(sender, tenant).role === null ? (
          <NotMember sender={sender} tenant={tenant ?? ""} />
        ) : (
          <InShell sender={sender} tenant={tenant} />
        )
      }
    </WithSender>
  );
}

/** The frame of the pages about the installation. */
export function OperatorLayout() {
  return (
    <WithSender>
      {(sender) =>
        sender.operator ? (
          <InShell sender={sender} tenant={null} />
        ) : (
          <NotMember sender={sender} tenant={null} />
        )
      }
    </WithSender>
  );
}
