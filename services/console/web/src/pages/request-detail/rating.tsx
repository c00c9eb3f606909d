import { useState } from "react";
import { query } from "@/api/client";
import { ActionButton, ErrorNotice, Group, Panel, Text, TextInput } from "@/ui";
import { BadIcon, GoodIcon } from "@/ui/icons";

const MOST_LETTERS = 1000;

/** Rate the answer; ratings count for the quality of models in this tenant. */
export function Rating({ requestId }: { requestId: string }) {
  const [comment, setComment] = useState("");
  const save = query.useMutation("post", "/api/v1/feedback");
  const rate = (rating: number) =>
    save.mutate({
      body: { request_id: requestId, rating, comment: comment.trim() === "" ? null : comment.trim() },
    });
  return (
    <Panel title="Rating">
      <Group gap="sm" align="flex-end">
        <TextInput
          label="Comment, optional"
          value={comment}
          maxLength={MOST_LETTERS}
          onChange={(event) => setComment(event.currentTarget.value)}
          flex="1 1 16rem"
          maw={480}
        />
        <ActionButton
          operation="save_feedback"
          variant="default"
          leftSection={<GoodIcon size={16} aria-hidden />}
          onClick={() => rate(5)}
          loading={save.isPending}
        >
          Good answer
        </ActionButton>
        <ActionButton
          operation="save_feedback"
          variant="default"
          leftSection={<BadIcon size={16} aria-hidden />}
          onClick={() => rate(1)}
          loading={save.isPending}
        >
          Bad answer
        </ActionButton>
      </Group>
      {save.error ? <ErrorNotice what="the rating" error={save.error} change /> : null}
      <Text size="sm" c="dimmed" role="status">
        {save.data
          ? `Saved: ${save.data.rating >= 4 ? "good" : "bad"}. You can change it.`
          : "Ratings show how well each model does for your operations."}
      </Text>
    </Panel>
  );
}
