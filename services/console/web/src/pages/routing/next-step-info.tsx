import { useState } from "react";
import { Anchor, Box, Collapse, List, Text } from "@/ui";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";

/** What makes a request go on to the next step of its chain, which is the same for all rules. */
export function NextStepInfo() {
  const [opened, setOpened] = useState(false);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  return (
    <Box>
      <Anchor
        component="button"
        type="button"
        size="sm"
        ta="left"
        aria-expanded={opened}
        onClick={() => setOpened(!opened)}
      >
        <Chevron size={14} aria-hidden /> When does a request go on to the next step?
      </Anchor>
      <Collapse expanded={opened}>
        <List size="sm" spacing={4}>
          <List.Item>
            After a refused key, no credit, a rate limit, an overload, a timeout, a server error, an unknown
            model or a connection that fails: first another key and another provider of the same model, then
            the next step.
          </List.Item>
          <List.Item>
            After a content filter only if the preference “Go on after a content filter” is on.
          </List.Item>
          <List.Item>After a prompt that is too long only to a model with a longer context.</List.Item>
          <List.Item>
            Never after an invalid request, a limit, a budget or missing credits of yours, and never once a
            part of the answer was delivered.
          </List.Item>
          <List.Item>
            Time: a step that others can follow gets a third of the time that is left, 30 seconds at most.
            Retries: at the same place at most twice, and only where nothing may have been charged. Both hold
            for the whole installation, not by step.
          </List.Item>
        </List>
        <Text size="xs" c="dimmed" mt={4}>
          Five attempts at most. A rule chooses, and permits nothing: keys, residency, tiers and budgets are
          checked for each model.
        </Text>
      </Collapse>
    </Box>
  );
}
