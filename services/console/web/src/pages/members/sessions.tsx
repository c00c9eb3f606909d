import { useQueryClient } from "@tanstack/react-query";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { useSession } from "@/session/session";
import { Button, type Column, DataTable, EmptyState, notify, Panel, QueryState, Time } from "@/ui";

type Session = Schemas["SessionView"];
const CHANNELS = { browser: "Browser", device: "Command line", code: "Code of this machine" } as const;

/** The sessions of the person who is signed in, in all browsers and terminals. */
export function SessionsPanel() {
  const { sender } = useSession();
  return sender.session ? (
    <OwnSessions />
  ) : (
    <Panel title="Your sessions">
      <EmptyState title="You use a token, not a session" />
    </Panel>
  );
}

function OwnSessions() {
  const cache = useQueryClient();
  const sessions = query.useQuery("get", "/api/v1/sessions", {});
  const end = query.useMutation("delete", "/api/v1/sessions/{session_id}", {
    onError: (error) => notify(`The session goes on: ${asApiError(error).message}`, "error"),
    onSuccess: () => void cache.invalidateQueries(),
  });
  const columns: readonly Column<Session>[] = [
    { id: "channel", header: "Where", rowHeader: true, cell: (session) => CHANNELS[session.channel] },
    { id: "created", header: "Signed in", cell: (session) => <Time iso={session.created_at} /> },
    { id: "seen", header: "Last used", cell: (session) => <Time iso={session.last_seen_at} relative /> },
    { id: "expires", header: "Ends", cell: (session) => <Time iso={session.expires_at} /> },
    {
      id: "actions",
      header: "Actions",
      cell: (session) =>
        session.current ? (
          "this one"
        ) : (
          <Button
            variant="default"
            size="xs"
            onClick={() => end.mutate({ params: { path: { session_id: session.session_id } } })}
          >
            End session
          </Button>
        ),
    },
  ];
  return (
    <Panel title="Your sessions">
      <QueryState what="your sessions" query={sessions} height={200}>
        {(data) => (
          <DataTable
            caption="Your sessions"
            columns={columns}
            rows={data.data}
            rowKey={(session) => session.session_id}
          />
        )}
      </QueryState>
    </Panel>
  );
}
