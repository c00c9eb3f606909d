import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import type { ReactNode } from "react";
import { styleNonce } from "@/config";
import { resolveVariables, theme } from "./theme";
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./global.css";

// The library with which dialogs and drawers stop the page below from scrolling reads the nonce of its styles here.
Object.assign(globalThis, { __webpack_nonce__: styleNonce() });

/** The same key as in the script of index.html, which sets the scheme before the first paint. */
const schemeManager = localStorageColorSchemeManager({ key: "keyferry-color-scheme" });

/** Provide the theme, the nonce for generated styles, and the place of notifications. */
export function UiProvider({ children }: { children: ReactNode }) {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={resolveVariables}
      colorSchemeManager={schemeManager}
      defaultColorScheme="auto"
      getStyleNonce={styleNonce}
    >
      <Notifications position="bottom-right" limit={4} />
      {children}
    </MantineProvider>
  );
}
