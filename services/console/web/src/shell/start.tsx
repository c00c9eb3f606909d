import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect } from "react";
import { ApiError } from "@/api/errors";
import { operatorPath, tenantPath } from "@/navigation";
import { type Sender, useSenderQuery } from "@/session/session";
import { Center, Loader } from "@/ui";
import { AwayPage } from "./away-page";
import { NotMember } from "./not-member";

const SignIn = lazy(() => import("@/pages/sign-in/page"));

/** Return the first page of somebody: the tenant chosen last, else the first one, else the installation's. */
export function firstPage(sender: Sender): string | null {
  const tenant = sender.tenant ?? sender.memberships[0]?.tenant;
  if (tenant) {
    return tenantPath(tenant);
  }
  return sender.operator ? operatorPath("tenants") : null;
}

function GoTo({ path }: { path: string }) {
  const navigate = useNavigate();
  useEffect(() => void navigate({ href: path, replace: true }), [navigate, path]);
  return null;
}

/** The address `/`: goes on to the first page of the person who is signed in. */
export function Start() {
  const sender = useSenderQuery();
  if (sender.data) {
    const page = firstPage(sender.data);
    return page ? <GoTo path={page} /> : <NotMember sender={sender.data} tenant="" />;
  }
  if (sender.error) {
    return sender.error instanceof ApiError && sender.error.status === 401 ? (
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
