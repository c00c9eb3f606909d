/** Return who joins and who leaves a team. */
export function teamChange(
  before: readonly string[],
  after: readonly string[],
): { add: string[]; remove: string[] } {
  return {
    add: after.filter((member) => !before.includes(member)),
    remove: before.filter((member) => !after.includes(member)),
  };
}
