import { Anchor, type AnchorProps } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import type { MouseEvent, ReactNode } from "react";

interface RouteLinkProps extends AnchorProps {
  /** A path within the console, with its search, such as `/t/acme/usage?range=7d`. */
  to: string;
  children: ReactNode;
  "aria-label"?: string;
  "aria-current"?: "page" | undefined;
  onNavigate?: () => void;
}

/** A link to another page of the console: a real anchor, which opens in a new tab like any other. */
export function RouteLink({ to, children, onNavigate, ...rest }: RouteLinkProps) {
  const navigate = useNavigate();
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    ) {
      return;
    }
    event.preventDefault();
    onNavigate?.();
    void navigate({ href: to });
  };
  return (
    <Anchor href={to} onClick={follow} {...rest}>
      {children}
    </Anchor>
  );
}
