import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api } from "@/api/client";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Button, Group, TextInput } from "@/ui";
import { type RequestFilters, readSearchText } from "./filters";

interface SearchFieldProps {
  filters: RequestFilters;
  onSearch: (patch: Pick<RequestFilters, "id" | "text">) => void;
}

/** Search by the id of a request, an attempt, a decision or a trace, which leads to the request, or by words of a failure. */
export function SearchField({ filters, onSearch }: SearchFieldProps) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const applied = filters.id || filters.text;
  const [typed, setTyped] = useState(applied);
  const [follows, setFollows] = useState(applied);
  const [busy, setBusy] = useState(false);
  if (follows !== applied) {
    setFollows(applied);
    setTyped(applied);
  }
  const open = (id: string) =>
    void navigate({ href: tenantPath(tenant, `requests/${encodeURIComponent(id)}`) });
  const search = async () => {
    const { kind, value } = readSearchText(typed);
    if (kind === "request") {
      open(value);
      return;
    }
    if (kind === "id") {
      setBusy(true);
      try {
        const { data } = await api.GET("/api/v1/requests", { params: { query: { id: value, limit: 2 } } });
        const only = data?.data.length === 1 ? data.data[0] : undefined;
        if (only) {
          open(only.request_id);
          return;
        }
      } catch {
        // The list below says what is wrong.
      } finally {
        setBusy(false);
      }
    }
    onSearch({ id: kind === "id" && value.length >= 8 ? value : "", text: kind === "text" ? value : "" });
  };
  return (
    <form
      className="request-search"
      onSubmit={(event) => {
        event.preventDefault();
        void search();
      }}
    >
      <Group gap="xs" wrap="nowrap">
        <TextInput
          type="search"
          aria-label="Search by ID, or by words of a failure"
          placeholder="Request or trace ID, or words of a failure"
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          flex={1}
          maxLength={200}
        />
        <Button type="submit" variant="default" loading={busy}>
          Search
        </Button>
      </Group>
    </form>
  );
}
