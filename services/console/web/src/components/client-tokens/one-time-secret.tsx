import { useState } from "react";
import { CONFIG } from "@/config";
import { useTenant } from "@/session/session";
import { Alert, Button, Code, CopyButton, Group, Snippet, Stack, Tabs, Text } from "@/ui";
import { LANGUAGE_NAMES, type Language, snippetOf } from "./snippets";

const SHOWN: readonly Language[] = ["curl", "python", "env"];

interface OneTimeSecretProps {
  /** The token. It is in the memory of the dialog alone, and gone with it. */
  token: string;
  model: string;
  onStored: () => void;
}

/** Show a new client token once, with programs that use it. */
export function OneTimeSecret({ token, model, onStored }: OneTimeSecretProps) {
  const tenant = useTenant();
  const [language, setLanguage] = useState<Language>("curl");
  const values = {
    baseUrl: `${CONFIG.apiUrl}/v1`,
    token,
    model,
    tenant,
    consoleUrl: window.location.origin,
  };
  return (
    <Stack gap="sm">
      <Alert color="yellow" variant="outline" title="This token is shown only now">
        <Text size="sm">
          Store it where your program reads it. Nobody can show it again; it can be replaced.
        </Text>
      </Alert>
      <Group gap="xs" wrap="nowrap">
        <Code block flex={1} data-testid="new-token">
          {token}
        </Code>
        <CopyButton value={token} label="Copy the token" />
      </Group>
      <Tabs value={language} onChange={(value) => setLanguage((value as Language | null) ?? "curl")}>
        <Tabs.List>
          {SHOWN.map((each) => (
            <Tabs.Tab key={each} value={each}>
              {LANGUAGE_NAMES[each]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {SHOWN.map((each) => (
          <Tabs.Panel key={each} value={each} pt="xs">
            {each === language ? (
              <Snippet code={snippetOf(each, values)} label={LANGUAGE_NAMES[each]} />
            ) : null}
          </Tabs.Panel>
        ))}
      </Tabs>
      <Group justify="flex-end">
        <Button onClick={onStored} data-autofocus>
          I have stored it
        </Button>
      </Group>
    </Stack>
  );
}
