/** Whether shortcuts of one letter are on, kept in this browser: people who dictate turn them off (WCAG 2.1.4). */

const KEY = "keyferry-shortcuts";

export function shortcutsEnabled(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

export function setShortcutsEnabled(enabled: boolean): void {
  try {
    localStorage.setItem(KEY, enabled ? "on" : "off");
  } catch {
    // Without storage they stay on.
  }
}
