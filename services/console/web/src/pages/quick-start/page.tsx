import { useState } from "react";
import { api, query } from "@/api/client";
import {
  LANGUAGE_NAMES,
  type Language,
  snippetOf,
  TOKEN_PLACEHOLDER,
} from "@/components/client-tokens/snippets";
import { useUsableModel } from "@/components/client-tokens/usable-model";
import { useAction } from "@/components/use-action";
import { CONFIG } from "@/config";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Alert,
  Code,
  CopyButton,
  ErrorNotice,
  Group,
  Page,
  Panel,
  QueryState,
  SimpleGrid,
  Snippet,
  Stack,
  Tabs,
  Text,
} from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import { FirstRequest } from "./first-request";
import { Preparation } from "./preparation";

const LANGUAGES = ["curl", "python", "typescript", "langchain", "cli"] as const satisfies readonly Language[];
const SPEC = { language: oneOf(LANGUAGES, "curl") };

interface NewToken {
  readonly tokenId: string;
  readonly label: string;
  /** In the memory of this page alone: gone when the page is left. */
  readonly secret: string;
}

/** The first request, with a working token in the snippet. */
export default function QuickStartPage() {
  const tenant = useTenant();
  const search = usePageSearch(SPEC);
  const model = useUsableModel();
  const [token, setToken] = useState<NewToken | null>(null);
  const { data: session } = query.useQuery("get", "/api/v1/session", {}, { staleTime: 60_000 });
  const creating = useAction(async () => {
    const label = `Quick start of ${(session?.name ?? session?.email ?? "the console").slice(0, 60)}`;
    const { data } = await api.POST("/api/v1/client-tokens", { body: { label } });
    if (data) {
      setToken({ tokenId: data.token_id, label: data.label, secret: data.token });
    }
  });
  const baseUrl = `${CONFIG.apiUrl}/v1`;
  const language = search.values.language;
  return (
    <Page
      title="Quick start"
      description="Any program that speaks OpenAI's API works: only the base URL and the key change."
    >
      <DroppedNotice dropped={search.dropped} />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Stack>
          <Preparation />
          <Panel title="1. Get a client token">
            {token ? (
              <Alert color="green" variant="outline" title={`The token “${token.label}” is in the snippet`}>
                <Text size="sm">
                  It is shown on this page only, until you leave it. It has no limits of its own: set them on
                  the page Client tokens.
                </Text>
              </Alert>
            ) : (
              <Group justify="space-between" gap="sm">
                <Text size="sm" flex={1} miw={220}>
                  A client token says who calls. One click makes one and puts it into the snippet.
                </Text>
                <ActionButton
                  operation="create_client_token"
                  loading={creating.busy}
                  onClick={() => void creating.run()}
                >
                  Create a token
                </ActionButton>
              </Group>
            )}
            {creating.error ? <ErrorNotice what="the token" error={creating.error} change /> : null}
            <Group gap="xs">
              <Text size="sm">Base URL</Text>
              <Code>{baseUrl}</Code>
              <CopyButton value={baseUrl} label="Copy the base URL" />
            </Group>
          </Panel>
        </Stack>
        <Stack>
          <Panel title="2. Send a request">
            <QueryState what="the models" query={model} height={260}>
              {(chosen) => (
                <Tabs
                  value={language}
                  onChange={(value) =>
                    search.change({ language: LANGUAGES.find((each) => each === value) ?? "curl" })
                  }
                >
                  <Tabs.List>
                    {LANGUAGES.map((each) => (
                      <Tabs.Tab key={each} value={each}>
                        {LANGUAGE_NAMES[each]}
                      </Tabs.Tab>
                    ))}
                  </Tabs.List>
                  {LANGUAGES.map((each) => (
                    <Tabs.Panel key={each} value={each} pt="xs">
                      {each === language ? (
                        <Stack gap="xs">
                          <Snippet
                            label={LANGUAGE_NAMES[each]}
                            code={snippetOf(each, {
                              baseUrl,
                              token: token?.secret ?? TOKEN_PLACEHOLDER,
                              model: chosen,
                              tenant,
                              consoleUrl: window.location.origin,
                            })}
                          />
                          <Text size="xs" c="dimmed">
                            {chosen === "echo"
                              ? "The model echo is built in: it repeats your message, needs no key and costs nothing."
                              : `${chosen} can be called by this tenant now.`}
                            {each === "cli"
                              ? " The command line signs you in and needs no client token."
                              : ""}
                          </Text>
                        </Stack>
                      ) : null}
                    </Tabs.Panel>
                  ))}
                </Tabs>
              )}
            </QueryState>
          </Panel>
          <FirstRequest tokenId={token?.tokenId ?? null} anyToken={language === "cli"} />
        </Stack>
      </SimpleGrid>
    </Page>
  );
}
