import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useState } from "react";
import { query } from "@/api/client";
import { OPERATOR_GROUP, operatorPath, TENANT_GROUPS, tenantPath } from "@/navigation";
import { useSession } from "@/session/session";
import { Modal, Stack, Text, TextInput, UnstyledButton } from "@/ui";

interface Target {
  readonly label: string;
  readonly kind: string;
  readonly to: string;
}

const REQUEST_ID = /^(req|dec)_[0-9a-zA-Z]{6,40}$/;
const TRACE_ID = /^[0-9a-fA-F]{32}$/;
const MOST_SHOWN = 12;

/** Search over pages, provider keys, models and request ids. */
export default function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const targets = useTargets(text);
  const navigate = useNavigate();
  const list = useId();
  const open = (target: Target | undefined) => {
    if (target) {
      onClose();
      void navigate({ href: target.to });
    }
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0 && targets.length > 0) {
      event.preventDefault();
      setChosen((before) => (before + step + targets.length) % targets.length);
    } else if (event.key === "Enter") {
      open(targets[chosen]);
    }
  };
  return (
    <Modal opened onClose={onClose} title="Search or jump to" yOffset="10vh" centered={false}>
      <TextInput
        type="search"
        aria-label="A page, a key, a model or the id of a request"
        placeholder="A page, a key, a model or the id of a request"
        role="combobox"
        aria-expanded
        aria-controls={list}
        aria-activedescendant={targets[chosen] ? `${list}-${chosen}` : undefined}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={onKey}
        data-autofocus
      />
      <Stack gap={2} mt="sm" id={list} role="listbox" aria-label="Results">
        {targets.length === 0 ? (
          <Text size="sm" c="dimmed" role="option" aria-selected={false}>
            Nothing matches.
          </Text>
        ) : null}
        {targets.map((target, index) => (
          <UnstyledButton
            key={target.to}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === chosen}
            className="palette-option"
            tabIndex={-1}
            onClick={() => open(target)}
          >
            {target.label}{" "}
            <Text span size="xs" c="dimmed">
              {target.kind}
            </Text>
          </UnstyledButton>
        ))}
      </Stack>
    </Modal>
  );
}

function useTargets(text: string): readonly Target[] {
  const { tenant, sender } = useSession();
  const wanted = text.trim().toLowerCase();
  const search = { enabled: tenant !== null && wanted.length >= 2, staleTime: 60_000, retry: false };
  const keys = query.useQuery("get", "/api/v1/provider-keys", { params: { query: { limit: 100 } } }, search);
  const models = query.useQuery("get", "/api/v1/models", { params: { query: { limit: 100 } } }, search);
  const targets: Target[] = [];
  if (tenant !== null) {
    const id = text.trim();
    if (REQUEST_ID.test(id)) {
      targets.push({ label: id, kind: "request", to: tenantPath(tenant, `requests/${id}`) });
    }
    if (TRACE_ID.test(id)) {
      targets.push({ label: id, kind: "trace", to: tenantPath(tenant, `traces/${id.toLowerCase()}`) });
    }
    for (const page of TENANT_GROUPS.flatMap((group) => group.pages)) {
      targets.push({ label: page.name, kind: "page", to: tenantPath(tenant, page.path) });
    }
    for (const key of keys.data?.data ?? []) {
      targets.push({
        label: `${key.name ?? key.label} ${key.masked}`,
        kind: `key for ${key.provider}`,
        to: tenantPath(tenant, `keys/${key.key_id}`),
      });
    }
    for (const model of models.data?.data ?? []) {
      const name = encodeURIComponent(model.id);
      targets.push({ label: model.id, kind: "model", to: `${tenantPath(tenant, "catalog")}?q=${name}` });
    }
  }
  if (sender.operator) {
    for (const page of OPERATOR_GROUP.pages) {
      targets.push({ label: page.name, kind: "page of the installation", to: operatorPath(page.path) });
    }
  }
  const matching = targets.filter(
    (target) => target.kind === "request" || `${target.label} ${target.kind}`.toLowerCase().includes(wanted),
  );
  return matching.slice(0, MOST_SHOWN);
}
