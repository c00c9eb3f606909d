export function ChannelChoice(_: { chosen: readonly string[] | null; onChange: (chosen: readonly string[] | null) => void }) {
  return null;
}
