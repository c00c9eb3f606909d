import { Skeleton, type SkeletonProps } from "@mantine/core";

interface LoadingSkeletonProps extends Pick<SkeletonProps, "height" | "maw"> {
  /** What is being loaded, for those who do not see the skeleton: "Loading alerts". */
  label: string;
}

/** Hold the place of what is loading, and say so to screen readers: an element without a role may have no label. */
export function LoadingSkeleton({ label, height, maw }: LoadingSkeletonProps) {
  return <Skeleton height={height} maw={maw} role="status" aria-busy="true" aria-label={label} />;
}
