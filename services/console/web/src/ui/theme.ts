/** Colours and sizes of the console. Contrasts satisfy WCAG 2.2 AA on both schemes; the axe tests check them. */

import { type CSSVariablesResolver, createTheme } from "@mantine/core";

export const theme = createTheme({
  primaryColor: "cyan",
  primaryShade: { light: 9, dark: 9 },
  defaultRadius: "md",
  breakpoints: { xs: "36em", sm: "48em", md: "64em", lg: "75em", xl: "88em" },
  cursorType: "pointer",
  fontFamily:
    'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: { sizes: { h1: { fontSize: "1.5rem", lineHeight: "1.3" }, h2: { fontSize: "1.05rem" } } },
  components: {
    // The title of an outlined alert has the colour of its border, which is too light for text.
    Alert: { styles: { title: { color: "var(--mantine-color-text)" } } },
    Anchor: { defaultProps: { underline: "always" } },
    // A header element in a dialog would count as a second banner of the page.
    Modal: {
      defaultProps: {
        centered: true,
        closeButtonProps: { "aria-label": "Close" },
        attributes: { header: { role: "presentation" } },
      },
    },
    Drawer: {
      defaultProps: {
        closeButtonProps: { "aria-label": "Close" },
        attributes: { header: { role: "presentation" } },
      },
    },
    Tooltip: {
      defaultProps: { events: { hover: true, focus: true, touch: true }, multiline: true, maw: 320 },
    },
    Checkbox: { defaultProps: { size: "md" } },
    Radio: { defaultProps: { size: "md" } },
    // Its buttons are smaller than 24 pixels (WCAG 2.5.8); the arrow keys do the same.
    NumberInput: { defaultProps: { hideControls: true } },
    Table: { defaultProps: { verticalSpacing: "sm" } },
  },
});

/** Darker greys and reds for text than Mantine's own, whose contrast is below 4.5:1. */
export const resolveVariables: CSSVariablesResolver = (mantine) => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": mantine.colors.gray[7],
    "--mantine-color-placeholder": mantine.colors.gray[7],
    "--mantine-color-error": mantine.colors.red[9],
    "--mantine-color-anchor": mantine.colors.cyan[9],
    "--keyferry-background": mantine.colors.gray[0],
  },
  dark: {
    "--mantine-color-dimmed": mantine.colors.dark[1],
    "--mantine-color-placeholder": mantine.colors.dark[1],
    "--mantine-color-error": mantine.colors.red[3],
    "--mantine-color-anchor": mantine.colors.cyan[3],
    "--keyferry-background": mantine.colors.dark[8],
  },
});

export const STATUS_COLORS = {
  ok: { light: "#237032", dark: "#69db7c" },
  warning: { light: "#b35900", dark: "#ffc078" },
  error: { light: "#c92a2a", dark: "#ffa8a8" },
  neutral: { light: "#495057", dark: "#c1c2c5" },
  info: { light: "#0b7285", dark: "#66d9e8" },
} as const;

export type StatusKind = keyof typeof STATUS_COLORS;
