/** The few parts of a browser that modules read when they are loaded, for unit tests, which run without one. */

import { vi } from "vitest";

vi.stubGlobal("window", { location: { origin: "http://console.test" } });
vi.stubGlobal("document", { getElementById: () => null, querySelector: () => null });
