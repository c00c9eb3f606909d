import { type ReactNode, useState } from "react";
import {
  ActionButton,
  Button,
  type Column,
  DataTable,
  EmptyState,
  Group,
  Page,
  Panel,
  QueryState,
  Text,
  Time,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { NoParameters } from "@/url/no-parameters";
import { AddIntegrationDialog, RemoveIntegrationDialog, RotateIntegrationDialog } from "./dialogs";
import { type IntegrationSecret, isManagedElsewhere, KINDS, kindsToAdd, type Owner } from "./kinds";
import { useIntegrations } from "./use-integrations";

interface IntegrationsViewProps {
  owner: Owner;
  description: string;
}

type Open = { dialog: "add" } | { dialog: "rotate" | "remove"; secret: IntegrationSecret };

/** The integration secrets of an owner, masked, with their changes. */
export function IntegrationsView({ owner, description }: IntegrationsViewProps) {
  const list = useIntegrations(owner);
  const [open, setOpen] = useState<Open | null>(null);
  const close = () => setOpen(null);
  const kinds = kindsToAdd(owner, list.data?.secrets ?? []);
  return (
    <Page
      title="Integrations"
      description={description}
      actions={
        <Change
          owner={owner}
          operation="add_integration"
          disabled={list.data === undefined || kinds.length === 0}
          onClick={() => setOpen({ dialog: "add" })}
        >
          <PlusIcon size={16} aria-hidden /> Add integration
        </Change>
      }
    >
      <NoParameters />
      <Panel title="Secrets">
        <QueryState what="the integrations" query={list} height={160}>
          {({ secrets }) => (
            <DataTable
              caption="Integrations"
              columns={columnsFor(owner, setOpen)}
              rows={secrets}
              rowKey={(secret) => secret.secret_id}
              empty={
                <EmptyState title="No integrations yet">
                  A secret that you add here is sealed, and is never shown again.
                </EmptyState>
              }
            />
          )}
        </QueryState>
      </Panel>
      {open?.dialog === "add" ? <AddIntegrationDialog owner={owner} kinds={kinds} onClose={close} /> : null}
      {open?.dialog === "rotate" ? (
        <RotateIntegrationDialog owner={owner} secret={open.secret} onClose={close} />
      ) : null}
      {open?.dialog === "remove" ? (
        <RemoveIntegrationDialog owner={owner} secret={open.secret} onClose={close} />
      ) : null}
    </Page>
  );
}

function columnsFor(owner: Owner, onOpen: (open: Open) => void): readonly Column<IntegrationSecret>[] {
  return [
    { id: "name", header: "Name", rowHeader: true, cell: (secret) => secret.name },
    { id: "kind", header: "Kind", cell: (secret) => KINDS[secret.kind].name },
    { id: "masked", header: "Secret", cell: (secret) => <code>{secret.masked}</code> },
    { id: "since", header: "Since", cell: (secret) => <Time iso={secret.rotated_at ?? secret.created_at} /> },
    {
      id: "previous",
      header: "Previous version",
      cell: (secret) =>
        secret.previous_until ? (
          <>
            valid until <Time iso={secret.previous_until} />
          </>
        ) : (
          "none"
        ),
    },
    {
      id: "actions",
      header: "Actions",
      cell: (secret) =>
        isManagedElsewhere(secret.kind) ? (
          <Text size="sm" c="dimmed">
            With its webhook
          </Text>
        ) : (
          <Group gap="xs" wrap="nowrap">
            <Change
              owner={owner}
              operation="rotate_integration"
              small
              label={`Rotate ${secret.name}`}
              onClick={() => onOpen({ dialog: "rotate", secret })}
            >
              Rotate
            </Change>
            <Change
              owner={owner}
              operation="remove_integration"
              small
              label={`Remove ${secret.name}`}
              onClick={() => onOpen({ dialog: "remove", secret })}
            >
              Remove
            </Change>
          </Group>
        ),
    },
  ];
}

interface ChangeProps {
  owner: Owner;
  operation: string;
  small?: boolean;
  disabled?: boolean;
  label?: string;
  onClick: () => void;
  children: ReactNode;
}

/** A button for a change; on the pages of the installation everybody is an operator, who may. */
function Change({
  owner,
  operation,
  small = false,
  disabled = false,
  label,
  onClick,
  children,
}: ChangeProps) {
  const looks = small ? ({ variant: "default", size: "xs" } as const) : {};
  const named = label === undefined ? {} : { "aria-label": label };
  return owner === "platform" ? (
    <Button disabled={disabled} onClick={onClick} {...looks} {...named}>
      {children}
    </Button>
  ) : (
    <ActionButton operation={operation} disabled={disabled} onClick={onClick} {...looks} {...named}>
      {children}
    </ActionButton>
  );
}
