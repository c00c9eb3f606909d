import type { Schemas } from "@/api/client";

type Invitation = Schemas["Invitation"];

/** Return what has become of an invitation. */
export function invitationState(
  invitation: Pick<Invitation, "accepted_at" | "revoked_at" | "expires_at">,
  now: Date,
): "accepted" | "revoked" | "expired" | "open" {
  if (invitation.accepted_at) {
    return "accepted";
  }
  if (invitation.revoked_at) {
    return "revoked";
  }
  return new Date(invitation.expires_at) <= now ? "expired" : "open";
}
