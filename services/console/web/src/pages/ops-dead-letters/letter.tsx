import { query } from "@/api/client";
import { Drawer, QueryState, Snippet, Stack, Text, Time } from "@/ui";
import { decodeLetter } from "./decode";

interface LetterDrawerProps {
  number: number;
  onClose: () => void;
}

/** One dead letter: why it is there, what to do, and what it holds. */
export function LetterDrawer({ number, onClose }: LetterDrawerProps) {
  const letter = query.useQuery("get", "/api/v1/ops/dead-letters/{number}", { params: { path: { number } } });
  return (
    <Drawer opened onClose={onClose} position="right" size="lg" title={`Letter ${number}`}>
      <QueryState what="the letter" query={letter} height={320}>
        {(data) => (
          <Stack>
            <Text size="sm">
              From {data.producer}, <Time iso={data.at} />. {data.reason}
            </Text>
            <Text size="sm">{data.hint}</Text>
            {data.record_id ? <Text size="sm">Record {data.record_id}</Text> : null}
            <Snippet label="the message" code={decodeLetter(data.original_base64)} />
          </Stack>
        )}
      </QueryState>
    </Drawer>
  );
}
