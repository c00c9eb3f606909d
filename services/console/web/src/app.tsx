import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { newQueryClient } from "@/api/query-client";
import { router } from "@/routes";
import { TimeZoneProvider } from "@/session/time-zone";
import { UiProvider } from "@/ui";

const sessionCache = newQueryClient();

/** The whole console. */
export function App() {
  return (
    <UiProvider>
      <TimeZoneProvider>
        <QueryClientProvider client={sessionCache}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </TimeZoneProvider>
    </UiProvider>
  );
}
