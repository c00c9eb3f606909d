export function ChannelsPanel() {
  return null;
}
